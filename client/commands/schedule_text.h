#ifndef COWHERD_CLIENT_COMMANDS_SCHEDULE_TEXT_H_
#define COWHERD_CLIENT_COMMANDS_SCHEDULE_TEXT_H_

#include <ostream>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/format.h"
#include "cowherd/v1/controller.pb.h"

// Schedules for people. Pure but for the zones of this machine.
namespace cowherd {

// "2025-03-30 02:30 CET", on the clock of the zone's walls; in UTC if this machine does not know the zone.
// "-" for a time that is not set.
std::string FormatTimeIn(const google::protobuf::Timestamp& time, absl::string_view time_zone);

// All of it, then a table of its runs. `now`: to tell how long until the next.
void PrintSchedule(std::ostream& out, const v1::Schedule& schedule, absl::Time now);

// A table of schedules, a row each.
Table MakeScheduleTable();
void AddScheduleRow(Table& table, const v1::Schedule& schedule, absl::Time now);

}  // namespace cowherd

#endif  // COWHERD_CLIENT_COMMANDS_SCHEDULE_TEXT_H_
