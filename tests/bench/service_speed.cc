// How fast a node serves DedupeRanges beside the bare ioctl, on loop btrfs and XFS, cached and not; and how
// fast a scan shares what it found. The node is a process of its own behind a unix socket. Needs root, and
// drops the machine's page cache.
//   service_speed NODE_PROGRAM [RUNS]     medians of so many runs, 3 by default
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/channel.h"
#include "client/node_client.h"
#include "server/base/fd.h"
#include "server/base/status.h"
#include "server/fs/linux_extent_ops.h"
#include "server/fs/linux_file_tree.h"
#include "server/scan/scanner.h"
#include "tests/testing/loop_filesystem.h"

namespace cowherd {
namespace {

constexpr uint64_t kSize = 128 << 20;
constexpr double kMiB = 1 << 20;
constexpr size_t kWindow = 128;
constexpr unsigned kCallers = 4;

double SecondsSince(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

absl::Status Write(const std::string& path, const std::string& content) {
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd.valid()) return ErrnoError(errno, path);
  for (size_t done = 0; done < content.size();) {
    const ssize_t wrote = ::write(fd.get(), content.data() + done, content.size() - done);
    if (wrote <= 0) return ErrnoError(errno, path);
    done += static_cast<size_t>(wrote);
  }
  return absl::OkStatus();
}

absl::Status DropCaches() {
  const Fd fd(::open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC));
  if (!fd.valid() || ::write(fd.get(), "1", 1) != 1) return ErrnoError(errno, "drop caches");
  return absl::OkStatus();
}

// A node process that serves one directory, killed when this object goes.
class NodeProcess {
 public:
  NodeProcess(const std::string& program, const std::string& directory) {
    const std::string address = absl::StrCat("unix:", directory, "/socket");
    std::vector<std::string> words = {program, "--listen=" + address, "--metrics_listen=none",
                                      "--log_level=error", absl::StrCat("--root=bench=", directory)};
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(&word[0]);
    arguments.push_back(nullptr);
    if (::posix_spawn(&pid_, program.c_str(), nullptr, nullptr, arguments.data(), environ) != 0) pid_ = 0;
    client_ = std::make_unique<NodeClient>(MakeChannel(address, {}).value());
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
    for (int i = 0; i < 100 && pid_ != 0 && !status.ok(); ++i) {
      status = client_->GetNode(absl::Seconds(5)).status();
      if (!status.ok()) absl::SleepFor(absl::Milliseconds(100));
    }
    return status;
  }
  const NodeClient& client() const { return *client_; }

 private:
  pid_t pid_ = 0;
  std::unique_ptr<NodeClient> client_;
};

class Bench {
 public:
  Bench(std::string directory, const NodeClient& client, int runs)
      : directory_(std::move(directory)), client_(client), runs_(runs), content_(kSize, '\0') {
    std::mt19937_64 random(1);
    for (uint64_t at = 0; at < kSize; at += 8) {
      const uint64_t word = random();
      std::copy_n(reinterpret_cast<const char*>(&word), 8, &content_[at]);
    }
  }

  using Work = std::function<absl::Status()>;

  // Seconds of each work, in turns, each on two new files of the same content.
  absl::StatusOr<std::vector<double>> Compare(bool cold, const std::vector<Work>& works) const {
    std::vector<std::vector<double>> seconds(works.size());
    for (int run = 0; run < runs_; ++run) {
      for (size_t i = 0; i < works.size(); ++i) {
        ::unlink(Source().c_str());
        ::unlink(Target().c_str());
        RETURN_IF_ERROR(Write(Source(), content_));
        RETURN_IF_ERROR(Write(Target(), content_));
        ::sync();
        if (cold) RETURN_IF_ERROR(DropCaches());
        const auto begin = std::chrono::steady_clock::now();
        RETURN_IF_ERROR(works[i]());
        seconds[i].push_back(SecondsSince(begin));
      }
    }
    std::vector<double> medians;
    for (std::vector<double>& all : seconds) {
      std::sort(all.begin(), all.end());
      medians.push_back(all[all.size() / 2]);
    }
    return medians;
  }

