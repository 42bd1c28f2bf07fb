// How fast a node serves DedupeRanges beside the bare ioctl, on loop btrfs and XFS, cached and not; and how
// fast a scan's workers share what was found, alone and within a scan. The node is a process of its own
// behind a unix socket. Needs root, and drops the machine's page cache.
//   service_speed NODE_PROGRAM [RUNS [FILESYSTEM]]     medians of so many runs, 5 by default
// Each row compares within turns: every way has its run on new files before the next turn. With one caller no
// unary call can beat the bare ioctl with an RPC that does nothing after each, which has rows of its own.
#include <fcntl.h>
#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/generic/generic_stub.h>
#include <linux/fs.h>
#include <signal.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/types/optional.h"
#include "client/channel.h"
#include "client/node_client.h"
#include "server/base/fd.h"
#include "server/base/log.h"
#include "server/base/status.h"
#include "server/fs/linux_extent_ops.h"
#include "server/fs/linux_file_tree.h"
#include "server/scan/batch_sharer.h"
#include "server/scan/machine_share.h"
#include "server/scan/scanner.h"
#include "tests/testing/loop_filesystem.h"

namespace cowherd {
namespace {

constexpr uint64_t kSize = 128 << 20;
constexpr double kMiB = 1 << 20;
constexpr size_t kWindow = 128;
constexpr unsigned kCallers = 4;
constexpr unsigned kEmptyCalls = 2000;

// Files that share one content: a source and so many targets, `bytes` of targets in all.
struct Files {
  size_t targets = 1;
  uint64_t bytes = kSize;
  uint64_t length() const { return bytes / targets; }
};
constexpr Files kPair = {1};
// Enough for calls that take milliseconds, so that a rate is measured and no beginning.
constexpr Files kLongPair = {1, 4 * kSize};
constexpr Files kMany = {16, 4 * kSize};

double SecondsSince(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

absl::Status Write(const std::string& path, absl::string_view content) {
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd.valid()) return ErrnoError(errno, path);
  for (size_t done = 0; done < content.size();) {
    const ssize_t wrote = ::write(fd.get(), content.data() + done, content.size() - done);
    if (wrote <= 0) return ErrnoError(errno, path);
    done += static_cast<size_t>(wrote);
  }
  return absl::OkStatus();
}

// A virtual machine's host takes back memory that was free for a while, and it is slow when it is used again:
// so much is used just before.
absl::Status DropCaches(uint64_t warm_memory) {
  const Fd fd(::open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC));
  if (!fd.valid() || ::write(fd.get(), "1", 1) != 1) return ErrnoError(errno, "drop caches");
  void* const memory =
      ::mmap(nullptr, warm_memory, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return ErrnoError(errno, "use memory");
  // Small pages would leave it slow: then everything takes twice as long.
  ::madvise(memory, warm_memory, MADV_HUGEPAGE);
  std::fill_n(static_cast<char*>(memory), warm_memory, 1);
  ::munmap(memory, warm_memory);
  return absl::OkStatus();
}

// A node process that serves one directory, killed when this object goes.
class NodeProcess {
 public:
  NodeProcess(const std::string& program, const std::string& directory) : socket_(directory + "/socket") {
    const std::string address = "unix:" + socket_;
    std::vector<std::string> words = {program, "--listen=" + address, "--metrics_listen=none",
                                      "--log_level=error", absl::StrCat("--root=bench=", directory)};
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(&word[0]);
    arguments.push_back(nullptr);
    if (::posix_spawn(&pid_, program.c_str(), nullptr, nullptr, arguments.data(), environ) != 0) pid_ = 0;
    channel_ = MakeChannel(address, {}).value();
    client_ = std::make_unique<NodeClient>(channel_);
  }
  ~NodeProcess() {
    if (pid_ == 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  NodeProcess(const NodeProcess&) = delete;
  NodeProcess& operator=(const NodeProcess&) = delete;

  absl::Status AwaitServing() const {
    absl::Status status = absl::UnavailableError("the node cannot be started");
    for (int i = 0; i < 300 && pid_ != 0 && !status.ok(); ++i) {
      // A client that finds no socket waits long before it looks again.
      if (::access(socket_.c_str(), F_OK) == 0) status = client_->GetNode(absl::Seconds(5)).status();
      if (!status.ok()) absl::SleepFor(absl::Milliseconds(100));
    }
    return status;
  }
  const NodeClient& client() const { return *client_; }
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }

 private:
  const std::string socket_;
  pid_t pid_ = 0;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<NodeClient> client_;
};

// Runs `work` in so many threads.
absl::Status InThreads(unsigned count, const std::function<absl::Status()>& work) {
  std::vector<absl::Status> statuses(count);
  std::vector<std::thread> threads;
  for (absl::Status& status : statuses) threads.emplace_back([&] { status = work(); });
  for (std::thread& thread : threads) thread.join();
  absl::Status all;
  for (const absl::Status& status : statuses) all.Update(status);
  return all;
}

// The ranges that several threads share out among themselves, each once. Any thread.
class Steps {
 public:
  Steps(uint64_t length, uint64_t step) : length_(length), step_(step) {}

