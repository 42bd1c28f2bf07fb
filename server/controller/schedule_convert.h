#ifndef COWHERD_SERVER_CONTROLLER_SCHEDULE_CONVERT_H_
#define COWHERD_SERVER_CONTROLLER_SCHEDULE_CONVERT_H_

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cowherd/v1/controller.pb.h"
#include "server/sched/schedules.h"

namespace cowherd {

// `next_run` InfiniteFuture: none. DATA_LOSS "STORE_CORRUPT": its spec cannot be read.
absl::StatusOr<v1::Schedule> ToProto(const Schedule& schedule, absl::Time next_run);

// Schedules are kept as v1.Schedule, without next_run. One whose time zone this machine does not know any
// more is read as suspended, and says why in start_error; its spec stays. DATA_LOSS "STORE_CORRUPT".
ScheduleCodec MakeScheduleCodec();

}  // namespace cowherd

#endif  // COWHERD_SERVER_CONTROLLER_SCHEDULE_CONVERT_H_
