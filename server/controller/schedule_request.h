#ifndef COWHERD_SERVER_CONTROLLER_SCHEDULE_REQUEST_H_
#define COWHERD_SERVER_CONTROLLER_SCHEDULE_REQUEST_H_

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cowherd/v1/controller.pb.h"
#include "server/sched/schedules.h"

// From requests about schedules to checked values. Errors are INVALID_ARGUMENT and name the request's field.
namespace cowherd {

// A schedule with its runs is to fit in a record of the store.
inline constexpr size_t kMaxScheduledJobBytes = size_t{32} << 10;

absl::Status CheckScheduleName(absl::string_view name);

// Of "spec".
absl::StatusOr<ScheduleSpec> CheckScheduleSpec(const v1::ScheduleSpec& spec);

// Of one that is in the store. Its job is as it was once accepted: what is refused today does not keep a
// controller from beginning.
absl::StatusOr<ScheduleSpec> ReadScheduleSpec(const v1::ScheduleSpec& spec);

struct CheckedScheduleList {
  size_t page_size = 0;
  // The last name of the page before. Empty: from the first.
  std::string after;
};

absl::StatusOr<CheckedScheduleList> CheckListSchedules(const v1::ListSchedulesRequest& request);

// The token of the page after the schedule with this name.
std::string SchedulePageToken(absl::string_view name);

absl::Status CheckRunScheduleNow(const v1::RunScheduleNowRequest& request);

}  // namespace cowherd

#endif  // COWHERD_SERVER_CONTROLLER_SCHEDULE_REQUEST_H_