  // Where the next one begins. None: all were given.
  absl::optional<uint64_t> Next() {
    const uint64_t begin = next_.fetch_add(step_);
    return begin + step_ <= length_ ? absl::make_optional(begin) : absl::nullopt;
  }

 private:
  const uint64_t length_;
  const uint64_t step_;
  std::atomic<uint64_t> next_{0};
};

// Calls of a node that do nothing: health checks, not even decoded.
class EmptyCaller {
 public:
  explicit EmptyCaller(const std::shared_ptr<grpc::Channel>& channel) : stub_(channel) {}

  absl::Status Call() {
    const grpc::Slice nothing;
    const grpc::ByteBuffer request(&nothing, 1);
    grpc::ClientContext context;
    grpc::ByteBuffer response;
    grpc::Status status;
    const auto call = stub_.PrepareUnaryCall(&context, "/grpc.health.v1.Health/Check", request, &queue_);
    call->StartCall();
    call->Finish(&response, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    if (!queue_.Next(&tag, &ok) || !status.ok()) return absl::InternalError(status.error_message());
    return absl::OkStatus();
  }

 private:
  grpc::GenericStub stub_;
  grpc::CompletionQueue queue_;
};

// Seconds for each of many empty calls, by so many callers at a time: what gRPC takes for itself.
absl::StatusOr<double> EmptyCall(const std::shared_ptr<grpc::Channel>& channel, unsigned callers) {
  std::atomic<unsigned> next = 0;
  const auto begin = std::chrono::steady_clock::now();
  RETURN_IF_ERROR(InThreads(callers, [&] {
    EmptyCaller caller(channel);
    while (next++ < kEmptyCalls) RETURN_IF_ERROR(caller.Call());
    return absl::OkStatus();
  }));
  return SecondsSince(begin) / kEmptyCalls;
}

// A filesystem with such files, and a node that serves it.
class Site {
 public:
  static absl::StatusOr<std::unique_ptr<Site>> Make(const std::string& type, const std::string& program,
                                                    absl::string_view content, Files files) {
    LoopFilesystem::Options options;
    options.type = type;
    options.size = uint64_t{4} << 30;
    ASSIGN_OR_RETURN(std::unique_ptr<LoopFilesystem> loop, LoopFilesystem::Make(options));
    std::unique_ptr<Site> site(new Site(std::move(loop), program));
    RETURN_IF_ERROR(site->node_.AwaitServing());
    RETURN_IF_ERROR(site->MakeFirstCalls(content));
    RETURN_IF_ERROR(site->Renew(content, files));
    return site;
  }

  // Makes its files anew.
  absl::Status Renew(absl::string_view content, Files files) const {
    const absl::string_view bytes = content.substr(0, files.length());
    std::vector<std::string> paths = {Source()};
    for (size_t i = 0; i < files.targets; ++i) paths.push_back(Target(i));
    for (const std::string& path : paths) ::unlink(path.c_str());
    ::sync();
    for (const std::string& path : paths) {
      RETURN_IF_ERROR(Write(path, bytes));
    }
    ::sync();
    return absl::OkStatus();
  }

  const std::shared_ptr<grpc::Channel>& channel() const { return node_.channel(); }

  absl::Status Bare(Files files, uint64_t step, uint64_t end) const {
    const Opened opened(*this, files);
    for (uint64_t offset = 0; offset < end; offset += step) RETURN_IF_ERROR(opened.Share(offset, step));
    return absl::OkStatus();
  }

