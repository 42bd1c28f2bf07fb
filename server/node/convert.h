#ifndef COWHERD_SERVER_NODE_CONVERT_H_
#define COWHERD_SERVER_NODE_CONVERT_H_

#include "absl/time/time.h"
#include "cowherd/v1/node.pb.h"
#include "cowherd/v1/types.pb.h"
#include "server/base/totals.h"
#include "server/dedupe/ranges.h"
#include "server/fs/extent_ops.h"
#include "server/fs/root.h"
#include "server/scan/scanner.h"
#include "server/scan/top_groups.h"

// Plain structs to protobuf messages. Pure.
namespace cowherd {

v1::TaskTotals ToProto(Totals totals, absl::Duration elapsed);
v1::DedupeRangesResponse ToProto(const v1::DedupeRangesRequest& request, const RangesResult& result);
v1::Extent ToProto(const FileExtent& extent);
v1::DuplicateRange ToProto(const Duplicate& duplicate, const Root& root);
v1::LargestGroups ToProto(TopGroups& top, const Root& root);

}  // namespace cowherd

#endif  // COWHERD_SERVER_NODE_CONVERT_H_
