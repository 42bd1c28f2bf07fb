#include "client/commands/dedupe.h"

#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/commands/dedupe_text.h"
#include "client/commands/error_text.h"
#include "client/dedupe_split.h"
#include "client/node_client.h"
#include "client/path.h"
#include "client/progress.h"
#include "client/size.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

constexpr size_t kMostDestinations = 1024;

struct Flags {
  std::string node;
  std::string length;
  std::string max_bytes_per_call;
  bool measure = false;
  std::string source;
  std::string source_offset;
  std::vector<std::string> destinations;  // path, offset, path, offset, ...
};

absl::StatusOr<v1::FilePosition> MakePosition(const Console& console, absl::string_view path_argument,
                                              absl::string_view path, absl::string_view offset_argument,
                                              absl::string_view offset) {
  if (path.empty()) return FieldError(path_argument, "empty; name a file");
  v1::FilePosition position;
  position.set_path(AbsolutePath(console.working_directory, path));
  ASSIGN_OR_RETURN(const uint64_t bytes, ParseSize(offset_argument, offset));
  position.set_offset(bytes);
  return position;
}

absl::StatusOr<v1::DedupeRangesRequest> MakeRequest(const Flags& flags, const Console& console) {
  v1::DedupeRangesRequest request;
  ASSIGN_OR_RETURN(*request.mutable_source(),
                   MakePosition(console, "SRC", flags.source, "SRC_OFFSET", flags.source_offset));
  if (flags.destinations.size() % 2 != 0) {
    return FieldError("DST_OFFSET", absl::StrCat("missing after ", flags.destinations.back(),
                                                 "; each DST needs its offset"));
  }
  const size_t destinations = flags.destinations.size() / 2;
  if (destinations > kMostDestinations) {
    return FieldError("DST", absl::StrCat(destinations, " destinations; one call takes at most ",
                                          kMostDestinations, ": make several"));
  }
  for (size_t i = 0; i < destinations; ++i) {
    const std::string number = absl::StrCat(" of destination ", i + 1);
    ASSIGN_OR_RETURN(*request.add_destinations(),
                     MakePosition(console, "DST" + number, flags.destinations[2 * i], "DST_OFFSET" + number,
                                  flags.destinations[2 * i + 1]));
  }
  ASSIGN_OR_RETURN(const uint64_t length, ParseSize("--length", flags.length));
  if (length == 0) return FieldError("--length", "must be above 0");
  if (length > std::numeric_limits<uint64_t>::max() / destinations) {
    return FieldError("--length", "too large for that many destinations");
  }
  request.set_length(length);
  if (!flags.max_bytes_per_call.empty()) {
    ASSIGN_OR_RETURN(const uint64_t most, ParseSize("--max_bytes_per_call", flags.max_bytes_per_call));
    if (most < (128u << 10) || most > (1u << 30)) {
      return FieldError("--max_bytes_per_call", "must be from 128k to 1g");
    }
    request.set_max_bytes_per_call(most);
  }
  request.set_measure_shared(flags.measure);
  return request;
}

int Print(const Context& context, const v1::DedupeRangesResponse& response, bool measured) {
  int code = AllDeduped(response) ? kExitOk : kExitFailed;
  if (context.json) {
    if (context.PrintJson(response) != kExitOk) code = kExitFailed;
  } else {
    PrintDedupe(context.console.out, response, measured);
    PrintNextSteps(context.console.err, response);
  }
  return code;
}

int RunWhole(const Context& context, const std::string& node, const NodeClient& client,
             const v1::DedupeRangesRequest& request) {
  const absl::StatusOr<v1::DedupeRangesResponse> response =
      client.DedupeRanges(request, context.LongTimeout());
  if (!response.ok()) return context.CallError("dedupe", node, response.status());
  return Print(context, *response, request.measure_shared());
}

int RunInParts(const Context& context, const std::string& node, const NodeClient& client,
               const v1::DedupeRangesRequest& request) {
  DedupeSplit split(request);
  Progress progress;
  ProgressLine line = context.MakeProgressLine();
  progress.Update(absl::Now(), 0, split.bytes_total());
  line.Show(progress.Line());
  absl::Status failed;
  const absl::Status ended = client.DedupeRangesStream(
      /*window=*/1, [&](v1::DedupeRangesRequest* part) { return split.Next(part); },
      [&](absl::StatusOr<v1::DedupeRangesResponse> answer) {
        failed = answer.ok() ? split.Add(*answer) : answer.status();
        if (!failed.ok()) return false;
        progress.Update(absl::Now(), split.bytes_done(), split.bytes_total());
        line.Show(progress.Line());
        return true;
      },
      context.LongTimeout());
  line.Clear();
  if (failed.ok()) failed = ended;
  if (failed.ok()) return Print(context, split.Result(), request.measure_shared());
  if (!split.answered()) return context.CallError("dedupe", node, failed);
  split.Fail(failed);
  Print(context, split.Result(), request.measure_shared());
  return context.CallError("dedupe", node, failed);
}

int Run(const Context& context, const Flags& flags) {
  const absl::StatusOr<v1::DedupeRangesRequest> request = MakeRequest(flags, context.console);
  if (!request.ok()) return context.UsageError(request.status());
  return WithClient<NodeClient>(context, flags.node, [&](const NodeClient& client) {
    v1::DedupeRangesRequest first;
    DedupeSplit(*request).Next(&first);
    const bool one_part = first.length() == request->length();
    return one_part ? RunWhole(context, flags.node, client, *request)
                    : RunInParts(context, flags.node, client, *request);
  });
}

}  // namespace

void AddDedupeCommand(CLI::App& root, Context& context) {
  CLI::App* command = root.add_subcommand(
      "dedupe", "Share one source range with destinations, where the kernel finds them equal");
  const auto flags = std::make_shared<Flags>();
  AddNodeFlag(*command, context, flags->node);
  command
      ->add_option("--length", flags->length,
                   "How many bytes to share; a multiple of the block size, or to the end of both files")
      ->required()
      ->type_name("SIZE");
  command->add_flag("--measure", flags->measure, "Also look how much lies on shared storage afterwards");
  command
      ->add_option(
          "--max_bytes_per_call", flags->max_bytes_per_call,
          "The most the kernel compares at once, 128k to 1g; one differing byte there shares nothing of it "
          "(default 16m)")
      ->type_name("SIZE");
  command->add_option("SRC", flags->source, "File whose storage is kept; paths are those on the node's host")
      ->required()
      ->type_name("");
  command->add_option("SRC_OFFSET", flags->source_offset, "Where the range starts in it")
      ->required()
      ->type_name("");
  command
      ->add_option("DST DST_OFFSET", flags->destinations,
                   "File and offset to share the range with; at most 1024 pairs")
      ->required()
      ->type_name("");
  command->footer(Footer(
      "  cowherd dedupe --length 64m /srv/a.img 0 /srv/b.img 0 /srv/c.img 1g\n"
      "  cowherd dedupe --node unix:/run/cowherd/node.sock --length 4k --measure -- -a 0 -b 0\n"
      "Sizes and offsets are bytes, or a number with k, m, g or t (1024-based). A long request is sent in "
      "parts, so\n"
      "what was shared before an error or a lost connection stays shared. It is safe to repeat.\n"
      "Exit code: 0 all deduped; 1 a destination failed or differs, or the node refused; 2 usage; 3 node\n"
      "unreachable.\n"));
  command->callback([&context, flags] { context.run = [&context, flags] { return Run(context, *flags); }; });
}

}  // namespace cowherd