  // The same by so many callers, each with a call of the node that does nothing after each of its own. One
  // shares at a time: the kernel locks the files.
  absl::Status BareAndEmptyCalls(Files files, uint64_t step, unsigned callers) const {
    const Opened opened(*this, files);
    Steps steps(files.length(), step);
    std::mutex sharing;
    return InThreads(callers, [&] {
      EmptyCaller caller(channel());
      while (const absl::optional<uint64_t> offset = steps.Next()) {
        {
          const std::lock_guard<std::mutex> lock(sharing);
          RETURN_IF_ERROR(opened.Share(*offset, step));
        }
        RETURN_IF_ERROR(caller.Call());
      }
      return absl::OkStatus();
    });
  }

  absl::Status Read(uint64_t size) const {
    LinuxExtentOps ops;
    for (const std::string& path : {Source(), Target(0)}) {
      const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
      ops.Prefetch(fd.get(), 0, size);
    }
    return absl::OkStatus();
  }

  absl::Status Serve(Files files, uint64_t step, unsigned callers) const {
    Steps steps(files.length(), step);
    return InThreads(callers, [&] {
      while (const absl::optional<uint64_t> offset = steps.Next()) {
        RETURN_IF_ERROR(
            Check(node_.client().DedupeRanges(Request(files, *offset, step), absl::Minutes(5)), files, step));
      }
      return absl::OkStatus();
    });
  }

  absl::Status Stream(Files files, uint64_t step) const {
    uint64_t offset = 0;
    absl::Status status;
    RETURN_IF_ERROR(node_.client().DedupeRangesStream(
        kWindow,
        [&](v1::DedupeRangesRequest* request) {
          if (offset == files.length()) return false;
          *request = Request(files, offset, step);
          offset += step;
          return true;
        },
        [&](absl::StatusOr<v1::DedupeRangesResponse> response) {
          status = Check(response, files, step);
          return status.ok();
        },
        absl::Minutes(5)));
    return status;
  }

  // What a scan by reading does once it knows which bytes are equal: asks where they lie, opens, reads both
  // sides, shares, and lets go of them.
  absl::Status Execute(uint64_t size) const {
    LinuxExtentOps ops;
    ASSIGN_OR_RETURN(const std::unique_ptr<FileTree> tree, OpenTree());
    SharedTotals totals;
    Pace pace(0, nullptr, totals);
    const Stop stop;
    ASSIGN_OR_RETURN(const FsFacts facts, ops.Facts(tree->root_fd()));
    ASSIGN_OR_RETURN(ShareBatch batch, SharesOf(*tree, ops, size));
    const ScanRequest defaults;
    BatchSharer sharer(ops, *tree, facts.block_size, defaults.workers, PageCacheShare(1) / 2,
                       OpenFileShare(1), pace, stop, totals);
    sharer.Begin(std::move(batch));
    sharer.Wait();
    return totals.Get().bytes_accepted == size ? absl::OkStatus() : absl::InternalError("not all was shared");
  }

  absl::Status Scan(uint64_t size) const {
    LinuxExtentOps ops;
    ASSIGN_OR_RETURN(const std::unique_ptr<FileTree> tree, OpenTree());
    SharedTotals totals;
    Pace pace(0, nullptr, totals);
    RETURN_IF_ERROR(
        ScanTree(ops, *tree, ScanRequest(), 64 << 20, pace, Stop(), totals, [](const Duplicate&) {}));
    // btrfs cuts large files where free space is in pieces: some blocks then have to be moved, and a few have
    // no neighbour in their extent, without which a checksum of 32 bits tells too little.
    const Totals did = totals.Get();
    if (did.bytes_accepted + did.bytes_moved >= size - size / 1000) return absl::OkStatus();
    return absl::InternalError(absl::StrCat("of ", size, " bytes only ", did.bytes_accepted, " shared and ",
                                            did.bytes_moved, " moved; left: held ", did.bytes_held,
                                            ", unprofitable ", did.bytes_unprofitable, ", fragmenting ",
                                            did.bytes_fragmenting, ", failed ", did.ranges_failed));
  }

 private:
  // A program's first calls look up the functions that it calls, and are no rate.
  absl::Status MakeFirstCalls(absl::string_view content) const {
    constexpr Files kFew = {1, 1 << 20};
    RETURN_IF_ERROR(Renew(content, kFew));
    RETURN_IF_ERROR(Serve(kFew, 4096, 1));
    return Stream(kFew, 4096);
  }

  absl::StatusOr<std::unique_ptr<FileTree>> OpenTree() const {
    return LinuxFileTrees().OpenRoot({"bench", loop_->path(), loop_->path()});
  }

