// The scan engine alone, without a server: scans a directory and prints what it did as one JSON object.
//   scan_engine [--dry_run] [--index_mib N] [--workers N] [--bytes_per_second N] [--min_file_size N]
//   [--state DIRECTORY [--full]] DIRECTORY
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "server/base/log.h"
#include "server/fs/linux_extent_ops.h"
#include "server/fs/linux_file_tree.h"
#include "server/scan/scanner.h"

int main(int argc, char** argv) {
  cowherd::ScanRequest request;
  size_t index_budget = 256 << 20;
  std::string directory;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--dry_run") {
      request.dry_run = true;
    } else if (word == "--index_mib" && i + 1 < argc) {
      index_budget = std::strtoul(argv[++i], nullptr, 10) << 20;
    } else if (word == "--workers" && i + 1 < argc) {
      request.workers = static_cast<unsigned>(std::strtoul(argv[++i], nullptr, 10));
    } else if (word == "--bytes_per_second" && i + 1 < argc) {
      request.bytes_per_second = std::strtoul(argv[++i], nullptr, 10);
    } else if (word == "--min_file_size" && i + 1 < argc) {
      request.min_file_size = std::strtoul(argv[++i], nullptr, 10);
    } else if (word == "--state" && i + 1 < argc) {
      request.state_dir = argv[++i];
    } else if (word == "--full") {
      request.full_scan = true;
    } else {
      directory = word;
    }
  }
  cowherd::LinuxExtentOps ops;
  cowherd::LinuxFileTrees trees;
  const auto tree = trees.OpenRoot({"bench", directory, directory});
  if (!tree.ok()) {
    std::fprintf(stderr, "%s\n", tree.status().ToString().c_str());
    return 1;
  }
  cowherd::SharedTotals totals;
  cowherd::Pace pace(request.bytes_per_second, nullptr, totals);
  const cowherd::Stop stop;
  const auto begin = std::chrono::steady_clock::now();
  const absl::Status status = cowherd::ScanTree(ops, **tree, request, index_budget, pace, stop, totals,
                                                [](const cowherd::Duplicate&) {});
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", status.ToString().c_str());
    return 1;
  }
  rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
  const cowherd::Totals t = totals.Get();
  std::printf(
      "{\"seconds\":%.3f,\"cpu\":%.3f,\"rss_mib\":%ld,\"scanned\":%llu,\"duplicate_ranges\":%llu,\"duplicate_"
      "bytes\":%llu,"
      "\"freeable\":%llu,\"moved\":%llu,\"to_read\":%llu,\"held\":%llu,\"unprofitable\":%llu,"
      "\"accepted\":%llu,\"won\":%lld,\"deduped\":%llu,\"differ\":%llu,\"failed\":%llu,\"read_mb\":%.1f}\n",
      seconds,
      static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
          static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6,
      usage.ru_maxrss / 1024, static_cast<unsigned long long>(t.bytes_scanned),
      static_cast<unsigned long long>(t.duplicate_ranges), static_cast<unsigned long long>(t.duplicate_bytes),
      static_cast<unsigned long long>(t.bytes_freeable), static_cast<unsigned long long>(t.bytes_moved),
      static_cast<unsigned long long>(t.bytes_read), static_cast<unsigned long long>(t.bytes_held),
      static_cast<unsigned long long>(t.bytes_unprofitable),
      static_cast<unsigned long long>(t.bytes_accepted), static_cast<long long>(t.bytes_won),
      static_cast<unsigned long long>(t.ranges_deduped), static_cast<unsigned long long>(t.ranges_differ),
      static_cast<unsigned long long>(t.ranges_failed), static_cast<double>(usage.ru_inblock) * 512 / 1e6);
  return 0;
}
