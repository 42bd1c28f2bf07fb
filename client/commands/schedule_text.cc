#include "client/commands/schedule_text.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "client/commands/error_text.h"
#include "client/commands/totals_text.h"
#include "client/commands/window_text.h"
#include "server/base/time_zone.h"

namespace cowherd {
namespace {

absl::Time TimeOf(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

std::string ZoneText(const v1::ScheduleSpec& spec) {
  return spec.time_zone().empty() ? "UTC" : EscapeName(spec.time_zone());
}

std::string RunStateText(v1::ScheduleRunState state) {
  return std::string(absl::StripPrefix(v1::ScheduleRunState_Name(state), "RUN_"));
}

// "still running" of SKIPPED_STILL_RUNNING.
std::string SkipText(v1::SkipReason reason) {
  const std::string name = absl::AsciiStrToLower(v1::SkipReason_Name(reason));
  return absl::StrReplaceAll(absl::StripPrefix(name, "skipped_"), {{"_", " "}});
}

std::string OverlapText(v1::Overlap overlap) {
  const std::string name = absl::AsciiStrToLower(v1::Overlap_Name(overlap));
  return overlap == v1::OVERLAP_UNSPECIFIED ? "forbid" : std::string(absl::StripPrefix(name, "overlap_"));
}

std::string UntilText(const v1::Schedule& schedule, absl::Time now) {
  return schedule.has_next_run() ? FormatSpan(TimeOf(schedule.next_run()) - now) : "-";
}

std::string WorkText(const v1::JobSpec& job) {
  std::string text;
  if (job.has_ranges()) {
    text = absl::StrCat("ranges on ", job.ranges().nodes_size(), " nodes");
  } else if (job.scan().nodes().has_all()) {
    text = "scan of all nodes";
  } else if (job.scan().nodes().has_names()) {
    text =
        absl::StrCat("scan of nodes ", EscapeName(absl::StrJoin(job.scan().nodes().names().names(), ", ")));
  } else {
    std::vector<std::string> labels;
    for (const auto& label : job.scan().nodes().labels().labels()) {
      labels.push_back(absl::StrCat(label.first, "=", label.second));
    }
    std::sort(labels.begin(), labels.end());
    text = absl::StrCat("scan of nodes with ", EscapeName(absl::StrJoin(labels, ", ")));
  }
  if (job.scan().options().dry_run()) absl::StrAppend(&text, " (dry run)");
  return text;
}

std::string KeptText(const v1::ScheduleSpec& spec) {
  return absl::StrCat(spec.has_keep_succeeded() ? spec.keep_succeeded() : 3, " succeeded, ",
                      spec.has_keep_failed() ? spec.keep_failed() : 3, " failed");
}

int CountRuns(const v1::Schedule& schedule, v1::ScheduleRunState state) {
  return static_cast<int>(
      std::count_if(schedule.runs().begin(), schedule.runs().end(),
                    [state](const v1::ScheduleRun& run) { return run.state() == state; }));
}

// The last run that ended.
std::string LastText(const v1::Schedule& schedule) {
  for (auto run = schedule.runs().rbegin(); run != schedule.runs().rend(); ++run) {
    if (run->state() != v1::RUN_SUCCEEDED && run->state() != v1::RUN_FAILED) continue;
    return RunStateText(run->state());
  }
  return "-";
}

std::string SkippedText(const v1::Schedule& schedule) {
  return absl::StrCat(FormatTimeIn(schedule.skipped(), schedule.spec().time_zone()), ", ",
                      SkipText(schedule.skip_reason()));
}

}  // namespace

std::string FormatTimeIn(const google::protobuf::Timestamp& time, absl::string_view time_zone) {
  if (time.seconds() == 0) return "-";
  return absl::FormatTime("%Y-%m-%d %H:%M %Z", TimeOf(time),
                          FindTimeZone(time_zone).value_or(absl::UTCTimeZone()));
}

void PrintSchedule(std::ostream& out, const v1::Schedule& schedule, absl::Time now) {
  const v1::ScheduleSpec& spec = schedule.spec();
  PrintLine(out, "schedule", EscapeName(schedule.name()));
  PrintLine(out, "state", spec.suspended() ? "SUSPENDED" : "ACTIVE");
  PrintLine(out, "cron", absl::StrCat(EscapeName(spec.cron()), " in ", ZoneText(spec)));
  PrintLine(out, "next run",
            schedule.has_next_run() ? absl::StrCat(FormatTimeIn(schedule.next_run(), spec.time_zone()),
                                                   ", in ", UntilText(schedule, now))
                                    : "-");
  if (!spec.job().display_name().empty()) PrintLine(out, "name", EscapeName(spec.job().display_name()));
  PrintLine(out, "job", WorkText(spec.job()));
  for (const v1::Window& window : spec.job().windows()) PrintLine(out, "window", WindowText(window));
  PrintLine(
      out, "deadline",
      spec.has_missed_run_deadline() ? FormatSpan(absl::Seconds(spec.missed_run_deadline().seconds())) : "-");
  PrintLine(out, "overlap", OverlapText(spec.overlap()));
  PrintLine(out, "keeps", KeptText(spec));
  PrintLine(out, "revision", absl::StrCat(schedule.revision()));
  if (schedule.skip_reason() != v1::SKIP_REASON_UNSPECIFIED) PrintLine(out, "skipped", SkippedText(schedule));
  if (schedule.has_start_error()) PrintLine(out, "error", ErrorLine(schedule.start_error()));
  if (schedule.runs_size() == 0) return;
  out << '\n';
  Table table({{"RUN"}, {"STATE"}, {"JOB"}, {"NOTE"}});
  for (auto run = schedule.runs().rbegin(); run != schedule.runs().rend(); ++run) {
    table.Add({FormatTimeIn(run->time(), spec.time_zone()), RunStateText(run->state()),
               run->job_id().empty() ? "-" : EscapeName(run->job_id()),
               run->request_id().empty() ? "" : "asked for"});
  }
  table.Flush(out);
}

Table MakeScheduleTable() {
  return Table(
      {{"NAME"}, {"STATE"}, {"CRON"}, {"ZONE"}, {"NEXT RUN"}, {"IN"}, {"RUNNING", true}, {"LAST"}, {"NOTE"}});
}

void AddScheduleRow(Table& table, const v1::Schedule& schedule, absl::Time now) {
  const v1::ScheduleSpec& spec = schedule.spec();
  std::string note;
  if (schedule.has_start_error()) {
    note = ErrorLine(schedule.start_error());
  } else if (schedule.skip_reason() != v1::SKIP_REASON_UNSPECIFIED) {
    note = absl::StrCat("skipped ", SkippedText(schedule));
  }
  table.Add({EscapeName(schedule.name()), spec.suspended() ? "SUSPENDED" : "ACTIVE", EscapeName(spec.cron()),
             ZoneText(spec), FormatTimeIn(schedule.next_run(), spec.time_zone()), UntilText(schedule, now),
             absl::StrCat(CountRuns(schedule, v1::RUN_ACTIVE)), LastText(schedule), note});
}

}  // namespace cowherd