  // The first target with the source, cut where an extent of either ends.
  static absl::StatusOr<ShareBatch> SharesOf(FileTree& tree, ExtentOps& ops, uint64_t size) {
    struct Side {
      std::string name;
      FileKey key;
      std::vector<FileExtent> extents;
    };
    ShareBatch batch;
    std::array<Side, 2> sides = {Side{kSource, {}, {}}, Side{TargetName(0), {}, {}}};
    for (Side& side : sides) {
      ASSIGN_OR_RETURN(const OpenFile file, tree.Open(side.name, /*for_destination=*/false));
      side.key.inode = file.facts.inode;
      ASSIGN_OR_RETURN(ExtentList list, ops.Extents(file.fd.get(), 0, size, SIZE_MAX, /*flush=*/false));
      side.extents = std::move(list.extents);
      batch.paths[side.key] = side.name;
    }
    const auto& [source, target] = sides;
    auto from = source.extents.begin();
    auto to = target.extents.begin();
    for (uint64_t offset = 0; from != source.extents.end() && to != target.extents.end();) {
      const uint64_t end = std::min(from->offset + from->length, to->offset + to->length);
      Share share;
      share.source = {source.key, offset};
      share.destination = {target.key, offset};
      share.length = end - offset;
      share.storage = to->physical + (offset - to->offset);
      share.source_storage = from->physical + (offset - from->offset);
      batch.shares.push_back(share);
      offset = end;
      if (from->offset + from->length == end) ++from;
      if (to->offset + to->length == end) ++to;
    }
    return batch;
  }

  Site(std::unique_ptr<LoopFilesystem> loop, const std::string& program)
      : loop_(std::move(loop)), node_(program, loop_->path()) {}

  class Opened {
   public:
    Opened(const Site& site, Files files) : source_(::open(site.Source().c_str(), O_RDONLY | O_CLOEXEC)) {
      for (size_t i = 0; i < files.targets; ++i) {
        targets_.emplace_back(::open(site.Target(i).c_str(), O_RDONLY | O_CLOEXEC));
      }
    }

    absl::Status Share(uint64_t offset, uint64_t length) const {
      union {
        file_dedupe_range range;
        char bytes[sizeof(file_dedupe_range) + kMany.targets * sizeof(file_dedupe_range_info)];
      } argument = {};
      argument.range.src_offset = offset;
      argument.range.src_length = length;
      argument.range.dest_count = static_cast<uint16_t>(targets_.size());
      for (size_t i = 0; i < targets_.size(); ++i) {
        argument.range.info[i].dest_fd = targets_[i].get();
        argument.range.info[i].dest_offset = offset;
      }
      if (::ioctl(source_.get(), FIDEDUPERANGE, &argument.range) != 0) return ErrnoError(errno, "dedupe");
      for (size_t i = 0; i < targets_.size(); ++i) {
        if (argument.range.info[i].bytes_deduped != length) return absl::InternalError("not the same");
      }
      return absl::OkStatus();
    }

   private:
    const Fd source_;
    std::vector<Fd> targets_;
  };

  static constexpr char kSource[] = "source";
  static std::string TargetName(size_t index) { return absl::StrCat("target", index); }
  std::string Source() const { return absl::StrCat(loop_->path(), "/", kSource); }
  std::string Target(size_t index) const { return absl::StrCat(loop_->path(), "/", TargetName(index)); }

  v1::DedupeRangesRequest Request(Files files, uint64_t offset, uint64_t length) const {
    v1::DedupeRangesRequest request;
    request.mutable_source()->set_path(Source());
    request.mutable_source()->set_offset(offset);
    request.set_length(length);
    for (size_t i = 0; i < files.targets; ++i) {
      v1::FilePosition& destination = *request.add_destinations();
      destination.set_path(Target(i));
      destination.set_offset(offset);
    }
    return request;
  }

  static absl::Status Check(const absl::StatusOr<v1::DedupeRangesResponse>& response, Files files,
                            uint64_t length) {
    RETURN_IF_ERROR(response.status());
    return response->bytes_accepted() == length * files.targets ? absl::OkStatus()
                                                                : absl::InternalError("not the same");
  }

  std::unique_ptr<LoopFilesystem> loop_;
  const NodeProcess node_;
};

double Median(std::vector<double> all) {
  std::sort(all.begin(), all.end());
  return all[all.size() / 2];
}

using Seconds = std::vector<double>;  // of each run

class Bench {
 public:
  Bench(std::string type, std::string program, int runs)
      : type_(std::move(type)), program_(std::move(program)), runs_(runs), content_(kLongPair.bytes, '\0') {
    std::mt19937_64 random(1);
    for (uint64_t at = 0; at < content_.size(); at += 8) {
      const uint64_t word = random();
      std::copy_n(reinterpret_cast<const char*>(&word), 8, &content_[at]);
    }
  }

