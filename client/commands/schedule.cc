#include "client/commands/schedule.h"

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/commands/job_spec_flags.h"
#include "client/commands/request_id.h"
#include "client/commands/schedule_text.h"
#include "client/format.h"
#include "client/schedule_client.h"
#include "client/size.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

// Somebody else may change the schedule between reading and writing it.
constexpr int kTries = 5;

struct Flags {
  std::string controller;
  std::string name;
  std::string request_id;
};

struct SpecFlags {
  std::string controller;
  std::string name;
  std::string cron;
  std::string time_zone;
  std::string missed_run_deadline;
  std::string overlap = "forbid";
  uint32_t keep_succeeded = 3;
  uint32_t keep_failed = 3;
  bool suspended = false;
  JobSpecFlags job;
  // The options of the above, to tell what was given.
  CLI::Option* cron_option = nullptr;
  CLI::Option* time_zone_option = nullptr;
  CLI::Option* missed_run_deadline_option = nullptr;
  CLI::Option* overlap_option = nullptr;
  CLI::Option* keep_succeeded_option = nullptr;
  CLI::Option* keep_failed_option = nullptr;
};

bool Given(const CLI::Option* option) { return option->count() != 0; }

// Puts what the flags say in place of what the spec has; what was not given stays.
absl::Status Apply(const SpecFlags& flags, v1::ScheduleSpec& spec) {
  if (Given(flags.cron_option)) spec.set_cron(flags.cron);
  if (Given(flags.time_zone_option)) spec.set_time_zone(flags.time_zone);
  if (Given(flags.missed_run_deadline_option)) {
    if (flags.missed_run_deadline == "none") {
      spec.clear_missed_run_deadline();
    } else {
      ASSIGN_OR_RETURN(const absl::Duration deadline,
                       ParseTimeout("--missed_run_deadline", flags.missed_run_deadline));
      spec.mutable_missed_run_deadline()->set_seconds(absl::ToInt64Seconds(deadline));
    }
  }
  if (Given(flags.overlap_option)) {
    v1::Overlap overlap = v1::OVERLAP_UNSPECIFIED;
    v1::Overlap_Parse(absl::StrCat("OVERLAP_", absl::AsciiStrToUpper(flags.overlap)), &overlap);
    spec.set_overlap(overlap);
  }
  if (Given(flags.keep_succeeded_option)) spec.set_keep_succeeded(flags.keep_succeeded);
  if (Given(flags.keep_failed_option)) spec.set_keep_failed(flags.keep_failed);
  if (AnyGiven(flags.job)) {
    ASSIGN_OR_RETURN(*spec.mutable_job(), MakeJobSpec(flags.job));
    for (v1::Window& window : *spec.mutable_job()->mutable_windows()) {
      if (window.time_zone().empty()) window.set_time_zone(spec.time_zone());
    }
  }
  return absl::OkStatus();
}

int PrintOne(const Context& context, const v1::Schedule& schedule) {
  if (context.json) return context.PrintJson(schedule);
  PrintSchedule(context.console.out, schedule, absl::Now());
  return kExitOk;
}

// What came of a change, in one line.
int PrintChange(const Context& context, const v1::Schedule& schedule, absl::string_view what) {
  if (context.json) return context.PrintJson(schedule);
  context.console.out << "schedule " << EscapeName(schedule.name()) << ": " << what;
  if (schedule.has_next_run()) {
    context.console.out << "; next run " << FormatTimeIn(schedule.next_run(), schedule.spec().time_zone());
  }
  context.console.out << '\n';
  return kExitOk;
}

int RunCreate(const Context& context, const SpecFlags& flags) {
  v1::CreateScheduleRequest request;
  request.set_name(flags.name);
  if (absl::Status status = Apply(flags, *request.mutable_spec()); !status.ok()) {
    return context.UsageError(status);
  }
  if (!request.spec().has_job()) {
    return context.UsageError(FieldError("--all, --name, --label", "say which nodes by exactly one of them"));
  }
  request.mutable_spec()->set_suspended(flags.suspended);
  return WithClient<ScheduleClient>(context, flags.controller, [&](const ScheduleClient& client) {
    const absl::StatusOr<v1::Schedule> schedule = client.CreateSchedule(request, context.ShortTimeout());
    if (!schedule.ok()) return context.CallError("schedule create", flags.controller, schedule.status());
    return PrintChange(context, *schedule, "created");
  });
}