  absl::Status Bare(uint64_t step, uint64_t end) const {
    const Fd source(::open(Source().c_str(), O_RDONLY | O_CLOEXEC));
    const Fd target(::open(Target().c_str(), O_RDONLY | O_CLOEXEC));
    for (uint64_t offset = 0; offset < end; offset += step) {
      union {
        file_dedupe_range range;
        char bytes[sizeof(file_dedupe_range) + sizeof(file_dedupe_range_info)];
      } argument = {};
      argument.range.src_offset = offset;
      argument.range.src_length = step;
      argument.range.dest_count = 1;
      argument.range.info[0].dest_fd = target.get();
      argument.range.info[0].dest_offset = offset;
      if (::ioctl(source.get(), FIDEDUPERANGE, &argument.range) != 0) return ErrnoError(errno, "dedupe");
      if (argument.range.info[0].bytes_deduped != step) return absl::InternalError("not the same");
    }
    return absl::OkStatus();
  }

  absl::Status Read() const {
    LinuxExtentOps ops;
    for (const std::string& path : {Source(), Target()}) {
      const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
      ops.Prefetch(fd.get(), 0, kSize);
    }
    return absl::OkStatus();
  }

  // By so many callers at a time.
  absl::Status Serve(uint64_t step, unsigned callers) const {
    std::atomic<uint64_t> next = 0;
    std::vector<absl::Status> statuses(callers);
    std::vector<std::thread> threads;
    for (absl::Status& status : statuses) {
      threads.emplace_back([&] {
        for (uint64_t offset = next += step; status.ok() && offset <= kSize; offset = next += step)
          status = Check(client_.DedupeRanges(Request(offset - step, step), absl::Minutes(5)), step);
      });
    }
    for (std::thread& thread : threads) thread.join();
    absl::Status all;
    for (const absl::Status& status : statuses) all.Update(status);
    return all;
  }

  absl::Status Stream(uint64_t step) const {
    uint64_t offset = 0;
    absl::Status status;
    RETURN_IF_ERROR(client_.DedupeRangesStream(
        kWindow,
        [&](v1::DedupeRangesRequest* request) {
          if (offset == kSize) return false;
          *request = Request(offset, step);
          offset += step;
          return true;
        },
        [&](absl::StatusOr<v1::DedupeRangesResponse> response) {
          status = Check(response, step);
          return status.ok();
        },
        absl::Minutes(5)));
    return status;
  }

  absl::Status Scan() const {
    LinuxExtentOps ops;
    LinuxFileTrees trees;
    ASSIGN_OR_RETURN(const std::unique_ptr<FileTree> tree, trees.OpenRoot({"bench", directory_, directory_}));
    SharedTotals totals;
    Pace pace(0, nullptr, totals);
    RETURN_IF_ERROR(
        ScanTree(ops, *tree, ScanRequest(), 64 << 20, pace, Stop(), totals, [](const Duplicate&) {}));
    return totals.Get().bytes_accepted == kSize ? absl::OkStatus() : absl::InternalError("not all shared");
  }

 private:
  std::string Source() const { return directory_ + "/source"; }
  std::string Target() const { return directory_ + "/target"; }

  v1::DedupeRangesRequest Request(uint64_t offset, uint64_t length) const {
    v1::DedupeRangesRequest request;
    request.mutable_source()->set_path(Source());
    request.mutable_source()->set_offset(offset);
    request.set_length(length);
    v1::FilePosition& destination = *request.add_destinations();
    destination.set_path(Target());
    destination.set_offset(offset);
    return request;
  }

  static absl::Status Check(const absl::StatusOr<v1::DedupeRangesResponse>& response, uint64_t length) {
    RETURN_IF_ERROR(response.status());
    return response->bytes_accepted() == length ? absl::OkStatus() : absl::InternalError("not the same");
  }