  absl::StatusOr<std::unique_ptr<Site>> MakeSite(Files files) const {
    return Site::Make(type_, program_, content_, files);
  }

  using Work = std::function<absl::Status(const Site&)>;

  // Of each work, in turns.
  absl::StatusOr<std::vector<Seconds>> Compare(Files files, const std::vector<Work>& works) const {
    std::vector<Seconds> seconds(works.size());
    for (int run = 0; run < runs_; ++run) {
      for (size_t i = 0; i < works.size(); ++i) {
        ASSIGN_OR_RETURN(const std::unique_ptr<Site> site, MakeSite(files));
        ASSIGN_OR_RETURN(const double took, Time([&] { return works[i](*site); }));
        seconds[i].push_back(took);
      }
    }
    return seconds;
  }

  // The same without a page cache. On one filesystem, and each time after its files were read once: where
  // something lies for the first time, a disk may be at work for long.
  absl::StatusOr<std::vector<Seconds>> CompareCold(Files files, const std::vector<Work>& works) const {
    // The files are cached, and once more what holds the filesystem.
    const uint64_t memory = 3 * (files.length() + files.bytes);
    ASSIGN_OR_RETURN(const std::unique_ptr<Site> site, MakeSite(files));
    std::vector<Seconds> seconds(works.size());
    for (int run = 0; run < runs_; ++run) {
      for (size_t i = 0; i < works.size(); ++i) {
        RETURN_IF_ERROR(site->Renew(content_, files));
        RETURN_IF_ERROR(DropCaches(memory));
        RETURN_IF_ERROR(site->Read(files.length()));
        RETURN_IF_ERROR(DropCaches(memory));
        ASSIGN_OR_RETURN(const double took, Time([&] { return works[i](*site); }));
        seconds[i].push_back(took);
      }
    }
    return seconds;
  }

 private:
  static absl::StatusOr<double> Time(const std::function<absl::Status()>& work) {
    const auto begin = std::chrono::steady_clock::now();
    RETURN_IF_ERROR(work());
    return SecondsSince(begin);
  }

