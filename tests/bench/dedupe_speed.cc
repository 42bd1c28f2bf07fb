// How fast Dedupe is on loop btrfs and XFS, with cached and uncached data, with and without Prefetch. Needs
// root, and drops the machine's page cache.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/base/fd.h"
#include "server/base/status.h"
#include "server/fs/linux_extent_ops.h"
#include "tests/testing/loop_filesystem.h"

namespace cowherd {
namespace {

constexpr uint64_t kSize = 64 << 20;
constexpr double kMiB = 1 << 20;

absl::StatusOr<Fd> NewFile(const std::string& path, const std::string& content) {
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd.valid()) return ErrnoError(errno, path);
  for (size_t done = 0; done < content.size();) {
    const ssize_t written = ::write(fd.get(), content.data() + done, content.size() - done);
    if (written <= 0) return ErrnoError(errno, path);
    done += written;
  }
  return fd;
}

absl::Status DropCaches() {
  ::sync();
  const Fd fd(::open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC));
  if (!fd.valid() || ::write(fd.get(), "1", 1) != 1) return ErrnoError(errno, "drop caches");
  return absl::OkStatus();
}

// MiB/s of sharing one file of kSize with another, in calls of `step`.
absl::StatusOr<double> Measure(const std::string& directory, uint64_t step, bool cold, bool prefetch) {
  std::mt19937_64 random(1);
  std::string content(kSize, '\0');
  for (uint64_t at = 0; at < kSize; at += 8) {
    const uint64_t word = random();
    std::copy_n(reinterpret_cast<const char*>(&word), 8, &content[at]);
  }
  LinuxExtentOps ops;
  ASSIGN_OR_RETURN(const Fd source, NewFile(directory + "/source", content));
  ASSIGN_OR_RETURN(const Fd target, NewFile(directory + "/target", content));
  RETURN_IF_ERROR(ops.Commit(source.get()));
  if (cold) RETURN_IF_ERROR(DropCaches());

  const auto start = std::chrono::steady_clock::now();
  for (uint64_t offset = 0; offset < kSize; offset += step) {
    if (prefetch) {
      ops.StartReading(source.get(), offset, step);
      ops.StartReading(target.get(), offset, step);
      ops.Prefetch(source.get(), offset, step);
      ops.Prefetch(target.get(), offset, step);
    }
    ASSIGN_OR_RETURN(const std::vector<DedupeAnswer> answers,
                     ops.Dedupe(source.get(), offset, step, {{target.get(), offset}}));
    if (answers.front().kind != DedupeAnswer::Kind::kSame) return absl::InternalError("not the same");
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  return kSize / kMiB / took.count();
}

absl::Status Run() {
  std::printf("%-6s %10s %16s %16s %16s %16s %12s %12s\n", "fs", "call KiB", "warm MiB/s", "warm+prefetch",
              "cold MiB/s", "cold+prefetch", "cold gain", "warm cost");
  for (const std::string type : {"btrfs", "xfs"}) {
    LoopFilesystem::Options options;
    options.type = type;
    ASSIGN_OR_RETURN(const std::unique_ptr<LoopFilesystem> loop, LoopFilesystem::Make(options));
    for (const uint64_t step : {uint64_t{128} << 10, uint64_t{1} << 20, uint64_t{16} << 20}) {
      double speed[2][2];
      for (const bool cold : {false, true}) {
        for (const bool prefetch : {false, true}) {
          ASSIGN_OR_RETURN(speed[cold][prefetch], Measure(loop->path(), step, cold, prefetch));
        }
      }
      std::printf("%-6s %10llu %16.0f %16.0f %16.0f %16.0f %11.1fx %11.2fx\n", type.c_str(),
                  static_cast<unsigned long long>(step >> 10), speed[0][0], speed[0][1], speed[1][0],
                  speed[1][1], speed[1][1] / speed[1][0], speed[0][0] / speed[0][1]);
    }
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace cowherd

int main() {
  const absl::Status status = cowherd::Run();
  if (status.ok()) return 0;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return 1;
}
