#include "server/base/totals_proto.h"

#include "google/protobuf/util/time_util.h"

namespace cowherd {
namespace {

struct Field {
  uint64_t Totals::*value;
  uint64_t (v1::TaskTotals::*get)() const;
  void (v1::TaskTotals::*set)(uint64_t);
};
constexpr Field kFields[] = {
    {&Totals::files_scanned, &v1::TaskTotals::files_scanned, &v1::TaskTotals::set_files_scanned},
    {&Totals::files_skipped, &v1::TaskTotals::files_skipped, &v1::TaskTotals::set_files_skipped},
    {&Totals::files_failed, &v1::TaskTotals::files_failed, &v1::TaskTotals::set_files_failed},
    {&Totals::files_read, &v1::TaskTotals::files_read, &v1::TaskTotals::set_files_read},
    {&Totals::bytes_scanned, &v1::TaskTotals::bytes_scanned, &v1::TaskTotals::set_bytes_scanned},
    {&Totals::bytes_found, &v1::TaskTotals::bytes_found, &v1::TaskTotals::set_bytes_found},
    {&Totals::duplicate_ranges, &v1::TaskTotals::duplicate_ranges, &v1::TaskTotals::set_duplicate_ranges},
    {&Totals::duplicate_bytes, &v1::TaskTotals::duplicate_bytes, &v1::TaskTotals::set_duplicate_bytes},
    {&Totals::bytes_freeable, &v1::TaskTotals::bytes_freeable, &v1::TaskTotals::set_bytes_freeable},
    {&Totals::bytes_moved, &v1::TaskTotals::bytes_moved, &v1::TaskTotals::set_bytes_moved},
    {&Totals::bytes_read, &v1::TaskTotals::bytes_read, &v1::TaskTotals::set_bytes_read},
    {&Totals::bytes_held, &v1::TaskTotals::bytes_held, &v1::TaskTotals::set_bytes_held},
    {&Totals::bytes_unprofitable, &v1::TaskTotals::bytes_unprofitable,
     &v1::TaskTotals::set_bytes_unprofitable},
    {&Totals::bytes_requested, &v1::TaskTotals::bytes_requested, &v1::TaskTotals::set_bytes_requested},
    {&Totals::bytes_accepted, &v1::TaskTotals::bytes_accepted, &v1::TaskTotals::set_bytes_accepted},
    {&Totals::ranges_deduped, &v1::TaskTotals::ranges_deduped, &v1::TaskTotals::set_ranges_deduped},
    {&Totals::ranges_differ, &v1::TaskTotals::ranges_differ, &v1::TaskTotals::set_ranges_differ},
    {&Totals::ranges_failed, &v1::TaskTotals::ranges_failed, &v1::TaskTotals::set_ranges_failed},
    {&Totals::rate_wait_ns, &v1::TaskTotals::rate_wait_ns, &v1::TaskTotals::set_rate_wait_ns},
    {&Totals::pressure_wait_ns, &v1::TaskTotals::pressure_wait_ns, &v1::TaskTotals::set_pressure_wait_ns},
    {&Totals::bytes_fragmenting, &v1::TaskTotals::bytes_fragmenting, &v1::TaskTotals::set_bytes_fragmenting},
    {&Totals::work_planned, &v1::TaskTotals::work_planned, &v1::TaskTotals::set_work_planned},
    {&Totals::work_done, &v1::TaskTotals::work_done, &v1::TaskTotals::set_work_done},
    {&Totals::files_unchanged, &v1::TaskTotals::files_unchanged, &v1::TaskTotals::set_files_unchanged},
    {&Totals::bytes_unchanged, &v1::TaskTotals::bytes_unchanged, &v1::TaskTotals::set_bytes_unchanged},
};

}  // namespace

v1::TaskTotals ToProto(const Totals& totals) {
  v1::TaskTotals proto;
  for (const Field& field : kFields) (proto.*field.set)(totals.*field.value);
  proto.set_bytes_won(totals.bytes_won);
  *proto.mutable_elapsed() =
      google::protobuf::util::TimeUtil::NanosecondsToDuration(absl::ToInt64Nanoseconds(totals.elapsed));
  return proto;
}

Totals FromProto(const v1::TaskTotals& proto) {
  Totals totals;
  for (const Field& field : kFields) totals.*field.value = (proto.*field.get)();
  totals.bytes_won = proto.bytes_won();
  totals.elapsed = absl::Seconds(proto.elapsed().seconds()) + absl::Nanoseconds(proto.elapsed().nanos());
  return totals;
}

}  // namespace cowherd
