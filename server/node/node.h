#ifndef COWHERD_SERVER_NODE_NODE_H_
#define COWHERD_SERVER_NODE_NODE_H_

#include <google/protobuf/timestamp.pb.h>

#include <map>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "cowherd/v1/node.pb.h"
#include "server/base/stop.h"
#include "server/dedupe/ranges.h"
#include "server/dedupe/totals_book.h"
#include "server/fs/extent_ops.h"
#include "server/fs/file_tree.h"
#include "server/fs/root.h"
#include "server/metrics/node_metrics.h"
#include "server/node/epoch_gate.h"
#include "server/node/io_class.h"
#include "server/node/rights.h"
#include "server/node/task_table.h"
#include "server/scan/pace.h"
#include "server/scan/request.h"
#include "server/scan/top_groups.h"

namespace cowherd {

struct NodeConfig {
  std::string name;
  std::string instance_id;
  std::map<std::string, std::string> labels;
  size_t index_budget = 256 << 20;  // bytes, for each scan
  size_t max_tasks = 4;
  size_t scans_at_once = 1;           // as ScanRequest's
  std::string state_dir;              // as ScanRequest's
  PressurePause* pressure = nullptr;  // of all scans; null: they do not pause
  IoClass io_class = IoClass::kNone;  // of the scans' threads
  Rights rights;
};

// What a node does, call by call, without gRPC: node_service carries it over the wire. Calls block. Any
// thread. Everything given must outlive it.
class Node {
 public:
  Node(NodeConfig config, const RootTable& roots, ExtentOps& ops, FileTrees& trees, TotalsBook& book,
       NodeMetrics& metrics, EpochGate& epochs);

  absl::StatusOr<v1::DedupeRangesResponse> DedupeRanges(const v1::DedupeRangesRequest& request,
                                                        const Stop& stop);
  // The same for requests that waited together: what they name is opened once, and neighbours are joined.
  // Calls `answered` for each, in their order.
  using Answered = absl::FunctionRef<void(absl::StatusOr<v1::DedupeRangesResponse>)>;
  void DedupeTogether(absl::Span<const v1::DedupeRangesRequest* const> requests, const Stop& stop,
                      Answered answered);

  // Calls `found` for each duplicate; it may block. `totals` can be read meanwhile. The largest groups.
  absl::StatusOr<v1::LargestGroups> FindDuplicates(const RootedScan& scan, const Stop& stop,
                                                   SharedTotals& totals,
                                                   absl::FunctionRef<void(const v1::DuplicateRange&)> found);
  absl::StatusOr<RootedScan> CheckFind(const v1::FindDuplicatesRequest& request) const;
  std::shared_ptr<SharedTotals> OpenTotals(const Root& root) { return book_.Open(root.name); }

  absl::StatusOr<std::shared_ptr<TaskRun>> RunTask(const v1::RunTaskRequest& request);
  absl::Status CancelTask(const v1::CancelTaskRequest& request);
  absl::StatusOr<v1::GetExtentsResponse> GetExtents(const v1::GetExtentsRequest& request);
  v1::Node Describe() const;
  // When this node began.
  google::protobuf::Timestamp started() const;

  // Ends all tasks; see TaskTable::StopAll.
  void StopTasks() { tasks_.StopAll(); }

  EpochGate& epochs() { return epochs_; }

 private:
  absl::StatusOr<DedupeRequest> CheckAndLog(const v1::DedupeRangesRequest& request) const;
  // Counts for the root, and in `mine` if that is given.
  absl::StatusOr<v1::DedupeRangesResponse> DedupeWith(ExtentOps& ops, const v1::DedupeRangesRequest& request,
                                                      const Stop& stop, SharedTotals* mine);
  absl::Status ShareRanges(const v1::RangeList& list, const Stop& stop, SharedTotals& totals,
                           v1::TaskSummary& summary);
  absl::StatusOr<TaskTable::New> MakeTask(const v1::RunTaskRequest& request);
  absl::Status RunScan(const RootedScan& scan, const Stop& stop, SharedTotals& totals,
                       absl::FunctionRef<void(const Duplicate&)> found);

  const NodeConfig config_;
  const RootTable& roots_;
  ExtentOps& ops_;
  FileTrees& trees_;
  TotalsBook& book_;
  NodeMetrics& metrics_;
  EpochGate& epochs_;
  const absl::Time started_ = absl::Now();
  TaskTable tasks_;
};

// The roots as they are now, for NodeMetrics.
std::vector<NodeMetrics::Volume> LookAtVolumes(const RootTable& roots, const Rights& rights, ExtentOps& ops,
                                               FileTrees& trees);

// Tells the log, for each root, what this process can do there: once, at start. Tries out what depends on
// more than capabilities.
void LogAbilities(const RootTable& roots, const Rights& rights, ExtentOps& ops, FileTrees& trees);

}  // namespace cowherd

#endif  // COWHERD_SERVER_NODE_NODE_H_
