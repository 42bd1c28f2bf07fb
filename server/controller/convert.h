#ifndef COWHERD_SERVER_CONTROLLER_CONVERT_H_
#define COWHERD_SERVER_CONTROLLER_CONVERT_H_

#include <cstddef>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cowherd/v1/controller.pb.h"
#include "cowherd/v1/node.pb.h"
#include "server/jobs/job.h"
#include "server/sched/filesystem_pauses.h"
#include "server/sched/holds.h"
#include "server/sched/job_view.h"
#include "server/sched/node_facts.h"
#include "server/sched/node_link.h"
#include "server/sched/node_registry.h"

// Between protos and plain values; nothing is decided here.
namespace cowherd {

v1::JobState ToProto(JobState state);
// INVALID_ARGUMENT of "states": no state.
absl::StatusOr<JobState> FromProto(v1::JobState state);

// Tasks by node, then root. DATA_LOSS "STORE_CORRUPT": a spec or result in the store is not what was put
// there.
absl::StatusOr<v1::Job> ToProto(const JobRecord& record, bool with_tasks);

// The same, with tasks.
absl::StatusOr<v1::Job> ToProto(const JobView& view);

NodeFacts FromProto(const v1::Node& node);
// All nodes by name, then the addresses that have none yet. `running` counts tasks by node. `ahead`: as the
// loop's.
v1::ListNodesResponse ToProto(const NodeRegistry& registry, const std::map<std::string, size_t>& running,
                              const Holds& holds, const FilesystemPauses& pauses, absl::Time now,
                              absl::Duration ahead);

v1::Hold ToProto(const Hold& hold);

RunEvent FromProto(const v1::RunTaskResponse& response);

// The work of an order, cut out of its job's spec. DATA_LOSS "STORE_CORRUPT" as above.
absl::StatusOr<v1::RunTaskRequest> ToProto(const RunOrder& order);

}  // namespace cowherd

#endif  // COWHERD_SERVER_CONTROLLER_CONVERT_H_
