#include "server/sched/node_windows.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

constexpr absl::string_view kKind = "node_windows";
constexpr size_t kMaxNodes = 10'000;

}  // namespace

NodeWindows::NodeWindows(JobStore& store, Loop& loop, Reader read)
    : store_(store), loop_(loop), read_(std::move(read)) {}

absl::Status NodeWindows::Recover() {
  lists_.clear();
  ASSIGN_OR_RETURN(const auto records, store_.LoadRecords(kKind));
  for (const auto& [node, bytes] : records) {
    ASSIGN_OR_RETURN(WindowList list, read_(bytes));
    loop_.SetNodeWindows(node, list.windows);
    lists_.emplace(node, std::move(list));
  }
  return absl::OkStatus();
}

absl::Status NodeWindows::Set(const std::string& node, WindowList list) {
  if (list.windows.empty()) {
    RETURN_IF_ERROR(store_.DeleteRecord(kKind, node));
    lists_.erase(node);
  } else {
    if (lists_.size() >= kMaxNodes && lists_.count(node) == 0) {
      return MakeError(absl::StatusCode::kResourceExhausted, "TOO_MANY_WINDOWS",
                       absl::StrCat(lists_.size(), " nodes have windows; take some away"));
    }
    RETURN_IF_ERROR(store_.PutRecord(kKind, node, list.bytes));
  }
  Log(LogLevel::kInfo, "windows of a node set", {{"node", node}, {"windows", uint64_t{list.windows.size()}}});
  loop_.SetNodeWindows(node, list.windows);
  if (!list.windows.empty()) lists_.insert_or_assign(node, std::move(list));
  return absl::OkStatus();
}

}  // namespace cowherd
