#include "server/node/convert.h"

#include "server/base/grpc_status.h"
#include "server/base/totals_proto.h"

namespace cowherd {
namespace {

// So many are told.
constexpr size_t kLargestGroups = 20;

v1::DedupeOutcome ToProto(DedupeOutcome outcome) {
  switch (outcome) {
    case DedupeOutcome::kDeduped:
      return v1::DEDUPED;
    case DedupeOutcome::kDiffers:
      return v1::DATA_DIFFERS;
    case DedupeOutcome::kFailed:
      return v1::FAILED;
    case DedupeOutcome::kPending:
    case DedupeOutcome::kStopped:
      return v1::STOPPED;
  }
  return v1::DEDUPE_OUTCOME_UNSPECIFIED;
}

void SetPosition(v1::FilePosition& position, std::string path, uint64_t offset) {
  position.set_path(std::move(path));
  position.set_offset(offset);
}

}  // namespace

v1::TaskTotals ToProto(Totals totals, absl::Duration elapsed) {
  totals.elapsed = elapsed;
  return ToProto(totals);
}

v1::DedupeRangesResponse ToProto(const v1::DedupeRangesRequest& request, const RangesResult& result) {
  v1::DedupeRangesResponse response;
  response.set_bytes_requested(request.length() * static_cast<uint64_t>(request.destinations_size()));
  for (int i = 0; i < request.destinations_size(); ++i) {
    const TargetResult& target = result.targets[static_cast<size_t>(i)];
    v1::DestinationResult& proto = *response.add_results();
    *proto.mutable_destination() = request.destinations(i);
    proto.set_outcome(ToProto(target.outcome));
    proto.set_bytes_accepted(target.bytes_accepted);
    if (!result.shared.empty()) proto.set_bytes_shared(result.shared[static_cast<size_t>(i)]);
    if (!target.error.ok()) *proto.mutable_error() = ToErrorDetail(target.error);
    response.set_bytes_accepted(response.bytes_accepted() + proto.bytes_accepted());
    response.set_bytes_shared(response.bytes_shared() + proto.bytes_shared());
  }
  return response;
}

v1::Extent ToProto(const FileExtent& extent) {
  v1::Extent proto;
  proto.set_offset(extent.offset);
  proto.set_length(extent.length);
  proto.set_physical(extent.physical);
  proto.set_shared(extent.shared);
  proto.set_inline_data(extent.inline_data);
  proto.set_unwritten(extent.unwritten);
  proto.set_encoded(extent.encoded);
  proto.set_delayed_allocation(extent.delayed);
  return proto;
}

v1::DuplicateRange ToProto(const Duplicate& duplicate, const Root& root) {
  v1::DuplicateRange proto;
  SetPosition(*proto.mutable_source(), HostPath(root, duplicate.source_path), duplicate.source_offset);
  SetPosition(*proto.mutable_destination(), HostPath(root, duplicate.destination_path),
              duplicate.destination_offset);
  proto.set_length(duplicate.length);
  proto.set_bytes_freeable(duplicate.freeable);
  return proto;
}

v1::LargestGroups ToProto(TopGroups& top, const Root& root) {
  v1::LargestGroups largest;
  for (const DuplicateGroup& group : top.Largest(kLargestGroups)) {
    v1::DuplicateGroup& proto = *largest.add_groups();
    SetPosition(*proto.mutable_source(), HostPath(root, group.source_path), group.source_offset);
    proto.set_length(group.length);
    proto.set_copies(group.copies);
    proto.set_bytes_freeable(group.freeable);
    for (const DuplicateGroup::Place& place : group.destinations)
      SetPosition(*proto.add_destinations(), HostPath(root, place.path), place.offset);
  }
  return largest;
}

}  // namespace cowherd
