#include "client/commands/job.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/commands/error_text.h"
#include "client/commands/hold.h"
#include "client/commands/job_spec_flags.h"
#include "client/commands/job_text.h"
#include "client/commands/request_id.h"
#include "client/job_client.h"
#include "client/progress.h"
#include "client/scan_progress.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

struct Flags {
  std::string controller;
  std::string id;
  std::string reason;
};

struct ListFlags {
  std::string controller;
  std::vector<std::string> states;
};

struct CreateFlags {
  std::string controller;
  JobSpecFlags spec;
  std::string request_id;
  bool wait = false;
};

absl::StatusOr<v1::CreateJobRequest> MakeCreateRequest(const CreateFlags& flags) {
  v1::CreateJobRequest request;
  request.set_request_id(flags.request_id.empty() ? RandomRequestId() : flags.request_id);
  ASSIGN_OR_RETURN(*request.mutable_spec(), MakeJobSpec(flags.spec));
  return request;
}

int PrintOneJob(const Context& context, const v1::Job& job) {
  if (context.json) return context.PrintJson(job);
  PrintJob(context.console.out, job);
  return kExitOk;
}

// Follows one job to its end: a line of progress on a terminal, a line for each new state, the job at last.
class Watcher {
 public:
  Watcher(const Context& context, const std::string& controller, const JobClient& client)
      : context_(context), controller_(controller), client_(client), line_(context.MakeProgressLine()) {}

  int Run(const std::string& id) {
    const absl::Status status = client_.WatchJob(
        id, [this](const v1::Job& job) { return See(job); }, [this](const absl::Status&) { Broken(); },
        context_.LongTimeout());
    line_.Clear();
    if (status.ok()) return End();
    if (seen_) {
      context_.console.err << "job " << EscapeName(id) << " was " << StateText(job_.state())
                           << " when last seen\n";
    }
    return context_.CallError("job watch", controller_, status);
  }

 private:
  void Broken() {
    if (!seen_ || std::exchange(broken_, true)) return;
    line_.Clear();
    context_.console.err << "the controller is gone; trying to reach it again\n";
  }

  bool See(const v1::Job& job) {
    const bool new_state = !seen_ || job.state() != job_.state();
    job_ = job;
    seen_ = true;
    broken_ = false;
    if (context_.json) {
      line_.Clear();
      if (context_.PrintJson(job) != kExitOk) json_failed_ = true;
    } else if (new_state && !HasEnded(job.state())) {
      line_.Clear();
      context_.console.out << "job " << EscapeName(job.id()) << ": " << StateText(job.state()) << '\n'
                           << std::flush;
    }
    if (!context_.json) TellWaits(job);
    progress_.Update(absl::Now(), job.totals(), AllHaveBegun(job));
    line_.Show(absl::StrCat(StateText(job.state()), "  tasks ", EndedTasks(job), "/", job.tasks_size(), "  ",
                            progress_.Line()));
    return context_.console.out.good();
  }

  // Why tasks do not go on, whenever that is new.
  void TellWaits(const v1::Job& job) {
    for (const v1::Task& task : job.tasks()) {
      const std::string wait = task.state() == v1::TASK_WAITING ? TaskNote(task) : "";
      if (std::exchange(waits_[task.id()], wait) == wait || wait.empty()) continue;
      line_.Clear();
      context_.console.out << "job " << EscapeName(job.id()) << ": " << TaskPlace(task) << " waits: " << wait
                           << '\n'
                           << std::flush;
    }
  }

  int End() {
    if (!context_.json) PrintJob(context_.console.out, job_);
    return IsSuccess(job_) && !json_failed_ ? kExitOk : kExitFailed;
  }

  const Context& context_;
  const std::string controller_;
  const JobClient& client_;
  ProgressLine line_;
  ScanProgress progress_;
  std::map<std::string, std::string> waits_;  // what was told, by task
  v1::Job job_;
  bool seen_ = false;
  bool json_failed_ = false;
  bool broken_ = false;
};

