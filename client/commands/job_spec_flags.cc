#include "client/commands/job_spec_flags.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/commands/window_text.h"
#include "client/path.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

absl::StatusOr<v1::NodeSelector> MakeSelector(const JobSpecFlags& flags) {
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

absl::StatusOr<v1::Canary> ParseCanary(absl::string_view text) {
  const std::pair<std::string, std::string> parts = absl::StrSplit(text, absl::MaxSplits('/', 1));
  uint32_t nodes = 0;
  uint32_t failures = 1;
  if (!absl::SimpleAtoi(parts.first, &nodes) || nodes == 0 ||
      (absl::StrContains(text, "/") && (!absl::SimpleAtoi(parts.second, &failures) || failures == 0))) {
    return FieldError("--canary", absl::StrCat("\"", text, "\" is not N or N/M, both above 0, such as 3/2"));
  }
  v1::Canary canary;
  canary.set_nodes(nodes);
  canary.set_max_failures(failures);
  return canary;
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

}  // namespace

void AddJobSpecFlags(CLI::App& command, JobSpecFlags& flags) {
  // Those added since the first of them, by number.
  const auto since = [&command](size_t first) {
    const std::vector<CLI::Option*> all = command.get_options();
    return std::vector<const CLI::Option*>(all.begin() + static_cast<ptrdiff_t>(first), all.end());
  };
  const size_t first = command.get_options().size();
  command.add_flag("--all", flags.all, "On every node")->group("Which nodes");
  command.add_option("--name", flags.names, "On the nodes with these names")
      ->type_name("NAME")
      ->group("Which nodes");
  command.add_option("--label", flags.labels, "On the nodes with all of these labels")
      ->type_name("KEY=VALUE")
      ->group("Which nodes");
  command.add_option("--root", flags.roots, "These roots only (default: all that can share)")
      ->type_name("NAME");
  command.add_option("--path", flags.paths, "Beneath these absolute paths only (default: whole roots)")
      ->type_name("PATH");
  AddScanFlags(command, flags.scan);
  command.add_flag("--dry_run", flags.dry_run, "Find and count, share nothing");
  command.add_flag(
      "--full", flags.full,
      "Look at everything, not only at what is new since the last scan with the same options, as "
      "nodes with --state_dir do");
  flags.of_scans = since(first);
  const size_t other = command.get_options().size();
  command
      .add_option(
          "--ranges", flags.ranges_file,
          "Instead of a scan: share the ranges in this file, the protobuf JSON of cowherd.v1.RangeJob "
          "(paths are base64)")
      ->type_name("FILE");
  command.add_option("--display_name", flags.display_name, "A name for people")->type_name("TEXT");
  command
      .add_option(
          "--on_lost_node", flags.on_lost_node,
          "Tasks of a node that has been away for longer than the controller's --lost_after: wait until "
          "it is back, or give_up, so that they and the job fail")
      ->type_name("POLICY")
      ->capture_default_str()
      ->check(CLI::IsMember({"wait", "give_up"}));
  command
      .add_option(
          "--window", flags.windows,
          "Work only while one of these maintenance windows is open: CRON for TIME [in ZONE], such as "
          "'0 22 * * * for 6h in Europe/Berlin'. May be repeated")
      ->allow_extra_args(false)
      ->type_name("WINDOW");
  command
      .add_option("--priority", flags.priority,
                  "Jobs with a higher one start their tasks first (-1000 to 1000); those with the same share "
                  "the nodes")
      ->type_name("N")
      ->capture_default_str();
  command
      .add_option("--canary", flags.canary,
                  "Begin with the first N nodes by name; the others follow when those have ended, unless M "
                  "(default: 1) or more of their tasks failed")
      ->type_name("N[/M]");
  flags.others = since(other);
}

bool AnyGiven(const JobSpecFlags& flags) {
  const auto given = [](const CLI::Option* option) { return option->count() != 0; };
  return std::any_of(flags.of_scans.begin(), flags.of_scans.end(), given) ||
         std::any_of(flags.others.begin(), flags.others.end(), given);
}

absl::StatusOr<v1::JobSpec> MakeJobSpec(const JobSpecFlags& flags) {
  v1::JobSpec spec;
  spec.set_display_name(flags.display_name);
  spec.set_priority(flags.priority);
  if (!flags.canary.empty()) {
    ASSIGN_OR_RETURN(*spec.mutable_canary(), ParseCanary(flags.canary));
  }
  if (flags.on_lost_node == "give_up") spec.set_on_lost_node(v1::LOST_NODE_GIVE_UP);
  for (const std::string& text : flags.windows) {
    ASSIGN_OR_RETURN(*spec.add_windows(), ParseWindow(text));
  }
  if (!flags.ranges_file.empty()) {
    for (const CLI::Option* option : flags.of_scans) {
      if (option->count() != 0) return FieldError(option->get_name(), "does not go with --ranges");
    }
    ASSIGN_OR_RETURN(*spec.mutable_ranges(), ReadRanges(flags.ranges_file));
    return spec;
  }
  v1::TreeScanJob& scan = *spec.mutable_scan();
  ASSIGN_OR_RETURN(*scan.mutable_nodes(), MakeSelector(flags));
  for (const std::string& root : flags.roots) scan.add_roots(root);
  for (const std::string& path : flags.paths) {
    if (!absl::StartsWith(path, "/")) {
      return FieldError("--path",
                        absl::StrCat(path, " is not absolute; the nodes do not know this directory"));
    }
    // Only a node knows where that leads.
    if (absl::StrContains(absl::StrCat(path, "/"), "/../")) {
      return FieldError("--path", absl::StrCat(path, " has \"..\" in it"));
    }
    scan.add_paths(AbsolutePath("/", path));
  }
  ASSIGN_OR_RETURN(*scan.mutable_options(), MakeScanOptions(flags.scan));
  scan.mutable_options()->set_dry_run(flags.dry_run);
  scan.mutable_options()->set_full_scan(flags.full);
  return spec;
}

}  // namespace cowherd
