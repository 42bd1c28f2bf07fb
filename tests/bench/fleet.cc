// One controller loop with SQLite (FULL) over a simulated fleet: nodes in this process, which take an order
// and answer that it is done. What is measured is the controller: its scheduler, its memory, its store.
//
// - Transitions: from the first CreateJob to the last end, each task from waiting to running to succeeded.
//   Making tasks of jobs and storing their progress is in the time, and not counted.
// - The scheduler alone, for a thousand, ten thousand and a hundred thousand tasks: queue them, start and end
//   each. Time must grow no faster than n log n.
// - Memory: growth of this process over the tasks, once while all wait and once when all have run and their
//   jobs go on; with names of some length, and totals. The jobs' specs and the nodes are there before.
// - From CreateJob to the first order on a node that has nothing to do, while nothing else goes on and beside
//   a fleet that is at work.
//
//   fleet [NODES [TASKS [DIRECTORY]]]     default 10000, 100000 and the directory for temporary files
#include <prometheus/registry.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/random/random.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/jobs/sqlite_store.h"
#include "server/sched/loop.h"
#include "server/sched/mailbox.h"
#include "server/sched/scheduler.h"

namespace cowherd {
namespace {

using Steady = std::chrono::steady_clock;

double SecondsSince(Steady::time_point begin) {
  return std::chrono::duration<double>(Steady::now() - begin).count();
}

std::string NodeName(size_t node) { return absl::StrFormat("storage-%05d.rack.example", node); }
std::string RootName(size_t root) { return absl::StrFormat("volume-%02d", root); }

const char* Verdict(bool met) { return met ? "met" : "MISSED"; }

// Nodes that take any order, and say at once that it is done, but for those of the root "stuck".
class Fleet final : public NodeLink {
 public:
  explicit Fleet(size_t roots) : roots_(roots), thread_([this] { Work(); }) {}
  ~Fleet() override {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      ends_ = true;
    }
    ready_.notify_all();
    thread_.join();
  }

  void Probe(const Endpoint& endpoint, ProbeDone done) override {
    NodeFacts facts;
    facts.name = endpoint.address;
    for (size_t root = 0; root < roots_; ++root) Add(facts, RootName(root));
    Add(facts, "stuck");
    done(std::move(facts));
  }
  std::unique_ptr<Run> RunTask(const Endpoint&, const RunOrder& order, RunEvents events) override {
    if (on_order) on_order(order);
    if (order.root != "stuck") {
      std::lock_guard<std::mutex> lock(mutex_);
      orders_.emplace_back(order.task_id, std::move(events));
      ready_.notify_all();
    }
    return std::make_unique<FakeRun>();
  }
  void CancelTask(const Endpoint&, const std::string&, uint64_t, CancelDone done) override {
    done(absl::NotFoundError("no run"));
  }
  void Forget(const std::string&) override {}

  // Told of each order, on the loop's thread.
  std::function<void(const RunOrder&)> on_order;

 private:
  class FakeRun final : public Run {
   public:
    void Next() override {}
  };

  static void Add(NodeFacts& facts, const std::string& name) {
    RootFacts root;
    root.name = name;
    root.path = "/" + name;
    root.uuid = "00000000-0000-0000-0000-" + name;
    root.dedupe_supported = true;
    facts.roots.push_back(std::move(root));
  }

  void Work() {
    for (;;) {
      std::vector<std::pair<std::string, RunEvents>> orders;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        ready_.wait(lock, [this] { return ends_ || !orders_.empty(); });
        if (ends_) return;
        orders.swap(orders_);
      }
      for (auto& [task, events] : orders) {
        RunEvent event;
        // As long as a node's.
        event.run_id = absl::StrFormat("%032s", task);
        event.totals.files_scanned = 1'000;
        event.totals.bytes_scanned = uint64_t{1} << 40;
        event.totals.bytes_accepted = uint64_t{1} << 30;
        event.totals.elapsed = absl::Seconds(1);
        events.on_event(event);
        event.over = true;
        events.on_event(std::move(event));
        events.on_end(absl::OkStatus());
      }
    }
  }

  const size_t roots_;
  std::mutex mutex_;
  std::condition_variable ready_;
  std::vector<std::pair<std::string, RunEvents>> orders_;
  bool ends_ = false;
  std::thread thread_;
};

