// What a scan by checksums finds on filesystems far larger than its budget, and the memory it takes:
// synthetic checksums of 32 bits, nothing alike but for planted runs and chance. Two parts:
//
// The whole scan, as a dry run over a synthetic filesystem of 1 TiB or as many as are given: 128 MiB an
// extent, eight extents a file. Its peak memory has a bar: the budget and 64 MiB.
//
// The index alone at 1, 10 and 100 TiB. What it finds depends only on how many blocks there are for each byte
// of budget, since that decides which anchors are kept: 100 TiB with 256 MiB is the same as 100/64 TiB with
// 4 MiB, and that is what is run. What is found by chance is not: false candidates grow with the blocks that
// are looked up times the anchors, so those that are printed are computed, for keys of 64 bits.
//   index_scale [TEBIBYTES [BUDGET_MIB]]     default 1 and 256; two minutes or so
#include <sys/resource.h>
#include <xxhash.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "server/fs/fake_filesystem.h"
#include "server/scan/run_finder.h"
#include "server/scan/storage_scan.h"

namespace {

constexpr uint32_t kBlock = 4096;
constexpr uint64_t kExtentBlocks = 32768;  // 128 MiB, the largest of btrfs
constexpr uint64_t kLongestRun = 8192;

uint64_t Mix(uint64_t a, uint64_t seed) { return XXH3_64bits_withSeed(&a, sizeof(a), seed); }

// Every other extent holds one copy from an earlier one, of 2, 4, 8 ... blocks; every 16th is a whole copy.
struct Planted {
  uint64_t source = 0;  // number of the extent; itself: none
  uint64_t source_block = 0;
  uint64_t block = 0;
  uint64_t blocks = 0;
};

Planted PlantedIn(uint64_t extent) {
  Planted planted;
  planted.source = extent;
  if (extent < 2 || extent % 2 == 0) return planted;
  planted.source = Mix(extent, 1) % extent / 2 * 2;
  if (extent % 16 == 15) {
    planted.blocks = kExtentBlocks;
    return planted;
  }
  planted.blocks = uint64_t{2} << (Mix(extent, 2) % 13);
  planted.source_block = Mix(extent, 3) % (kExtentBlocks - kLongestRun);
  planted.block = Mix(extent, 4) % (kExtentBlocks - kLongestRun);
  return planted;
}

std::vector<uint64_t> Checksums(uint64_t extent) {
  std::vector<uint64_t> checksums(kExtentBlocks);
  const auto of = [](uint64_t block) { return Mix(block, 0) & 0xffffffff; };
  for (uint64_t i = 0; i < kExtentBlocks; ++i) checksums[i] = of(extent * kExtentBlocks + i);
  const Planted planted = PlantedIn(extent);
  if (planted.source != extent) {
    for (uint64_t i = 0; i < planted.blocks; ++i) {
      checksums[planted.block + i] = of(planted.source * kExtentBlocks + planted.source_block + i);
    }
  }
  return checksums;
}

// A filesystem of those extents.
class SyntheticMap final : public cowherd::StorageMap {
 public:
  explicit SyntheticMap(uint64_t extents) : extents_(extents) {}

  absl::StatusOr<std::vector<cowherd::StorageExtent>> Extents(uint64_t from, size_t max, uint64_t) override {
    std::vector<cowherd::StorageExtent> found;
    for (uint64_t e = (from + kExtentBytes - 1) / kExtentBytes; e < extents_ && found.size() < max; ++e)
      found.push_back({e * kExtentBytes, kExtentBytes});
    return found;
  }
  absl::StatusOr<std::vector<uint64_t>> Checksums(uint64_t address, size_t count) override {
    std::vector<uint64_t> checksums = ::Checksums(address / kExtentBytes);
    const size_t first = address % kExtentBytes / kBlock;
    checksums.resize(std::min(checksums.size(), first + count));
    checksums.erase(checksums.begin(), checksums.begin() + static_cast<ptrdiff_t>(first));
    return checksums;
  }
  absl::StatusOr<std::vector<cowherd::Reference>> References(const cowherd::StorageExtent& extent) override {
    const uint64_t number = extent.address / kExtentBytes;
    cowherd::Reference reference;
    reference.file = {5, 257 + number / kExtentsOfFile};
    reference.offset = number % kExtentsOfFile * kExtentBytes;
    reference.length = kExtentBytes;
    return std::vector<cowherd::Reference>{reference};
  }
  absl::StatusOr<std::string> PathOf(const cowherd::FileKey& file) override {
    return "f" + std::to_string(file.inode);
  }
  absl::StatusOr<cowherd::InodeFacts> InodeOf(const cowherd::FileKey&) override {
    return cowherd::InodeFacts{kExtentsOfFile * kExtentBytes, 1};
  }
  absl::StatusOr<uint64_t> ExtentsOf(const cowherd::FileKey&, uint64_t) override { return kExtentsOfFile; }
  absl::StatusOr<uint64_t> CommittedGeneration() override { return 1; }
  cowherd::FileKey root() const override { return {5, 256}; }
  void Forget() override {}
  uint32_t block_size() const override { return kBlock; }
  unsigned checksum_bits() const override { return 32; }