// Reads the schedule, changes its spec and writes it, again if it was changed meanwhile.
int Change(const Context& context, const std::string& controller, const std::string& name,
           const std::string& command, absl::string_view what,
           const std::function<absl::Status(v1::ScheduleSpec&)>& change) {
  return WithClient<ScheduleClient>(context, controller, [&](const ScheduleClient& client) {
    for (int left = kTries;; --left) {
      absl::StatusOr<v1::Schedule> schedule = client.GetSchedule(name, context.ShortTimeout());
      if (!schedule.ok()) return context.CallError(command, controller, schedule.status());
      v1::UpdateScheduleRequest request;
      request.set_name(name);
      request.set_revision(schedule->revision());
      *request.mutable_spec() = schedule->spec();
      if (absl::Status status = change(*request.mutable_spec()); !status.ok()) {
        return context.UsageError(status);
      }
      schedule = client.UpdateSchedule(request, context.ShortTimeout());
      if (schedule.ok()) return PrintChange(context, *schedule, what);
      if (ReasonOf(schedule.status()) != "SCHEDULE_CHANGED" || left == 1) {
        return context.CallError(command, controller, schedule.status());
      }
    }
  });
}

int RunUpdate(const Context& context, const SpecFlags& flags) {
  return Change(context, flags.controller, flags.name, "schedule update", "updated",
                [&flags](v1::ScheduleSpec& spec) { return Apply(flags, spec); });
}

int RunSuspend(const Context& context, const Flags& flags, bool suspended) {
  return Change(context, flags.controller, flags.name, suspended ? "schedule suspend" : "schedule resume",
                suspended ? "suspended" : "resumed", [suspended](v1::ScheduleSpec& spec) {
                  spec.set_suspended(suspended);
                  return absl::OkStatus();
                });
}

int RunGet(const Context& context, const Flags& flags) {
  return WithClient<ScheduleClient>(context, flags.controller, [&](const ScheduleClient& client) {
    const absl::StatusOr<v1::Schedule> schedule = client.GetSchedule(flags.name, context.ShortTimeout());
    if (!schedule.ok()) return context.CallError("schedule get", flags.controller, schedule.status());
    return PrintOne(context, *schedule);
  });
}

int RunList(const Context& context, const Flags& flags) {
  return WithClient<ScheduleClient>(context, flags.controller, [&](const ScheduleClient& client) {
    v1::ListSchedulesRequest request;
    Table table = MakeScheduleTable();
    std::set<std::string> tokens;
    while (true) {
      const absl::StatusOr<v1::ListSchedulesResponse> page =
          client.ListSchedules(request, context.ShortTimeout());
      if (!page.ok()) return context.CallError("schedule list", flags.controller, page.status());
      if (context.json) {
        if (context.PrintJson(*page) != kExitOk) return kExitFailed;
      } else {
        for (const v1::Schedule& schedule : page->schedules()) AddScheduleRow(table, schedule, absl::Now());
        table.Flush(context.console.out);
      }
      if (page->next_page_token().empty() || !context.console.out.good()) return kExitOk;
      if (!tokens.insert(page->next_page_token()).second) {
        return context.CallError("schedule list", flags.controller,
                                 MakeError(absl::StatusCode::kInternal, "BAD_ANSWER",
                                           "the controller's pages go round in a circle"));
      }
      request.set_page_token(page->next_page_token());
    }
  });
}