int RunCreate(const Context& context, const CreateFlags& flags) {
  const absl::StatusOr<v1::CreateJobRequest> request = MakeCreateRequest(flags);
  if (!request.ok()) return context.UsageError(request.status());
  return WithClient<JobClient>(context, flags.controller, [&](const JobClient& client) {
    const absl::StatusOr<v1::Job> job = client.CreateJob(*request, context.ShortTimeout());
    if (!job.ok()) {
      const int code = context.CallError("job create", flags.controller, job.status());
      if (code == kExitUnreachable) {
        context.console.err << "The job may have been made all the same. To repeat safely, add --request_id "
                            << EscapeName(request->request_id()) << '\n';
      }
      return code;
    }
    if (flags.wait) {
      if (!context.json) context.console.out << "job " << EscapeName(job->id()) << ": created\n";
      return Watcher(context, flags.controller, client).Run(job->id());
    }
    if (context.json) return context.PrintJson(*job);
    context.console.out << "job " << EscapeName(job->id()) << ": created\nFollow it: cowherd job watch "
                        << EscapeName(job->id()) << '\n';
    return kExitOk;
  });
}

int RunWatch(const Context& context, const Flags& flags) {
  return WithClient<JobClient>(context, flags.controller, [&](const JobClient& client) {
    return Watcher(context, flags.controller, client).Run(flags.id);
  });
}

int RunList(const Context& context, const ListFlags& flags) {
  v1::ListJobsRequest request;
  for (const std::string& text : flags.states) {
    v1::JobState state;
    if (!ParseState(text, &state)) {
      return context.UsageError(FieldError(
          "--state",
          absl::StrCat(text, " is not one of pending, running, paused, succeeded, failed, cancelled")));
    }
    request.add_states(state);
  }
  return WithClient<JobClient>(context, flags.controller, [&](const JobClient& client) {
    Table table = MakeJobTable();
    std::set<std::string> tokens;
    while (true) {
      const absl::StatusOr<v1::ListJobsResponse> page = client.ListJobs(request, context.ShortTimeout());
      if (!page.ok()) return context.CallError("job list", flags.controller, page.status());
      if (context.json) {
        if (context.PrintJson(*page) != kExitOk) return kExitFailed;
      } else {
        for (const v1::Job& job : page->jobs()) AddJobRow(table, job);
        table.Flush(context.console.out);
      }
      if (page->next_page_token().empty() || !context.console.out.good()) return kExitOk;
      if (!tokens.insert(page->next_page_token()).second) {
        return context.CallError("job list", flags.controller,
                                 MakeError(absl::StatusCode::kInternal, "BAD_ANSWER",
                                           "the controller's pages go round in a circle"));
      }
      request.set_page_token(page->next_page_token());
    }
  });
}

// get, cancel and resume: a call that takes an id and answers with the job.
using JobCall = absl::StatusOr<v1::Job> (JobClient::*)(const std::string&, absl::Duration) const;

// The answer to a call; `note` is for a job that has not ended.
int PrintChanged(const Context& context, const Flags& flags, absl::string_view name, absl::string_view note,
                 const absl::StatusOr<v1::Job>& job) {
  if (!job.ok()) return context.CallError(absl::StrCat("job ", name), flags.controller, job.status());
  if (context.json) return PrintOneJob(context, *job);
  context.console.out << "job " << EscapeName(job->id()) << ": " << StateText(job->state()) << '\n';
  if (!HasEnded(job->state())) context.console.out << note;
  return kExitOk;
}

int RunJobCall(const Context& context, const Flags& flags, absl::string_view name, absl::string_view note,
               JobCall call) {
  return WithClient<JobClient>(context, flags.controller, [&](const JobClient& client) {
    const absl::StatusOr<v1::Job> job = (client.*call)(flags.id, context.ShortTimeout());
    if (job.ok() && call == &JobClient::GetJob) return PrintOneJob(context, *job);
    return PrintChanged(context, flags, name, note, job);
  });
}

int RunPause(const Context& context, const Flags& flags) {
  v1::PauseJobRequest request;
  request.set_id(flags.id);
  request.set_reason(flags.reason);
  request.set_by(Asker(context));
  return WithClient<JobClient>(context, flags.controller, [&](const JobClient& client) {
    return PrintChanged(context, flags, "pause",
                        "Its tasks stop within seconds. What was shared stays shared; a task that is resumed "
                        "looks again for what is left.\n",
                        client.PauseJob(request, context.ShortTimeout()));
  });
}

int RunDelete(const Context& context, const Flags& flags) {
  return WithClient<JobClient>(context, flags.controller, [&](const JobClient& client) {
    const absl::Status status = client.DeleteJob(flags.id, context.ShortTimeout());
    if (!status.ok()) return context.CallError("job delete", flags.controller, status);
    if (context.json) {
      context.console.out << "{}\n";
    } else {
      context.console.out << "job " << EscapeName(flags.id) << ": deleted\n";
    }
    return kExitOk;
  });
}