// "FIRST-LAST:ROOT,ROOT": nodes by number, the last one not among them, and roots.
absl::StatusOr<JobPlan> ReadSpec(absl::string_view spec) {
  const std::pair<std::string, std::string> parts = absl::StrSplit(spec, ':');
  const std::pair<std::string, std::string> range = absl::StrSplit(parts.first, '-');
  size_t first = 0;
  size_t last = 0;
  if (!absl::SimpleAtoi(range.first, &first) || !absl::SimpleAtoi(range.second, &last)) {
    return absl::InternalError("a spec that this program did not write");
  }
  JobPlan plan;
  plan.select = JobPlan::Select::kNames;
  for (size_t node = first; node < last; ++node) {
    plan.nodes.push_back(NodeName(node));
    plan.node_fields.emplace_back("node");
  }
  plan.roots = absl::StrSplit(parts.second, ',');
  return plan;
}

std::string Spec(size_t first, size_t last, const std::string& roots) {
  return absl::StrCat(first, "-", last, ":", roots);
}

// A controller process but for its gRPC.
class Controller {
 public:
  Controller(const std::string& directory, size_t nodes, size_t roots, size_t max_tasks)
      : fleet(roots), path_(absl::StrCat(directory, "/fleet-", ::getpid(), ".db")) {
    Remove();
    store_ = OpenSqliteStore(path_).value();
    Loop::Options options;
    options.limits.in_all = max_tasks;
    // The nodes are asked once.
    options.probe_interval = absl::Hours(1);
    loop_ = std::make_unique<Loop>(*store_, fleet, clock_, mailbox_, metrics_, ReadSpec, random_, options);
    std::vector<Target> targets;
    for (size_t node = 0; node < nodes; ++node) targets.push_back({NodeName(node), {NodeName(node), ""}});
    if (!loop_->Recover().ok() || !loop_->SetTargets("static", targets).ok()) std::abort();
    thread_ = std::thread([this] {
      while (mailbox_->Wait(std::max(loop_->Step() - clock_.Now(), absl::ZeroDuration()))) {
      }
      loop_->Stop();
    });
    while (Call([this] { return loop_->nodes().UpNames().size(); }) < nodes) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
  ~Controller() {
    mailbox_->Close();
    thread_.join();
    loop_.reset();
    store_.reset();
    Remove();
  }

  // On the loop's thread, as the gRPC service does it.
  template <typename Work>
  decltype(std::declval<Work>()()) Call(Work work) {
    std::promise<decltype(work())> answer;
    while (!mailbox_->PostCall([&] { answer.set_value(work()); }).ok()) std::this_thread::yield();
    return answer.get_future().get();
  }
  void Create(const std::string& spec) {
    const absl::Status status =
        Call([&] { return loop_->CreateJob(spec, ReadSpec(spec).value(), "").status(); });
    if (!status.ok()) {
      std::fprintf(stderr, "fleet: %s\n", status.ToString().c_str());
      std::exit(1);
    }
  }
  std::map<TaskState, uint64_t> Tasks() {
    return Call([this] { return loop_->CountTasks(); });
  }

  Fleet fleet;

 private:
  void Remove() const {
    for (const char* suffix : {"", "-wal", "-shm", ".lock"}) std::filesystem::remove(path_ + suffix);
  }

  const std::string path_;
  prometheus::Registry registry_;
  ControllerMetrics metrics_{registry_, "bench", {}, {}};
  RealClock clock_;
  absl::BitGen random_;
  std::shared_ptr<Mailbox> mailbox_ = std::make_shared<Mailbox>(1'000);
  std::unique_ptr<JobStore> store_;
  std::unique_ptr<Loop> loop_;
  std::thread thread_;
};

size_t ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  size_t size = 0;
  size_t resident = 0;
  file >> size >> resident;
  return resident * static_cast<size_t>(::sysconf(_SC_PAGESIZE));
}

template <typename Condition>
void WaitUntil(Condition condition) {
  while (!condition()) std::this_thread::sleep_for(std::chrono::milliseconds(20));
}

uint64_t Left(Controller& controller) {
  const std::map<TaskState, uint64_t> tasks = controller.Tasks();
  return tasks.at(TaskState::kWaiting) + tasks.at(TaskState::kRunning);
}

// The process does nothing any more.
void WaitUntilIdle() {
  WaitUntil([] {
    const std::clock_t before = std::clock();
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    return std::clock() - before < CLOCKS_PER_SEC / 100;
  });
}

struct Size {
  std::string directory;
  size_t nodes;
  size_t roots;
  size_t tasks() const { return nodes * roots; }
};

void MeasureTransitions(const Size& size) {
  Controller controller(size.directory, size.nodes, size.roots, size.nodes);
  const Steady::time_point begin = Steady::now();
  for (size_t root = 0; root < size.roots; ++root) {
    controller.Create(Spec(0, size.nodes, RootName(root)));
  }
  const double accepted = SecondsSince(begin);
  WaitUntil([&] { return Left(controller) == 0; });
  const double seconds = SecondsSince(begin);
  const double rate = 2.0 * static_cast<double>(size.tasks()) / seconds;
  std::printf(
      "| nodes | tasks | jobs accepted after | all done after | transitions/s | bar | |\n"
      "|---|---|---|---|---|---|---|\n| %zu | %zu | %.1f s | %.1f s | %.0f | >= 10000 | %s |\n\n",
      size.nodes, size.tasks(), accepted, seconds, rate, Verdict(rate >= 10'000));
}

void PrintMemory(const char* what, size_t before, size_t tasks) {
  const double each = static_cast<double>(ResidentBytes() - before) / static_cast<double>(tasks);
  std::printf("| %s | %zu | %.0f | <= 1024 | %s |\n", what, tasks, each, Verdict(each <= 1'024));
}

void MeasureWaitingMemory(const Size& size) {
  Controller controller(size.directory, size.nodes, size.roots, 1);
  // The one that may run, and does not end.
  controller.Create(Spec(0, 1, "stuck"));
  WaitUntilIdle();
  const size_t before = ResidentBytes();
  for (size_t root = 0; root < size.roots; ++root) {
    controller.Create(Spec(0, size.nodes, RootName(root)));
  }
  WaitUntilIdle();
  std::printf("| memory | tasks | bytes a task | bar | |\n|---|---|---|---|---|\n");
  PrintMemory("all wait", before, size.tasks());
}

void MeasureEndedMemory(const Size& size) {
  Controller controller(size.directory, size.nodes, size.roots, size.nodes);
  WaitUntilIdle();
  const size_t before = ResidentBytes();
  std::string roots;
  for (size_t root = 0; root < size.roots; ++root) absl::StrAppend(&roots, RootName(root), ",");
  // Roots are taken in their order: the last one keeps the job from ending.
  controller.Create(Spec(0, size.nodes, roots + "stuck"));
  WaitUntil([&] {
    const std::map<TaskState, uint64_t> tasks = controller.Tasks();
    return tasks.at(TaskState::kSucceeded) == size.tasks() && tasks.at(TaskState::kRunning) == size.nodes;
  });
  WaitUntilIdle();
  PrintMemory("all have run", before, size.tasks() + size.nodes);
}

// Jobs on nodes from `first` on, one after the other, for as long as `go_on`.
void MeasureLatency(Controller& controller, const char* what, size_t first, size_t count,
                    const std::function<bool()>& go_on) {
  std::mutex mutex;
  std::map<std::string, Steady::time_point> ordered;
  controller.Call([&] {
    controller.fleet.on_order = [&](const RunOrder& order) {
      std::lock_guard<std::mutex> lock(mutex);
      ordered.emplace(order.node, Steady::now());
    };
    return 0;
  });
  std::vector<double> latencies;
  for (size_t node = first; node < first + count && go_on(); ++node) {
    const Steady::time_point begin = Steady::now();
    controller.Create(Spec(node, node + 1, RootName(0)));
    Steady::time_point end;
    for (;;) {
      {
        std::lock_guard<std::mutex> lock(mutex);
        const auto found = ordered.find(NodeName(node));
        if (found != ordered.end()) {
          end = found->second;
          break;
        }
      }
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    latencies.push_back(std::chrono::duration<double, std::milli>(end - begin).count());
  }
  controller.Call([&] {
    controller.fleet.on_order = nullptr;
    return 0;
  });
  std::sort(latencies.begin(), latencies.end());
  const auto quantile = [&](double q) {
    return latencies.at(static_cast<size_t>(q * static_cast<double>(latencies.size() - 1)));
  };
  std::printf("| %s | %zu | %.1f | %.1f | %.1f | <= 50 | %s |\n", what, latencies.size(), quantile(0.5),
              quantile(0.99), latencies.back(), Verdict(quantile(0.99) <= 50));
}

void MeasureLatencies(const Size& size) {
  // The last ones have nothing to do.
  const size_t idle = std::min<size_t>(500, size.nodes / 4);
  const size_t busy = size.nodes - 2 * idle;
  Controller controller(size.directory, size.nodes, size.roots, size.nodes);
  std::printf(
      "\n| from CreateJob to the first order | jobs | p50 ms | p99 ms | most ms | bar for p99 | |\n"
      "|---|---|---|---|---|---|---|\n");
  WaitUntilIdle();
  MeasureLatency(controller, "nothing else goes on", busy, idle, [] { return true; });
  for (size_t root = 0; root < size.roots; ++root) controller.Create(Spec(0, busy, RootName(root)));
  MeasureLatency(controller, "beside a fleet at work", busy + idle, idle,
                 [&] { return Left(controller) > busy; });
}

// Queues, starts and ends tasks of ten jobs on a tenth as many nodes.
double SchedulerSeconds(size_t tasks) {
  const absl::Time now = absl::FromUnixSeconds(1);
  SchedulerLimits limits;
  limits.in_all = tasks;
  Scheduler scheduler(limits);
  const size_t nodes = tasks / 10;
  std::vector<std::string> names;
  for (size_t node = 0; node < nodes; ++node) {
    names.push_back(NodeName(node));
    scheduler.SetGate(names.back(), Gate::kOpen);
  }
  for (uint64_t job = 1; job <= 10; ++job) scheduler.AddJob(job, 0);
  const Steady::time_point begin = Steady::now();
  for (size_t task = 0; task < tasks; ++task) {
    scheduler.Queue({1 + task % 10, static_cast<uint32_t>(task / 10)}, {names[task / 10], "uuid"},
                    absl::InfinitePast());
  }
  size_t ended = 0;
  while (ended < tasks) {
    for (const Scheduler::Start& start : scheduler.Next(now, 256)) {
      scheduler.Remove(start.task);
      ++ended;
    }
  }
  return SecondsSince(begin);
}

void MeasureScheduler() {
  std::printf("| scheduler | us a task | of n log n | bar | |\n|---|---|---|---|---|\n");
  double before = 0;
  for (const size_t tasks : {1'000, 10'000, 100'000}) {
    double best = std::numeric_limits<double>::infinity();
    for (size_t i = 0; i < 1'000'000 / tasks && i < 100; ++i) best = std::min(best, SchedulerSeconds(tasks));
    const double n = static_cast<double>(tasks);
    const double unit = best / (n * std::log(n));
    if (before == 0) {
      std::printf("| %zu tasks | %.2f | | | |\n", tasks, best / n * 1e6);
    } else {
      std::printf("| %zu tasks | %.2f | %.2f of the growth | <= 1 | %s |\n", tasks, best / n * 1e6,
                  unit / before, Verdict(unit <= before));
    }
    before = unit;
  }
  std::printf("\n");
}

// In a process of its own, so that each begins with nothing.
void Apart(const std::function<void()>& measure) {
  std::fflush(stdout);
  const pid_t child = ::fork();
  if (child == 0) {
    StartLog("fleet", LogLevel::kError);
    measure();
    std::fflush(stdout);
    std::_Exit(0);
  }
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child || status != 0) {
    std::fprintf(stderr, "fleet: a measurement failed\n");
    std::exit(1);
  }
}

int Main(int argc, char** argv) {
  size_t nodes = 10'000;
  size_t tasks = 100'000;
  if (argc > 4 || (argc > 1 && !absl::SimpleAtoi(argv[1], &nodes)) ||
      (argc > 2 && !absl::SimpleAtoi(argv[2], &tasks)) || nodes < 8 || tasks < nodes || tasks % nodes != 0) {
    std::fprintf(stderr, "usage: fleet [NODES [TASKS [DIRECTORY]]], TASKS a multiple of NODES, at least 8\n");
    return 2;
  }
  const Size size{argc > 3 ? argv[3] : std::filesystem::temp_directory_path().string(), nodes, tasks / nodes};
  Apart(MeasureScheduler);
  Apart([&] { MeasureTransitions(size); });
  Apart([&] { MeasureWaitingMemory(size); });
  Apart([&] { MeasureEndedMemory(size); });
  Apart([&] { MeasureLatencies(size); });
  return 0;
}

}  // namespace
}  // namespace cowherd

int main(int argc, char** argv) { return cowherd::Main(argc, argv); }
