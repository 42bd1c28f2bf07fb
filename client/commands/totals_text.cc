#include "client/commands/totals_text.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "client/format.h"

namespace cowherd {
namespace {

// Most places are at the start of their files.
std::string PlaceText(const v1::FilePosition& place) {
  std::string text = EscapeName(place.path());
  if (place.offset() > 0) absl::StrAppend(&text, " at ", FormatSize(place.offset()));
  return text;
}

}  // namespace

void PrintLine(std::ostream& out, absl::string_view name, absl::string_view value) {
  out << absl::StrFormat("%-13s%s\n", absl::StrCat(name, ":"), value);
}

void PrintTotals(std::ostream& out, const v1::TaskTotals& totals, bool shares) {
  // Those of which checksums told something.
  const uint64_t met = totals.files_scanned() - std::min(totals.files_scanned(), totals.files_read());
  PrintLine(out, "files",
            absl::StrCat(totals.files_read(), " read, ", met, " with possible duplicates by checksum, ",
                         totals.files_skipped(), " skipped, ", totals.files_failed(), " failed"));
  std::string scanned = FormatSize(totals.bytes_scanned());
  if (totals.bytes_scanned() < totals.bytes_found())
    absl::StrAppend(&scanned, " of ", FormatSize(totals.bytes_found()));
  PrintLine(out, "scanned", scanned);
  if (totals.bytes_unchanged() + totals.files_unchanged() > 0) {
    PrintLine(
        out, "unchanged",
        absl::StrCat(
            FormatSize(totals.bytes_unchanged()),
            totals.files_unchanged() > 0 ? absl::StrCat(" in ", totals.files_unchanged(), " files") : "",
            ", not looked at again: an earlier scan did (--full looks at all)"));
  }
  PrintLine(out, "duplicates",
            absl::StrCat(FormatSize(totals.duplicate_bytes()), " in ", totals.duplicate_ranges(), " ranges"));
  // A list of ranges has no plan.
  if (!shares || totals.bytes_freeable() + totals.bytes_read() > 0) {
    PrintLine(out, shares ? "planned" : "would free",
              absl::StrCat(FormatSize(totals.bytes_freeable()), shares ? " to go free; " : "; ",
                           FormatSize(totals.bytes_moved()), " to be moved, ",
                           FormatSize(totals.bytes_read()), " to be read"));
  }
  if (totals.work_done() < totals.work_planned()) {
    PrintLine(out, "sharing",
              absl::StrCat(FormatSize(totals.work_done()), " of ", FormatSize(totals.work_planned()),
                           " read to be compared or moved"));
  }
  std::vector<std::string> left;
  const auto leave = [&left](uint64_t bytes, absl::string_view why) {
    if (bytes > 0) left.push_back(absl::StrCat(FormatSize(bytes), " ", why));
  };
  leave(totals.bytes_held(), "held by files outside the scan, immutable ones or too many");
  leave(totals.bytes_unprofitable(), "not worth moving what is unique");
  leave(totals.bytes_fragmenting(), "would split a file too often");
  if (!left.empty()) PrintLine(out, "left", absl::StrJoin(left, ", "));
  if (shares) {
    PrintLine(out, "accepted",
              absl::StrCat(FormatSize(totals.bytes_accepted()), " of ", FormatSize(totals.bytes_requested()),
                           " requested"));
    PrintLine(out, "ranges",
              absl::StrCat(totals.ranges_deduped(), " deduped, ", totals.ranges_differ(), " differ, ",
                           totals.ranges_failed(), " failed"));
    PrintLine(out, "space won", FormatSignedSize(totals.bytes_won()));
  }
  if (totals.rate_wait_ns() + totals.pressure_wait_ns() >= 1'000'000'000) {
    PrintLine(out, "held back",
              absl::StrCat(FormatSpan(absl::Nanoseconds(totals.rate_wait_ns())), " by the rate, ",
                           FormatSpan(absl::Nanoseconds(totals.pressure_wait_ns())),
                           " by I/O pressure (all threads added up)"));
  }
  PrintLine(
      out, "time",
      FormatSpan(absl::Seconds(totals.elapsed().seconds()) + absl::Nanoseconds(totals.elapsed().nanos())));
}

void PrintGroups(std::ostream& out, absl::Span<const v1::DuplicateGroup* const> groups,
                 absl::Span<const std::string> nodes) {
  if (groups.empty()) return;
  std::vector<Table::Column> columns = {
      {"LARGEST GROUPS: FREES", true}, {"COPIES", true}, {"LENGTH", true}, {"SOURCE"}, {"FIRST COPIES"}};
  if (!nodes.empty()) columns.push_back({"NODE"});
  Table table(columns);
  for (size_t i = 0; i < groups.size(); ++i) {
    const v1::DuplicateGroup& group = *groups[i];
    std::vector<std::string> row = {
        FormatSize(group.bytes_freeable()), absl::StrCat(group.copies()), FormatSize(group.length()),
        PlaceText(group.source()),
        absl::StrJoin(group.destinations(), ", ", [](std::string* text, const v1::FilePosition& place) {
          absl::StrAppend(text, PlaceText(place));
        })};
    if (!nodes.empty()) row.push_back(EscapeName(nodes[i]));
    table.Add(std::move(row));
  }
  out << '\n';
  table.Flush(out);
}

}  // namespace cowherd
