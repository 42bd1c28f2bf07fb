#include "client/commands/job_text.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/commands/error_text.h"
#include "client/commands/hold.h"
#include "client/commands/totals_text.h"
#include "client/commands/window_text.h"

namespace cowherd {
namespace {

// As many as of one task.
constexpr size_t kLargestGroups = 20;

std::string TaskStateText(v1::TaskState state) {
  const std::string name = v1::TaskState_Name(state);
  return std::string(absl::StripPrefix(name, "TASK_"));
}

bool HasEnded(const v1::Task& task) {
  return task.state() == v1::TASK_SUCCEEDED || task.state() == v1::TASK_FAILED ||
         task.state() == v1::TASK_CANCELLED;
}

std::string OrDash(const std::string& text) { return text.empty() ? "-" : EscapeName(text); }

void PrintTasks(std::ostream& out, const v1::Job& job) {
  const bool shares = !job.spec().scan().options().dry_run();
  Table table({{"NODE"},
               {"ROOT"},
               {"STATE"},
               {"TRY", true},
               {"SCANNED", true},
               {"DUPLICATE", true},
               {shares ? "PLANNED" : "WOULD FREE", true},
               {shares ? "ACCEPTED" : "MOVED", true},
               {shares ? "WON" : "READ", true},
               {"NOTE"}});
  for (const v1::Task& task : job.tasks()) {
    table.Add({EscapeName(task.node()), OrDash(task.root()), TaskStateText(task.state()),
               absl::StrCat(task.attempt()), FormatSize(task.totals().bytes_scanned()),
               FormatSize(task.totals().duplicate_bytes()), FormatSize(task.totals().bytes_freeable()),
               FormatSize(shares ? task.totals().bytes_accepted() : task.totals().bytes_moved()),
               shares ? FormatSignedSize(task.totals().bytes_won()) : FormatSize(task.totals().bytes_read()),
               TaskNote(task)});
  }
  table.Flush(out);
}

// Of all tasks, the largest first.
void PrintLargest(std::ostream& out, const v1::Job& job) {
  std::vector<std::pair<const v1::DuplicateGroup*, const std::string*>> found;
  for (const v1::Task& task : job.tasks()) {
    for (const v1::DuplicateGroup& group : task.largest().groups()) found.emplace_back(&group, &task.node());
  }
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
    return a.first->bytes_freeable() > b.first->bytes_freeable();
  });
  if (found.size() > kLargestGroups) found.resize(kLargestGroups);
  std::vector<const v1::DuplicateGroup*> groups;
  std::vector<std::string> nodes;
  for (const auto& [group, node] : found) {
    groups.push_back(group);
    nodes.push_back(*node);
  }
  PrintGroups(out, groups, nodes);
}

// Destinations that are not DEDUPED, and requests of which nothing was tried.
void PrintFailedRanges(std::ostream& out, const v1::Job& job) {
  Table table({{"NODE"}, {"REQUEST", true}, {"DESTINATION"}, {"OFFSET", true}, {"OUTCOME"}, {"NOTE"}});
  bool any = false;
  for (const v1::Task& task : job.tasks()) {
    for (int i = 0; i < task.ranges_size(); ++i) {
      const v1::RangeResult& range = task.ranges(i);
      if (range.has_error()) {
        table.Add(
            {EscapeName(task.node()), absl::StrCat(i), "-", "-", "NOT TRIED", ErrorLine(range.error())});
        any = true;
      }
      for (const v1::DestinationResult& result : range.response().results()) {
        if (result.outcome() == v1::DEDUPED) continue;
        table.Add({EscapeName(task.node()), absl::StrCat(i), EscapeName(result.destination().path()),
                   absl::StrCat(result.destination().offset()), v1::DedupeOutcome_Name(result.outcome()),
                   result.has_error() ? ErrorLine(result.error()) : ""});
        any = true;
      }
    }
  }
  if (!any) return;
  out << '\n';
  table.Flush(out);
}

}  // namespace

