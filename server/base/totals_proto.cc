#include "server/base/totals_proto.h"

#include "google/protobuf/util/time_util.h"

namespace cowherd {

v1::TaskTotals ToProto(const Totals& totals) {
  v1::TaskTotals proto;
  proto.set_files_scanned(totals.files_scanned);
  proto.set_files_skipped(totals.files_skipped);
  proto.set_files_failed(totals.files_failed);
  proto.set_bytes_scanned(totals.bytes_scanned);
  proto.set_bytes_found(totals.bytes_found);
  proto.set_duplicate_ranges(totals.duplicate_ranges);
  proto.set_duplicate_bytes(totals.duplicate_bytes);
  proto.set_bytes_requested(totals.bytes_requested);
  proto.set_bytes_accepted(totals.bytes_accepted);
  proto.set_bytes_won(totals.bytes_won);
  proto.set_ranges_deduped(totals.ranges_deduped);
  proto.set_ranges_differ(totals.ranges_differ);
  proto.set_ranges_failed(totals.ranges_failed);
  *proto.mutable_elapsed() =
      google::protobuf::util::TimeUtil::NanosecondsToDuration(absl::ToInt64Nanoseconds(totals.elapsed));
  return proto;
}

Totals FromProto(const v1::TaskTotals& proto) {
  Totals totals;
  totals.files_scanned = proto.files_scanned();
  totals.files_skipped = proto.files_skipped();
  totals.files_failed = proto.files_failed();
  totals.bytes_scanned = proto.bytes_scanned();
  totals.bytes_found = proto.bytes_found();
  totals.duplicate_ranges = proto.duplicate_ranges();
  totals.duplicate_bytes = proto.duplicate_bytes();
  totals.bytes_requested = proto.bytes_requested();
  totals.bytes_accepted = proto.bytes_accepted();
  totals.bytes_won = proto.bytes_won();
  totals.ranges_deduped = proto.ranges_deduped();
  totals.ranges_differ = proto.ranges_differ();
  totals.ranges_failed = proto.ranges_failed();
  totals.elapsed = absl::Seconds(proto.elapsed().seconds()) + absl::Nanoseconds(proto.elapsed().nanos());
  return totals;
}

}  // namespace cowherd
