#ifndef COWHERD_CLIENT_COMMANDS_JOB_TEXT_H_
#define COWHERD_CLIENT_COMMANDS_JOB_TEXT_H_

#include <ostream>
#include <string>

#include "client/format.h"
#include "cowherd/v1/controller.pb.h"

namespace cowherd {

// "RUNNING"; "FAILED" of JOB_FAILED.
std::string StateText(v1::JobState state);

// The reverse, in either case: "failed".
bool ParseState(absl::string_view text, v1::JobState* state);

// All of it: sums, then a table of tasks, then what failed of explicit ranges.
void PrintJob(std::ostream& out, const v1::Job& job);

// A table of jobs, a row each.
Table MakeJobTable();
void AddJobRow(Table& table, const v1::Job& job);

// The job succeeded and, of explicit ranges, no destination failed or differs.
bool IsSuccess(const v1::Job& job);

// How many of its tasks have ended.
int EndedTasks(const v1::Job& job);

// Whether what there is to look at is known of each task.
bool AllHaveBegun(const v1::Job& job);

// "node/root".
std::string TaskPlace(const v1::Task& task);

// Why the last try failed or why it waits, and when the next is. Empty: nothing to say.
std::string TaskNote(const v1::Task& task);

}  // namespace cowherd

#endif  // COWHERD_CLIENT_COMMANDS_JOB_TEXT_H_
