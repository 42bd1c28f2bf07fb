#include "client/commands/job.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "client/commands/error_text.h"
#include "client/commands/job_text.h"
#include "client/commands/scan_flags.h"
#include "client/job_client.h"
#include "client/progress.h"
#include "client/scan_progress.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

struct Flags {
  std::string controller;
  std::string id;
};

struct ListFlags {
  std::string controller;
  std::vector<std::string> states;
};

struct CreateFlags {
  std::string controller;
  bool all = false;
  std::vector<std::string> names;
  std::vector<std::string> labels;
  std::vector<std::string> roots;
  std::vector<std::string> paths;
  ScanFlags scan;
  bool dry_run = false;
  bool full = false;
  std::string ranges_file;
  std::string clash;  // a flag for scans given beside --ranges
  std::string display_name;
  std::string request_id;
  std::string on_lost_node = "wait";
  bool wait = false;
};

// RFC 4122, version 4.
std::string RandomUuid() {
  std::random_device random;
  const auto bits = [&random] { return uint64_t{random()} << 32 | random(); };
  const uint64_t high = (bits() & ~uint64_t{0xF000}) | 0x4000;
  const uint64_t low = (bits() >> 2) | (uint64_t{1} << 63);
  return absl::StrFormat("%08x-%04x-%04x-%04x-%012x", high >> 32, high >> 16 & 0xFFFF, high & 0xFFFF,
                         low >> 48, low & 0xFFFFFFFFFFFF);
}

absl::StatusOr<v1::NodeSelector> MakeSelector(const CreateFlags& flags) {
  const int kinds = (flags.all ? 1 : 0) + (flags.names.empty() ? 0 : 1) + (flags.labels.empty() ? 0 : 1);
  if (kinds != 1) return FieldError("--all, --name, --label", "say which nodes by exactly one of them");
  v1::NodeSelector nodes;
  if (flags.all) nodes.set_all(true);
  for (const std::string& name : flags.names) nodes.mutable_names()->add_names(name);
  for (const std::string& label : flags.labels) {
    const std::pair<std::string, std::string> parts = absl::StrSplit(label, absl::MaxSplits('=', 1));
    if (parts.first.empty() || !absl::StrContains(label, "=")) {
      return FieldError("--label", absl::StrCat("\"", label, "\" is not key=value"));
    }
    auto& labels = *nodes.mutable_labels()->mutable_labels();
    if (labels.contains(parts.first)) {
      return FieldError("--label", absl::StrCat("\"", parts.first, "\" is given twice"));
    }
    labels[parts.first] = parts.second;
  }
  return nodes;
}

absl::StatusOr<v1::RangeJob> ReadRanges(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (file) text << file.rdbuf();
  if (!file || file.bad())
    return WithField(ErrnoError(errno != 0 ? errno : EIO, absl::StrCat("--ranges: read ", path)), "--ranges");
  v1::RangeJob ranges;
  const auto status = google::protobuf::util::JsonStringToMessage(text.str(), &ranges);
  if (!status.ok()) {
    return FieldError(
        "--ranges",
        absl::StrCat(path, " is not the JSON of a cowherd.v1.RangeJob: ", std::string(status.message())));
  }
  return ranges;
}