// A command that takes a job's id.
CLI::App* AddById(CLI::App& group, Context& context, const std::string& name, const std::string& description,
                  const std::string& note, const std::function<int(const Flags&)>& run,
                  bool with_reason = false) {
  CLI::App* command = group.add_subcommand(name, description);
  const auto flags = std::make_shared<Flags>();
  AddControllerFlag(*command, context, flags->controller);
  command->add_option("ID", flags->id, "The job's id; cowherd job list shows them")
      ->required()
      ->type_name("");
  if (with_reason) {
    command->add_option("--reason", flags->reason, "Why, for others to read")->type_name("TEXT");
  }
  command->footer(Footer(absl::StrCat("  cowherd job ", name, " 7f3a\n", note)));
  command->callback([&context, flags, run] { context.run = [flags, run] { return run(*flags); }; });
  return command;
}

void AddCreate(CLI::App& group, Context& context) {
  CLI::App* command =
      group.add_subcommand("create", "Make a job: look through trees of nodes, or share given ranges");
  const auto flags = std::make_shared<CreateFlags>();
  AddControllerFlag(*command, context, flags->controller);
  AddJobSpecFlags(*command, flags->spec);
  command
      ->add_option("--request_id", flags->request_id,
                   "Two calls with the same id make one job (default: a random UUID)")
      ->type_name("ID");
  command->add_flag("--wait", flags->wait, "Watch it to its end; the exit code then tells how it ended");
  command->footer(Footer(
      "  cowherd job create --all --dry_run --wait\n"
      "  cowherd job create --label zone=a --root data --exclude '*.tmp' --bytes_per_second 200m\n"
      "  cowherd job create --ranges ranges.json --display_name images\n"
      "A ranges.json, where L2EvYg== is base64 of a path:\n"
      "  {\"nodes\": [{\"node\": \"storage-7\", \"ranges\": {\"requests\": [{\"length\": 65536,\n"
      "    \"source\": {\"path\": \"L2EvYg==\"}, \"destinations\": [{\"path\": \"L2EvYw==\"}]}]}}]}\n"));
  command->callback(
      [&context, flags] { context.run = [&context, flags] { return RunCreate(context, *flags); }; });
}

void AddList(CLI::App& group, Context& context) {
  CLI::App* command = group.add_subcommand("list", "All jobs, newest first");
  const auto flags = std::make_shared<ListFlags>();
  AddControllerFlag(*command, context, flags->controller);
  command
      ->add_option("--state", flags->states,
                   "Only these: pending, running, paused, succeeded, failed, cancelled")
      ->type_name("STATE");
  command->footer(
      Footer("  cowherd job list --state running --state pending\n"
             "With -o json each page of up to 100 jobs is one line.\n"));
  command->callback(
      [&context, flags] { context.run = [&context, flags] { return RunList(context, *flags); }; });
}

}  // namespace

void AddJobCommand(CLI::App& root, Context& context) {
  CLI::App* group = root.add_subcommand("job", "Jobs over many nodes, run by the controller");
  group->require_subcommand(1);
  AddCreate(*group, context);
  AddList(*group, context);
  const auto call = [&](const std::string& name, const std::string& description, const std::string& note,
                        JobCall job_call) {
    AddById(*group, context, name, description, "", [&context, name, note, job_call](const Flags& flags) {
      return RunJobCall(context, flags, name, note, job_call);
    });
  };
  call("get", "Show a job, its tasks and what failed", "", &JobClient::GetJob);
  AddById(*group, context, "watch", "Follow a job to its end",
          "Exit code: 0 it succeeded; 1 it failed or was cancelled; 3 the controller cannot be reached.\n",
          [&context](const Flags& flags) { return RunWatch(context, flags); });
  call("cancel", "End a job early; what is shared stays shared",
       "It ends within seconds, when its nodes have stopped; on a node that is down, when that is back. What "
       "was shared by then stays shared: it is the same data. cowherd job get tells how much.\n",
       &JobClient::CancelJob);
  AddById(
      *group, context, "pause", "Stop a job's tasks for the time being", "",
      [&context](const Flags& flags) { return RunPause(context, flags); },
      /*with_reason=*/true);
  call("resume", "Go on with a paused job", "", &JobClient::ResumeJob);
  AddById(*group, context, "delete", "Forget a job that has ended", "",
          [&context](const Flags& flags) { return RunDelete(context, flags); });
}

}  // namespace cowherd