  const std::string type_;
  const std::string program_;
  const int runs_;
  std::string content_;
};

// How much, of what, in which time.
struct Done {
  double amount = 0;
  const Seconds& seconds;
};

using Bar = absl::optional<double>;

// Rates are of the median run; the ratio is the median of the runs' ratios.
void Print(const std::string& what, const char* unit, const Done& beside, const Done& ours, Bar bar) {
  std::vector<double> ratios;
  for (size_t run = 0; run < ours.seconds.size(); ++run) {
    ratios.push_back(ours.amount / ours.seconds[run] * beside.seconds[run] / beside.amount);
  }
  const double ratio = Median(ratios);
  std::printf("| %s | %.0f %s | %.0f %s | %.2f |", what.c_str(), beside.amount / Median(beside.seconds), unit,
              ours.amount / Median(ours.seconds), unit, ratio);
  if (bar) {
    std::printf(" >= %.1f | %s |\n", *bar, ratio >= *bar ? "met" : "MISSED");
  } else {
    std::printf(" | |\n");
  }
  std::fflush(stdout);
}

// What is served one call at a time, several at a time, and as a stream, beside the bare ioctl.
absl::Status CompareWarm(const Bench& bench, const std::string& type, const std::string& what, Files files,
                         uint64_t step) {
  ASSIGN_OR_RETURN(
      const std::vector<Seconds> seconds,
      bench.Compare(files, {[&](const Site& site) { return site.Bare(files, step, files.length()); },
                            [&](const Site& site) { return site.BareAndEmptyCalls(files, step, 1); },
                            [&](const Site& site) { return site.BareAndEmptyCalls(files, step, kCallers); },
                            [&](const Site& site) { return site.Serve(files, step, 1); },
                            [&](const Site& site) { return site.Serve(files, step, kCallers); },
                            [&](const Site& site) { return site.Stream(files, step); }}));
  const double size = static_cast<double>(files.bytes) / kMiB;
  const auto print = [&](const std::string& way, size_t work, Bar bar) {
    Print(absl::StrCat(type, ", warm, ", what, ": ", way), "MiB/s", {size, seconds[0]}, {size, seconds[work]},
          bar);
  };
  const std::string at_a_time = absl::StrCat(kCallers, " at a time");
  print("ioctl, then an RPC that does nothing / ioctl, one at a time", 1, absl::nullopt);
  print("ioctl, then an RPC that does nothing / ioctl, " + at_a_time, 2, absl::nullopt);
  print("DedupeRanges / ioctl, one at a time", 3, 0.9);
  print("DedupeRanges / ioctl, " + at_a_time, 4, 0.9);
  print("DedupeRangesStream / ioctl", 5, 0.9);
  return absl::OkStatus();
}

absl::Status RunOn(const std::string& type, const std::string& program, int runs) {
  const Bench bench(type, program, runs);
  {
    ASSIGN_OR_RETURN(const std::unique_ptr<Site> site, bench.MakeSite(kPair));
    ASSIGN_OR_RETURN(const double one, EmptyCall(site->channel(), 1));
    ASSIGN_OR_RETURN(const double several, EmptyCall(site->channel(), kCallers));
    std::printf(
        "| an RPC that does nothing: %.0f us one at a time, one every %.0f us with %u at a time | | | | | "
        "|\n",
        one * 1e6, several * 1e6, kCallers);
  }
  RETURN_IF_ERROR(CompareWarm(bench, type, "1 MiB", kLongPair, 1 << 20));
  RETURN_IF_ERROR(CompareWarm(bench, type, "16 MiB", kLongPair, 16 << 20));
  RETURN_IF_ERROR(
      CompareWarm(bench, type, absl::StrCat("1 MiB into ", kMany.targets, " files"), kMany, 1 << 20));
  {
    constexpr uint64_t kStep = 4096;
    constexpr auto kCalls = static_cast<double>(kSize / kStep);
    ASSIGN_OR_RETURN(const std::vector<Seconds> seconds,
                     bench.Compare(kPair, {[&](const Site& site) { return site.Bare(kPair, kStep, kSize); },
                                           [&](const Site& site) { return site.Stream(kPair, kStep); }}));
    Print(type + ", warm, 4 KiB: DedupeRangesStream / ioctl", "calls/s", {kCalls, seconds[0]},
          {kCalls, seconds[1]}, 0.5);
  }
  // A rate, not what opening and committing cost: so much data. The bare ioctl crawls: a part is enough.
  const uint64_t size = kLongPair.length();
  const double size_mib = static_cast<double>(size) / kMiB;
  constexpr uint64_t kPart = kSize / 8;
  constexpr uint64_t kStep = 16 << 20;
  ASSIGN_OR_RETURN(
      const std::vector<Seconds> cold,
      bench.CompareCold(kLongPair, {[&](const Site& site) { return site.Read(size); },
                                    [&](const Site& site) { return site.Bare(kLongPair, kStep, kPart); },
                                    [&](const Site& site) { return site.Serve(kLongPair, size, 1); },
                                    [&](const Site& site) { return site.Execute(size); },
                                    [&](const Site& site) { return site.Scan(size); }}));
  for (const auto& [name, i, disk] :
       {std::tuple("DedupeRanges", 2, Bar(0.8)), std::tuple("executor", 3, Bar(0.8)),
        std::tuple("scan, with finding and the commit", 4, Bar(absl::nullopt))}) {
    const std::string what = absl::StrCat(type, ", cold: ", name);
    Print(what + " / ioctl", "MiB/s", {kPart / kMiB, cold[1]}, {size_mib, cold[i]}, 8);
    Print(what + ", both sides / disk", "MiB/s", {2 * size_mib, cold[0]}, {2 * size_mib, cold[i]}, disk);
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace cowherd

int main(int argc, char** argv) {
  if (argc < 2 || argc > 4) {
    std::fprintf(stderr, "usage: service_speed NODE_PROGRAM [RUNS [FILESYSTEM]]\n");
    return 2;
  }
  const int runs = argc > 2 ? std::max(1, std::atoi(argv[2])) : 5;
  std::vector<std::string> types = {"btrfs", "xfs"};
  if (argc > 3) types = {argv[3]};
  cowherd::StartLog("service_speed", cowherd::LogLevel::kError);
  std::printf("| what | beside | cowherd | ratio | bar | |\n|---|---|---|---|---|---|\n");
  for (const std::string& type : types) {
    const absl::Status status = cowherd::RunOn(type, argv[1], runs);
    if (status.ok()) continue;
    std::fprintf(stderr, "%s\n", status.ToString().c_str());
    return 1;
  }
  return 0;
}
