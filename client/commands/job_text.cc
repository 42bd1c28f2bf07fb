#include "client/commands/job_text.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/commands/error_text.h"
#include "client/commands/totals_text.h"

namespace cowherd {
namespace {

std::string TaskStateText(v1::TaskState state) {
  const std::string name = v1::TaskState_Name(state);
  return std::string(absl::StripPrefix(name, "TASK_"));
}

std::string OrDash(const std::string& text) { return text.empty() ? "-" : EscapeName(text); }

void PrintTasks(std::ostream& out, const v1::Job& job) {
  Table table({{"NODE"},
               {"ROOT"},
               {"STATE"},
               {"TRY", true},
               {"SCANNED", true},
               {"DUPLICATE", true},
               {"ACCEPTED", true},
               {"WON", true},
               {"NOTE"}});
  for (const v1::Task& task : job.tasks()) {
    std::string note = task.has_error() ? ErrorLine(task.error()) : "";
    if (task.has_next_attempt() && task.state() == v1::TASK_WAITING) {
      absl::StrAppend(&note, note.empty() ? "" : "; ", "next try ",
                      FormatTime(task.next_attempt().seconds()));
    }
    table.Add({EscapeName(task.node()), OrDash(task.root()), TaskStateText(task.state()),
               absl::StrCat(task.attempt()), FormatSize(task.totals().bytes_scanned()),
               FormatSize(task.totals().duplicate_bytes()), FormatSize(task.totals().bytes_accepted()),
               FormatSignedSize(task.totals().bytes_won()), note});
  }
  table.Flush(out);
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
  return static_cast<int>(std::count_if(job.tasks().begin(), job.tasks().end(), [](const v1::Task& task) {
    return task.state() == v1::TASK_SUCCEEDED || task.state() == v1::TASK_FAILED ||
           task.state() == v1::TASK_CANCELLED;
  }));
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
  PrintLine(out, "created", FormatTime(job.created().seconds()));
  PrintLine(out, "started", FormatTime(job.started().seconds()));
  PrintLine(out, "ended", FormatTime(job.ended().seconds()));
  PrintTotals(out, job.totals(), !dry_run);
  if (job.tasks_size() == 0) return;
  out << '\n';
  PrintTasks(out, job);
  PrintFailedRanges(out, job);
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
