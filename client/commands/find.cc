#include "client/commands/find.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/types/span.h"
#include "client/commands/scan_flags.h"
#include "client/commands/totals_text.h"
#include "client/format.h"
#include "client/node_client.h"
#include "client/path.h"
#include "client/progress.h"
#include "client/scan_progress.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

struct Flags {
  std::string node;
  std::string root;
  std::vector<std::string> paths;
  ScanFlags scan;
};

absl::StatusOr<v1::FindDuplicatesRequest> MakeRequest(const Flags& flags, const Console& console) {
  v1::FindDuplicatesRequest request;
  request.mutable_scan()->set_root(flags.root);
  for (const std::string& path : flags.paths) {
    if (path.empty()) return FieldError("PATH", "empty; name a file or directory");
    request.mutable_scan()->add_paths(AbsolutePath(console.working_directory, path));
  }
  ASSIGN_OR_RETURN(*request.mutable_scan()->mutable_options(), MakeScanOptions(flags.scan));
  request.mutable_scan()->mutable_options()->set_dry_run(true);
  return request;
}

// Prints events as they come.
class Printer {
 public:
  explicit Printer(const Context& context) : context_(context), line_(context.MakeProgressLine()) {}

  void Print(const v1::FindDuplicatesResponse& event) {
    if (event.has_progress()) {
      progress_.Update(absl::Now(), event.progress(), /*whole=*/true);
    } else {
      line_.Clear();
    }
    if (context_.json) {
      if (context_.PrintJson(event) != kExitOk) code_ = kExitFailed;
    } else if (event.has_duplicate()) {
      PrintDuplicate(event.duplicate());
    } else if (event.has_largest()) {
      largest_ = event.largest();
    } else if (event.has_summary()) {
      PrintTotals(context_.console.out, event.summary(), /*shares=*/false);
      PrintGroups(context_.console.out,
                  absl::MakeConstSpan(largest_.groups().data(), static_cast<size_t>(largest_.groups_size())));
    }
    if (!event.has_summary()) line_.Show(progress_.Line());
  }
  void Clear() { line_.Clear(); }
  int code() const { return code_; }

 private:
  void PrintDuplicate(const v1::DuplicateRange& duplicate) {
    std::ostream& out = context_.console.out;
    const std::string source =
        absl::StrCat(EscapeName(duplicate.source().path()), " ", duplicate.source().offset());
    const std::string group = absl::StrCat(duplicate.length(), " ", source);
    if (group != group_)
      out << duplicate.length() << " (" << FormatSize(duplicate.length()) << ")  " << source << '\n';
    group_ = group;
    out << "    = " << EscapeName(duplicate.destination().path()) << ' ' << duplicate.destination().offset()
        << '\n'
        << std::flush;
  }

  const Context& context_;
  ScanProgress progress_;
  ProgressLine line_;
  std::string group_;
  v1::LargestGroups largest_;
  int code_ = kExitOk;
};

int Run(const Context& context, const Flags& flags) {
  const absl::StatusOr<v1::FindDuplicatesRequest> request = MakeRequest(flags, context.console);
  if (!request.ok()) return context.UsageError(request.status());
  return WithClient<NodeClient>(context, flags.node, [&](const NodeClient& client) {
    Printer printer(context);
    const absl::Status status = client.FindDuplicates(
        *request,
        [&](const v1::FindDuplicatesResponse& event) {
          printer.Print(event);
          return context.console.out.good();
        },
        context.LongTimeout());
    printer.Clear();
    if (!status.ok()) return context.CallError("find", flags.node, status);
    return printer.code();
  });
}

}  // namespace

void AddFindCommand(CLI::App& root, Context& context) {
  CLI::App* command = root.add_subcommand("find", "Look for duplicates under a node's root; shares nothing");
  const auto flags = std::make_shared<Flags>();
  AddNodeFlag(*command, context, flags->node);
  command->add_option("--root", flags->root, "Name of the node's root; cowherd node show lists them")
      ->required()
      ->type_name("NAME");
  AddScanFlags(*command, flags->scan);
  command->add_option("PATH", flags->paths, "Files or directories beneath that root (default: all of it)")
      ->type_name("");
  command->footer(
      Footer("  cowherd find --root data\n"
             "  cowherd find --root data --min_extent_length 1m --exclude '*.tmp' /srv/data/images\n"
             "Each group is a length, then the source's path and offset, then those equal to it: what "
             "cowherd dedupe "
             "takes.\n"));
  command->callback([&context, flags] { context.run = [&context, flags] { return Run(context, *flags); }; });
}

}  // namespace cowherd