int RunNow(const Context& context, const Flags& flags) {
  v1::RunScheduleNowRequest request;
  request.set_name(flags.name);
  request.set_request_id(flags.request_id.empty() ? RandomRequestId() : flags.request_id);
  return WithClient<ScheduleClient>(context, flags.controller, [&](const ScheduleClient& client) {
    const absl::StatusOr<v1::Job> job = client.RunScheduleNow(request, context.ShortTimeout());
    if (!job.ok()) {
      const int code = context.CallError("schedule run", flags.controller, job.status());
      if (code == kExitUnreachable) {
        context.console.err << "The job may have been made all the same. To repeat safely, add --request_id "
                            << EscapeName(request.request_id()) << '\n';
      }
      return code;
    }
    if (context.json) return context.PrintJson(*job);
    context.console.out << "job " << EscapeName(job->id()) << ": created\nFollow it: cowherd job watch "
                        << EscapeName(job->id()) << '\n';
    return kExitOk;
  });
}

int RunDelete(const Context& context, const Flags& flags) {
  return WithClient<ScheduleClient>(context, flags.controller, [&](const ScheduleClient& client) {
    const absl::Status status = client.DeleteSchedule(flags.name, context.ShortTimeout());
    if (!status.ok()) return context.CallError("schedule delete", flags.controller, status);
    context.console.out << (context.json ? "{}\n"
                                         : absl::StrCat("schedule ", EscapeName(flags.name), ": deleted\n"));
    return kExitOk;
  });
}

void AddName(CLI::App& command, std::string& name) {
  command.add_option("NAME", name, "The schedule's name")->required()->type_name("");
}

// A command that takes a schedule's name. `note` is for the help, after the example.
CLI::App* AddByName(CLI::App& group, Context& context, const std::string& name,
                    const std::string& description, const std::string& note,
                    const std::shared_ptr<Flags>& flags,
                    const std::function<int(const Context&, const Flags&)>& run) {
  CLI::App* command = group.add_subcommand(name, description);
  AddControllerFlag(*command, context, flags->controller);
  AddName(*command, flags->name);
  command->footer(Footer(absl::StrCat("  cowherd schedule ", name, " nightly\n", note)));
  command->callback(
      [&context, flags, run] { context.run = [&context, flags, run] { return run(context, *flags); }; });
  return command;
}

void AddSpecFlags(CLI::App& command, Context& context, SpecFlags& flags) {
  AddControllerFlag(command, context, flags.controller);
  AddName(command, flags.name);
  const char* const group = "When";
  flags.cron_option = command
                          .add_option("--cron", flags.cron,
                                      "Minute, hour, day of month, month, day of week; or @hourly, @daily, "
                                      "@weekly, @monthly, @yearly")
                          ->type_name("EXPR")
                          ->group(group);
  flags.time_zone_option =
      command.add_option("--time_zone", flags.time_zone, "Whose clock: Europe/Berlin (default: UTC)")
          ->type_name("ZONE")
          ->group(group);
  flags.missed_run_deadline_option =
      command
          .add_option("--missed_run_deadline", flags.missed_run_deadline,
                      "How late a run may start, if no controller was there in time: 30s, 2h; or none "
                      "(default), for any time. Of several missed runs only the last starts")
          ->type_name("TIME")
          ->group(group);
  flags.overlap_option =
      command
          .add_option("--overlap", flags.overlap,
                      "If a job of an earlier run has not ended: forbid skips the run, replace cancels that "
                      "job, allow runs both")
          ->type_name("HOW")
          ->check(CLI::IsMember({"forbid", "replace", "allow"}))
          ->capture_default_str()
          ->group(group);
  flags.keep_succeeded_option =
      command.add_option("--keep_succeeded", flags.keep_succeeded, "Older jobs that succeeded are deleted")
          ->type_name("N")
          ->check(CLI::Range(0, 50))
          ->capture_default_str()
          ->group(group);
  flags.keep_failed_option = command
                                 .add_option("--keep_failed", flags.keep_failed,
                                             "Older jobs that failed or were cancelled are deleted")
                                 ->type_name("N")
                                 ->check(CLI::Range(0, 50))
                                 ->capture_default_str()
                                 ->group(group);
  AddJobSpecFlags(command, flags.job);
}

