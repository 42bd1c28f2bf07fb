#include "client/scan_progress.h"

#include "absl/strings/str_cat.h"

namespace cowherd {
namespace {

bool Looks(const v1::TaskTotals& totals) { return totals.bytes_scanned() < totals.bytes_found(); }

// As if what is not looked at yet were like the rest.
uint64_t WholeWork(const v1::TaskTotals& totals) {
  if (!Looks(totals) || totals.bytes_scanned() == 0) return totals.work_planned();
  return static_cast<uint64_t>(static_cast<double>(totals.work_planned()) *
                               static_cast<double>(totals.bytes_found()) /
                               static_cast<double>(totals.bytes_scanned()));
}

}  // namespace

void ScanProgress::Update(absl::Time now, const v1::TaskTotals& totals, bool whole) {
  const bool reads = totals.files_read() > 0 && Looks(totals);
  const bool sharing = totals.work_done() < totals.work_planned() && !reads;
  if (sharing != sharing_) progress_ = Progress();
  sharing_ = sharing;
  if (sharing) {
    progress_.Update(now, totals.work_done(), whole ? WholeWork(totals) : 0);
  } else {
    progress_.Update(now, totals.bytes_scanned(), whole ? totals.bytes_found() : 0);
  }
}

std::string ScanProgress::Line() const {
  return absl::StrCat(sharing_ ? "sharing  " : "finding  ", progress_.Line());
}

}  // namespace cowherd
