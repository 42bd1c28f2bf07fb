#ifndef COWHERD_SERVER_SCHED_NODE_WINDOWS_H_
#define COWHERD_SERVER_SCHED_NODE_WINDOWS_H_

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/jobs/job_store.h"
#include "server/sched/loop.h"
#include "server/sched/window.h"

namespace cowherd {

// Windows as they were asked for, opaque here, and what they mean.
struct WindowList {
  std::string bytes;
  std::vector<Window> windows;
};

// Keeps which nodes have windows, and tells the loop. For its thread.
class NodeWindows {
 public:
  using Reader = std::function<absl::StatusOr<WindowList>(absl::string_view bytes)>;

  // Both must outlive it.
  NodeWindows(JobStore& store, Loop& loop, Reader read);
  NodeWindows(const NodeWindows&) = delete;
  NodeWindows& operator=(const NodeWindows&) = delete;

  // Takes up what is in the store. Before the loop's first step, and again whenever that recovers.
  absl::Status Recover();

  // No windows: the node may work at any time. RESOURCE_EXHAUSTED "TOO_MANY_WINDOWS": 10,000 nodes have some.
  // And as JobStore::PutRecord.
  absl::Status Set(const std::string& node, WindowList list);

  // By node.
  const std::map<std::string, WindowList>& all() const { return lists_; }

 private:
  JobStore& store_;
  Loop& loop_;
  const Reader read_;
  std::map<std::string, WindowList> lists_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_NODE_WINDOWS_H_
