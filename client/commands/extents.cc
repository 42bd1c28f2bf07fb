#include "client/commands/extents.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/format.h"
#include "client/node_client.h"
#include "client/path.h"
#include "client/size.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

struct Flags {
  std::string node;
  std::string file;
  std::string offset = "0";
  std::string length = "0";
};

absl::StatusOr<v1::GetExtentsRequest> MakeRequest(const Flags& flags, const Console& console) {
  if (flags.file.empty()) return FieldError("FILE", "empty; name a file");
  v1::GetExtentsRequest request;
  request.set_path(AbsolutePath(console.working_directory, flags.file));
  ASSIGN_OR_RETURN(const uint64_t offset, ParseSize("--offset", flags.offset));
  ASSIGN_OR_RETURN(const uint64_t length, ParseSize("--length", flags.length));
  request.set_offset(offset);
  request.set_length(length);
  return request;
}

std::string FlagText(const v1::Extent& extent) {
  std::vector<absl::string_view> flags;
  if (extent.shared()) flags.push_back("shared");
  if (extent.inline_data()) flags.push_back("inline");
  if (extent.unwritten()) flags.push_back("unwritten");
  if (extent.encoded()) flags.push_back("encoded");
  if (extent.delayed_allocation()) flags.push_back("not-on-disk-yet");
  return absl::StrJoin(flags, ",");
}

int Run(const Context& context, const Flags& flags) {
  absl::StatusOr<v1::GetExtentsRequest> request = MakeRequest(flags, context.console);
  if (!request.ok()) return context.UsageError(request.status());
  return WithClient<NodeClient>(context, flags.node, [&](const NodeClient& client) {
    std::ostream& out = context.console.out;
    const uint64_t end = request->offset() + request->length();
    Table table({{"OFFSET", true, 12}, {"LENGTH", true, 12}, {"PHYSICAL", true, 14}, {"FLAGS"}});
    uint64_t extents = 0;
    uint64_t bytes = 0;
    uint64_t shared = 0;
    while (true) {
      const absl::StatusOr<v1::GetExtentsResponse> page = client.GetExtents(*request, context.ShortTimeout());
      if (!page.ok()) return context.CallError("extents", flags.node, page.status());
      if (context.json && context.PrintJson(*page) != kExitOk) return kExitFailed;
      for (const v1::Extent& extent : page->extents()) {
        const bool has_address = !extent.inline_data() && !extent.delayed_allocation();
        table.Add({absl::StrCat(extent.offset()), absl::StrCat(extent.length()),
                   has_address ? absl::StrCat(extent.physical()) : "-", FlagText(extent)});
        ++extents;
        bytes += extent.length();
        if (extent.shared()) shared += extent.length();
      }
      if (!context.json) table.Flush(out);
      const uint64_t next = page->next_offset();
      const bool range_done = request->length() != 0 && next >= end;
      if (next == 0 || range_done || !out.good()) {
        if (!context.json) {
          out << extents << " extents: " << FormatSize(bytes) << " with storage, " << FormatSize(shared)
              << " shared, file size " << FormatSize(page->file_size()) << '\n';
        }
        return kExitOk;
      }
      if (next <= request->offset()) {
        return context.CallError("extents", flags.node,
                                 MakeError(absl::StatusCode::kInternal, "BAD_ANSWER",
                                           "the node's answer does not lead on through the file"));
      }
      request->set_offset(next);
      if (request->length() != 0) request->set_length(end - next);
    }
  });
}

}  // namespace

void AddExtentsCommand(CLI::App& root, Context& context) {
  CLI::App* command = root.add_subcommand("extents", "Show where a file's bytes lie and which are shared");
  const auto flags = std::make_shared<Flags>();
  AddNodeFlag(*command, context, flags->node);
  command->add_option("--offset", flags->offset, "Where to start (default 0)")->type_name("SIZE");
  command->add_option("--length", flags->length, "How far to look (default: to the end)")->type_name("SIZE");
  command->add_option("FILE", flags->file, "The file, by its path on the node's host")
      ->required()
      ->type_name("");
  command->footer(Footer(
      "  cowherd extents /srv/data/a.img\n"
      "  cowherd extents --offset 1g --length 64m /srv/data/a.img\n"
      "Equal PHYSICAL addresses of one filesystem are the same storage. Bytes without a line are holes.\n"
      "With -o json each page of up to 1000 extents is one line.\n"));
  command->callback([&context, flags] { context.run = [&context, flags] { return Run(context, *flags); }; });
}

}  // namespace cowherd
