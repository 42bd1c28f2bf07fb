#ifndef COWHERD_TESTS_SERVER_NODE_NODE_UNDER_TEST_H_
#define COWHERD_TESTS_SERVER_NODE_NODE_UNDER_TEST_H_

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "server/fs/fake_filesystem.h"
#include "server/node/node.h"
#include "server/scan/pace.h"
#include "tests/testing/test_data.h"

namespace cowherd::testing {

// Something that work waits at until it is opened.
class Gate {
 public:
  void Pass() {
    std::unique_lock<std::mutex> lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
    --waiting_;
  }
  void Open() {
    std::lock_guard<std::mutex> lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void AwaitSomeoneWaiting(int at_least = 1) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return waiting_ >= at_least; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int waiting_ = 0;
  bool open_ = false;
};

// A node of the roots "data", which is there, and "more", which is not, on a filesystem in memory.
struct NodeUnderTest {
  explicit NodeUnderTest(size_t max_tasks = 2, PressurePause* pressure = nullptr) {
    fs.AddDirectory("/data");
    NodeConfig config;
    config.name = "n1";
    config.instance_id = "i1";
    config.labels = {{"rack", "r7"}};
    config.index_budget = 4 << 20;
    config.max_tasks = max_tasks;
    config.pressure = pressure;
    config.rights = rights;
    node = std::make_unique<Node>(std::move(config), roots, fs, fs, book, metrics, epochs);
  }

  // One request: share `length` bytes of /data/SOURCE with each of /data/DESTINATION, from their beginnings.
  static v1::DedupeRangesRequest Ranges(const std::string& source, uint64_t length,
                                        const std::vector<std::string>& destinations) {
    v1::DedupeRangesRequest request;
    request.mutable_source()->set_path("/data/" + source);
    request.set_length(length);
    for (const std::string& name : destinations) request.add_destinations()->set_path("/data/" + name);
    return request;
  }

  // The manifests' profile "full".
  static Rights ReadsAndShares() {
    Rights rights;
    rights.dac_read_search = true;
    rights.sys_admin = true;
    return rights;
  }

  static v1::RunTaskRequest ScanTask(const std::string& task_id, uint32_t attempt = 1) {
    v1::RunTaskRequest request;
    request.set_task_id(task_id);
    request.set_attempt(attempt);
    request.mutable_scan()->set_root("data");
    return request;
  }

  const RootTable roots = Roots();
  const Rights rights = ReadsAndShares();
  FakeFilesystem fs;
  TotalsBook book;
  std::shared_ptr<prometheus::Registry> registry = std::make_shared<prometheus::Registry>();
  NodeMetrics metrics{registry, book, [this] { return LookAtVolumes(roots, rights, fs, fs); }};
  // What a node with --state_dir would have on its disk.
  std::vector<uint64_t> kept_epochs;
  EpochGate epochs{0, [this](uint64_t epoch) {
                     kept_epochs.push_back(epoch);
                     return absl::OkStatus();
                   }};
  std::unique_ptr<Node> node;
};

}  // namespace cowherd::testing

#endif  // COWHERD_TESTS_SERVER_NODE_NODE_UNDER_TEST_H_
