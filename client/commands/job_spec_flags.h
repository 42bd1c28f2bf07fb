#ifndef COWHERD_CLIENT_COMMANDS_JOB_SPEC_FLAGS_H_
#define COWHERD_CLIENT_COMMANDS_JOB_SPEC_FLAGS_H_

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/commands/scan_flags.h"
#include "cowherd/v1/controller.pb.h"

namespace cowherd {

// What a job is to do: flags that job create and schedules have in common.
struct JobSpecFlags {
  bool all = false;
  std::vector<std::string> names;
  std::vector<std::string> labels;
  std::vector<std::string> roots;
  std::vector<std::string> paths;
  ScanFlags scan;
  bool dry_run = false;
  bool full = false;
  std::string ranges_file;
  std::string display_name;
  std::string on_lost_node = "wait";
  std::vector<std::string> windows;
  int priority = 0;
  std::string canary;
  // Of the command: those that do not go with --ranges, and all others.
  std::vector<const CLI::Option*> of_scans;
  std::vector<const CLI::Option*> others;
};

// `flags` must outlive the command.
void AddJobSpecFlags(CLI::App& command, JobSpecFlags& flags);

// Whether any of them was given.
bool AnyGiven(const JobSpecFlags& flags);

// INVALID_ARGUMENT names the flag at fault.
absl::StatusOr<v1::JobSpec> MakeJobSpec(const JobSpecFlags& flags);

}  // namespace cowherd

#endif  // COWHERD_CLIENT_COMMANDS_JOB_SPEC_FLAGS_H_