absl::StatusOr<v1::CreateJobRequest> MakeCreateRequest(const CreateFlags& flags) {
  if (!flags.clash.empty()) return FieldError(flags.clash, "does not go with --ranges");
  v1::CreateJobRequest request;
  request.set_request_id(flags.request_id.empty() ? RandomUuid() : flags.request_id);
  v1::JobSpec& spec = *request.mutable_spec();
  spec.set_display_name(flags.display_name);
  if (flags.on_lost_node == "give_up") spec.set_on_lost_node(v1::LOST_NODE_GIVE_UP);
  if (!flags.ranges_file.empty()) {
    ASSIGN_OR_RETURN(*spec.mutable_ranges(), ReadRanges(flags.ranges_file));
    return request;
  }
  v1::TreeScanJob& scan = *spec.mutable_scan();
  ASSIGN_OR_RETURN(*scan.mutable_nodes(), MakeSelector(flags));
  for (const std::string& root : flags.roots) scan.add_roots(root);
  for (const std::string& path : flags.paths) {
    if (!absl::StartsWith(path, "/")) {
      return FieldError("--path",
                        absl::StrCat(path, " is not absolute; the nodes do not know this directory"));
    }
    scan.add_paths(path);
  }
  ASSIGN_OR_RETURN(*scan.mutable_options(), MakeScanOptions(flags.scan));
  scan.mutable_options()->set_dry_run(flags.dry_run);
  scan.mutable_options()->set_full_scan(flags.full);
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
    const absl::Time deadline = context_.timeout ? absl::Now() + *context_.timeout : absl::InfiniteFuture();
    while (true) {
      const absl::Status status = client_.WatchJob(
          id, [this](const v1::Job& job) { return See(job); }, deadline - absl::Now());
      line_.Clear();
      if (status.ok()) return End();
      // A controller that restarts goes on with its jobs: so does the watch, once it was on.
      if (!seen_ || !absl::IsUnavailable(status) || tries_ == kTries) {
        if (seen_) {
          context_.console.err << "job " << EscapeName(id) << " was " << StateText(job_.state())
                               << " when last seen\n";
        }
        return context_.CallError("job watch", controller_, status);
      }
      if (tries_ == 0) context_.console.err << "the controller is gone; trying to reach it again\n";
      context_.console.sleep(std::min(absl::Milliseconds(200) * (1 << tries_), absl::Seconds(10)));
      ++tries_;
    }
  }

 private:
  // About 80 s in all.
  static constexpr int kTries = 12;

  bool See(const v1::Job& job) {
    const bool new_state = !seen_ || job.state() != job_.state();
    job_ = job;
    seen_ = true;
    tries_ = 0;
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
  int tries_ = 0;
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

// get, cancel, pause and resume: a call that takes an id and answers with the job.
using JobCall = absl::StatusOr<v1::Job> (JobClient::*)(const std::string&, absl::Duration) const;

// `note` is for a job that has not ended.
int RunJobCall(const Context& context, const Flags& flags, absl::string_view name, absl::string_view note,
               JobCall call) {
  return WithClient<JobClient>(context, flags.controller, [&](const JobClient& client) {
    const absl::StatusOr<v1::Job> job = (client.*call)(flags.id, context.ShortTimeout());
    if (!job.ok()) return context.CallError(absl::StrCat("job ", name), flags.controller, job.status());
    if (context.json || call == &JobClient::GetJob) return PrintOneJob(context, *job);
    context.console.out << "job " << EscapeName(job->id()) << ": " << StateText(job->state()) << '\n';
    if (!HasEnded(job->state())) context.console.out << note;
    return kExitOk;
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
                  const std::string& note, const std::function<int(const Flags&)>& run) {
  CLI::App* command = group.add_subcommand(name, description);
  const auto flags = std::make_shared<Flags>();
  AddControllerFlag(*command, context, flags->controller);
  command->add_option("ID", flags->id, "The job's id; cowherd job list shows them")
      ->required()
      ->type_name("");
  command->footer(Footer(absl::StrCat("  cowherd job ", name, " 7f3a\n", note)));
  command->callback([&context, flags, run] { context.run = [flags, run] { return run(*flags); }; });
  return command;
}

void AddCreate(CLI::App& group, Context& context) {
  CLI::App* command =
      group.add_subcommand("create", "Make a job: look through trees of nodes, or share given ranges");
  const auto flags = std::make_shared<CreateFlags>();
  const CLI::Option* controller = AddControllerFlag(*command, context, flags->controller);
  command->add_flag("--all", flags->all, "On every node")->group("Which nodes");
  command->add_option("--name", flags->names, "On the nodes with these names")
      ->type_name("NAME")
      ->group("Which nodes");
  command->add_option("--label", flags->labels, "On the nodes with all of these labels")
      ->type_name("KEY=VALUE")
      ->group("Which nodes");
  command->add_option("--root", flags->roots, "These roots only (default: all that can share)")
      ->type_name("NAME");
  command->add_option("--path", flags->paths, "Beneath these absolute paths only (default: whole roots)")
      ->type_name("PATH");
  AddScanFlags(*command, flags->scan);
  command->add_flag("--dry_run", flags->dry_run, "Find and count, share nothing");
  command->add_flag(
      "--full", flags->full,
      "Look at everything, not only at what is new since the last scan with the same options, as "
      "nodes with --state_dir do");
  CLI::Option* ranges =
      command
          ->add_option(
              "--ranges", flags->ranges_file,
              "Instead of a scan: share the ranges in this file, the protobuf JSON of cowherd.v1.RangeJob "
              "(paths are base64)")
          ->type_name("FILE");
  // All so far but --controller and --help belong to scans.
  std::vector<const CLI::Option*> of_scans;
  for (const CLI::Option* option : command->get_options()) {
    if (option != ranges && option != controller && option != command->get_help_ptr())
      of_scans.push_back(option);
  }
  command->add_option("--display_name", flags->display_name, "A name for people")->type_name("TEXT");
  command
      ->add_option("--request_id", flags->request_id,
                   "Two calls with the same id make one job (default: a random UUID)")
      ->type_name("ID");
  command
      ->add_option(
          "--on_lost_node", flags->on_lost_node,
          "Tasks of a node that has been away for longer than the controller's --lost_after: wait until "
          "it is back, or give_up, so that they and the job fail")
      ->type_name("POLICY")
      ->capture_default_str()
      ->check(CLI::IsMember({"wait", "give_up"}));
  command->add_flag("--wait", flags->wait, "Watch it to its end; the exit code then tells how it ended");
  command->footer(Footer(
      "  cowherd job create --all --dry_run --wait\n"
      "  cowherd job create --label zone=a --root data --exclude '*.tmp' --bytes_per_second 200m\n"
      "  cowherd job create --ranges ranges.json --display_name images\n"
      "A ranges.json, where L2EvYg== is base64 of a path:\n"
      "  {\"nodes\": [{\"node\": \"storage-7\", \"ranges\": {\"requests\": [{\"length\": 65536,\n"
      "    \"source\": {\"path\": \"L2EvYg==\"}, \"destinations\": [{\"path\": \"L2EvYw==\"}]}]}}]}\n"));
  command->callback([&context, flags, ranges, of_scans] {
    for (const CLI::Option* option : of_scans) {
      if (ranges->count() != 0 && option->count() != 0) flags->clash = option->get_name();
    }
    context.run = [&context, flags] { return RunCreate(context, *flags); };
  });
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
  call("pause", "Stop a job's tasks for the time being",
       "Its tasks stop within seconds. What was shared stays shared; a task that is resumed looks again for "
       "what is left.\n",
       &JobClient::PauseJob);
  call("resume", "Go on with a paused job", "", &JobClient::ResumeJob);
  AddById(*group, context, "delete", "Forget a job that has ended", "",
          [&context](const Flags& flags) { return RunDelete(context, flags); });
}

}  // namespace cowherd