 private:
  static constexpr uint64_t kExtentBytes = kExtentBlocks * kBlock;
  static constexpr uint64_t kExtentsOfFile = 8;

  const uint64_t extents_;
};

long PeakMiB() {
  rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss / 1024;
}

uint64_t ExtentsIn(double tebibytes) {
  return static_cast<uint64_t>(tebibytes * (uint64_t{1} << 40) / (kExtentBlocks * kBlock));
}

absl::Status ScanWhole(double tebibytes, size_t budget_mib) {
  cowherd::FakeFilesystem filesystem;
  filesystem.AddDirectory("/data");
  auto tree = filesystem.OpenRoot({"data", "/data", "/data"});
  if (!tree.ok()) return tree.status();
  SyntheticMap map(ExtentsIn(tebibytes));
  cowherd::ScanRequest request;
  request.dry_run = true;
  cowherd::SharedTotals totals;
  cowherd::Pace pace(0, nullptr, totals);
  cowherd::SpaceWon won(filesystem, (*tree)->root_fd(), totals);
  const cowherd::Stop stop;
  const auto begin = std::chrono::steady_clock::now();
  const absl::Status status =
      cowherd::ScanStorage(
          filesystem, **tree, map, request, [](const std::string&) { return true; }, budget_mib << 20,
          nullptr, pace, stop, totals, won, [](const cowherd::Duplicate&) {})
          .status();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  const long peak = PeakMiB();
  const auto most = static_cast<long>(budget_mib + 64);
  std::printf(
      "| scan of | seconds | peak memory MiB | bar | |\n|---|---|---|---|---|\n"
      "| %.2f TiB, budget %zu MiB | %.0f | %ld | <= %ld | %s |\n\n",
      tebibytes, budget_mib, took.count(), peak, most, peak <= most ? "met" : "MISSED");
  return status;
}

// Scaled down by `scale`.
void FindRuns(double tebibytes, size_t budget_mib, double scale) {
  // The part of a scan's budget that is for it.
  cowherd::RunFinder finder(static_cast<size_t>(static_cast<double>(budget_mib << 20) * 2 / 3 / scale),
                            kBlock, 32);
  std::vector<uint64_t> earlier;
  std::map<uint64_t, std::pair<uint64_t, uint64_t>> found;  // by blocks: found, planted
  const uint64_t extents = ExtentsIn(tebibytes / scale);
  for (uint64_t extent = 0; extent < extents; ++extent) {
    const std::vector<uint64_t> checksums = Checksums(extent);
    const auto runs = finder.Find(extent * kExtentBlocks * kBlock, checksums, [&](uint64_t address) {
      earlier = Checksums(address / kBlock / kExtentBlocks);
      return absl::MakeConstSpan(earlier);
    });
    const Planted planted = PlantedIn(extent);
    if (planted.source == extent) continue;
    const uint64_t middle = planted.block + planted.blocks / 2;
    auto& [hits, all] = found[planted.blocks];
    ++all;
    if (std::any_of(runs.begin(), runs.end(), [middle](const cowherd::BlockRun& run) {
          return run.block <= middle && middle < run.block + run.blocks;
        }))
      ++hits;
  }
  const auto shortest = [&found](double share) {
    uint64_t blocks = 0;
    for (auto length = found.rbegin(); length != found.rend(); ++length) {
      const auto [hits, all] = length->second;
      if (static_cast<double>(hits) < share * static_cast<double>(all)) break;
      blocks = length->first;
    }
    return static_cast<unsigned long long>(blocks * kBlock / 1024);
  };
  const double anchors = static_cast<double>(finder.anchors().entries()) * scale;
  const double kept = std::ldexp(1, finder.anchors().sampling());
  const double looked_up = tebibytes * std::ldexp(1, 40) / kBlock / kept;
  const double false_candidates = looked_up * anchors / 2 / (std::ldexp(1, 64) / kept);
  std::printf("| %.0f | %zu | %.1f | 1 of %.0f | %.3f | %llu | %llu |\n", tebibytes, budget_mib,
              anchors / 1e6, kept, false_candidates, shortest(0.5), shortest(0.99));
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const double tebibytes = argc > 1 ? std::atof(argv[1]) : 1;
  const size_t budget_mib = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 256;
  if (tebibytes <= 0 || budget_mib < 64) {
    std::fprintf(stderr, "index_scale: TEBIBYTES must be above 0, BUDGET_MIB at least 64\n");
    return 2;
  }
  // First: peak memory does not come down again.
  const absl::Status status = ScanWhole(tebibytes, budget_mib);
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", status.ToString().c_str());
    return 1;
  }
  std::printf(
      "| TiB | budget MiB | million anchors | anchors kept | false candidates | KiB, every other run found | "
      "KiB, 99 of 100 found |\n|---|---|---|---|---|---|---|\n");
  for (const auto& [size, scale] : {std::pair<double, double>(1, 4), {10, 16}, {100, 64}})
    FindRuns(size, budget_mib, scale);
  return 0;
}