std::string StateText(v1::JobState state) {
  const std::string name = v1::JobState_Name(state);
  return std::string(absl::StripPrefix(name, "JOB_"));
}

bool ParseState(absl::string_view text, v1::JobState* state) {
  const std::string upper = absl::AsciiStrToUpper(text);
  return v1::JobState_Parse(upper == "FAILED" ? "JOB_FAILED" : upper, state) &&
         *state != v1::JOB_STATE_UNSPECIFIED;
}

int EndedTasks(const v1::Job& job) {
  return static_cast<int>(std::count_if(job.tasks().begin(), job.tasks().end(),
                                        [](const v1::Task& task) { return HasEnded(task); }));
}

bool AllHaveBegun(const v1::Job& job) {
  return std::all_of(job.tasks().begin(), job.tasks().end(),
                     [](const v1::Task& task) { return HasEnded(task) || task.totals().bytes_found() > 0; });
}

std::string TaskPlace(const v1::Task& task) {
  return task.root().empty() ? EscapeName(task.node())
                             : EscapeName(absl::StrCat(task.node(), "/", task.root()));
}

std::string TaskNote(const v1::Task& task) {
  std::string note = task.has_error() ? ErrorLine(task.error()) : "";
  if (task.has_next_attempt() && task.state() == v1::TASK_WAITING) {
    absl::StrAppend(&note, note.empty() ? "" : "; ", "next try ", FormatTime(task.next_attempt().seconds()));
  }
  return note;
}

bool IsSuccess(const v1::Job& job) {
  if (job.state() != v1::SUCCEEDED) return false;
  // In a scan, a range that differs by the time it is compared is one that is in use: no failure.
  if (!job.spec().has_ranges()) return job.totals().ranges_failed() == 0;
  for (const v1::Task& task : job.tasks()) {
    for (const v1::RangeResult& range : task.ranges()) {
      if (range.has_error()) return false;
      for (const v1::DestinationResult& result : range.response().results()) {
        if (result.outcome() != v1::DEDUPED) return false;
      }
    }
  }
  return job.totals().ranges_differ() == 0 && job.totals().ranges_failed() == 0;
}

void PrintJob(std::ostream& out, const v1::Job& job) {
  PrintLine(out, "job", EscapeName(job.id()));
  if (!job.spec().display_name().empty()) PrintLine(out, "name", EscapeName(job.spec().display_name()));
  const bool dry_run = job.spec().scan().options().dry_run();
  PrintLine(out, "state", absl::StrCat(StateText(job.state()), dry_run ? " (dry run)" : ""));
  if (!job.schedule().empty()) PrintLine(out, "schedule", EscapeName(job.schedule()));
  for (const v1::Window& window : job.spec().windows()) PrintLine(out, "window", WindowText(window));
  if (job.has_hold()) PrintLine(out, "rests", HoldText(job.hold()));
  if (job.has_waits()) PrintLine(out, "waits", ErrorLine(job.waits()));
  PrintLine(out, "created", FormatTime(job.created().seconds()));
  PrintLine(out, "started", FormatTime(job.started().seconds()));
  PrintLine(out, "ended", FormatTime(job.ended().seconds()));
  PrintTotals(out, job.totals(), !dry_run);
  if (job.tasks_size() == 0) return;
  out << '\n';
  PrintTasks(out, job);
  PrintFailedRanges(out, job);
  PrintLargest(out, job);
}

Table MakeJobTable() {
  return Table({{"ID"},
                {"STATE"},
                {"NAME"},
                {"CREATED"},
                {"SCANNED", true},
                {"DUPLICATE", true},
                {"ACCEPTED", true},
                {"WON", true}});
}

void AddJobRow(Table& table, const v1::Job& job) {
  table.Add({EscapeName(job.id()), StateText(job.state()), OrDash(job.spec().display_name()),
             FormatTime(job.created().seconds()), FormatSize(job.totals().bytes_scanned()),
             FormatSize(job.totals().duplicate_bytes()), FormatSize(job.totals().bytes_accepted()),
             FormatSignedSize(job.totals().bytes_won())});
}

}  // namespace cowherd