void AddCreate(CLI::App& group, Context& context) {
  CLI::App* command = group.add_subcommand("create", "Make a job again and again");
  const auto flags = std::make_shared<SpecFlags>();
  AddSpecFlags(*command, context, *flags);
  flags->cron_option->required();
  command->add_flag("--suspended", flags->suspended, "Start nothing until it is resumed")->group("When");
  command->footer(Footer(
      "  cowherd schedule create nightly --cron '30 2 * * *' --time_zone Europe/Berlin --all\n"
      "  cowherd schedule create weekly --cron '0 22 * * sat' --missed_run_deadline 6h --label zone=a "
      "--full\n"
      "  cowherd schedule create often --cron '*/20 9-17 * * mon-fri' --overlap replace --name storage-7\n"
      "  cowherd schedule create nights --cron '0 22 * * *' --window '0 22 * * * for 6h' --all\n"
      "The fields of --cron: * is every; 1,15 a list; 9-17 a range; */20 every 20th. Where both day fields "
      "are\n"
      "given, either will do: '0 3 1 * sun' is the first of the month and each Sunday. When clocks are "
      "turned\n"
      "forward, a time that is left out runs at the turn; when they are turned back, one that comes twice "
      "runs\n"
      "the first time. Outside of its windows a job pauses, and goes on in the next; one without a zone "
      "follows\n"
      "--time_zone.\n"));
  command->callback(
      [&context, flags] { context.run = [&context, flags] { return RunCreate(context, *flags); }; });
}

void AddUpdate(CLI::App& group, Context& context) {
  CLI::App* command = group.add_subcommand("update", "Change a schedule: what is given replaces what it had");
  const auto flags = std::make_shared<SpecFlags>();
  AddSpecFlags(*command, context, *flags);
  command->footer(
      Footer("  cowherd schedule update nightly --cron '0 3 * * *'\n"
             "  cowherd schedule update nightly --missed_run_deadline none\n"
             "  cowherd schedule update nightly --label zone=a --root data\n"
             "With any flag of the job (which nodes, roots, ...) the job is replaced as a whole. Jobs made "
             "before stay as they are.\n"));
  command->callback(
      [&context, flags] { context.run = [&context, flags] { return RunUpdate(context, *flags); }; });
}

void AddList(CLI::App& group, Context& context) {
  CLI::App* command = group.add_subcommand("list", "All schedules, and when they run next");
  const auto flags = std::make_shared<Flags>();
  AddControllerFlag(*command, context, flags->controller);
  command->footer(
      Footer("  cowherd schedule list\n"
             "  cowherd schedule list -o json | jq -r '.schedules[].next_run'\n"
             "With -o json each page of up to 100 schedules is one line.\n"));
  command->callback(
      [&context, flags] { context.run = [&context, flags] { return RunList(context, *flags); }; });
}

}  // namespace

void AddScheduleCommand(CLI::App& root, Context& context) {
  CLI::App* group = root.add_subcommand("schedule", "Jobs that are made again and again");
  group->require_subcommand(1);
  AddCreate(*group, context);
  const auto by_name = [&](const std::string& name, const std::string& description, const std::string& note,
                           const std::function<int(const Context&, const Flags&)>& run) {
    AddByName(*group, context, name, description, note, std::make_shared<Flags>(), run);
  };
  by_name("get", "Show a schedule, its next run and the runs before", "", RunGet);
  AddList(*group, context);
  AddUpdate(*group, context);
  by_name("suspend", "Start nothing for the time being; jobs under way go on", "",
          [](const Context& c, const Flags& flags) { return RunSuspend(c, flags, true); });
  by_name("resume", "Go on with a suspended schedule",
          "Runs that were due meanwhile are not made up for: see cowherd schedule run.\n",
          [](const Context& c, const Flags& flags) { return RunSuspend(c, flags, false); });
  const auto run_flags = std::make_shared<Flags>();
  CLI::App* run = AddByName(*group, context, "run", "Make its job now, also if it is suspended",
                            "When it runs next does not change.\n", run_flags, RunNow);
  run->add_option("--request_id", run_flags->request_id,
                  "Two calls with the same id make one job (default: a random UUID)")
      ->type_name("ID");
  by_name("delete", "Forget a schedule; the jobs that it made stay", "", RunDelete);
}

}  // namespace cowherd