  const std::string directory_;
  const NodeClient& client_;
  const int runs_;
  std::string content_;
};

void Print(const std::string& what, const char* unit, double bare, double ours, double bar) {
  std::printf("| %s | %.0f %s | %.0f %s | %.2f | >= %.1f | %s |\n", what.c_str(), bare, unit, ours, unit,
              ours / bare, bar, ours / bare >= bar ? "met" : "MISSED");
  std::fflush(stdout);
}

absl::Status RunOn(const std::string& type, const std::string& program, int runs) {
  LoopFilesystem::Options options;
  options.type = type;
  options.size = uint64_t{2} << 30;
  ASSIGN_OR_RETURN(const std::unique_ptr<LoopFilesystem> loop, LoopFilesystem::Make(options));
  const NodeProcess node(program, loop->path());
  RETURN_IF_ERROR(node.AwaitServing());
  const Bench bench(loop->path(), node.client(), runs);
  for (const uint64_t step : {uint64_t{1} << 20, uint64_t{16} << 20}) {
    ASSIGN_OR_RETURN(
        const std::vector<double> seconds,
        bench.Compare(false, {[&] { return bench.Bare(step, kSize); }, [&] { return bench.Serve(step, 1); },
                              [&] { return bench.Serve(step, kCallers); }}));
    const std::string what = absl::StrCat(type, ", warm, ", step >> 20, " MiB: DedupeRanges / ioctl, ");
    const double bare = kSize / kMiB / seconds[0];
    Print(what + "one call at a time", "MiB/s", bare, kSize / kMiB / seconds[1], 0.9);
    Print(absl::StrCat(what, kCallers, " calls at a time"), "MiB/s", bare, kSize / kMiB / seconds[2], 0.9);
  }
  {
    constexpr uint64_t kStep = 4096;
    ASSIGN_OR_RETURN(const std::vector<double> seconds,
                     bench.Compare(false, {[&] { return bench.Bare(kStep, kSize); },
                                           [&] { return bench.Stream(kStep); }}));
    Print(type + ", warm, 4 KiB: DedupeRangesStream / ioctl", "calls/s", kSize / kStep / seconds[0],
          kSize / kStep / seconds[1], 0.5);
  }
  // The bare ioctl crawls: a part is enough to know its rate.
  constexpr uint64_t kPart = kSize / 8;
  constexpr uint64_t kStep = 16 << 20;
  ASSIGN_OR_RETURN(
      const std::vector<double> seconds,
      bench.Compare(true, {[&] { return bench.Bare(kStep, kPart); }, [&] { return bench.Serve(kSize, 1); },
                           [&] { return bench.Scan(); }, [&] { return bench.Read(); }}));
  const double bare = kPart / kMiB / seconds[0];
  const double disk = kSize * 2 / kMiB / seconds[3];
  Print(type + ", cold: DedupeRanges / ioctl", "MiB/s", bare, kSize / kMiB / seconds[1], 8);
  Print(type + ", cold: DedupeRanges, both sides / disk", "MiB/s", disk, kSize * 2 / kMiB / seconds[1], 0.8);
  Print(type + ", cold: scan / ioctl", "MiB/s", bare, kSize / kMiB / seconds[2], 8);
  Print(type + ", cold: scan, both sides / disk", "MiB/s", disk, kSize * 2 / kMiB / seconds[2], 0.8);
  return absl::OkStatus();
}

}  // namespace
}  // namespace cowherd

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: service_speed NODE_PROGRAM [RUNS]\n");
    return 2;
  }
  const int runs = argc > 2 ? std::max(1, std::atoi(argv[2])) : 3;
  std::printf("| what | beside | cowherd | ratio | bar | |\n|---|---|---|---|---|---|\n");
  for (const char* type : {"btrfs", "xfs"}) {
    const absl::Status status = cowherd::RunOn(type, argv[1], runs);
    if (status.ok()) continue;
    std::fprintf(stderr, "%s\n", status.ToString().c_str());
    return 1;
  }
  return 0;
}
