// What the index of anchors finds on filesystems far larger than its budget: synthetic checksums of 32 bits,
// nothing alike but for planted runs and chance.
//   index_scale [TEBIBYTES [BUDGET_MIB]]     default 1 and 256; a minute for some 5 TiB
#include <sys/resource.h>
#include <xxhash.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <vector>

#include "server/scan/run_finder.h"

namespace {

constexpr uint32_t kBlock = 4096;
constexpr uint64_t kExtentBlocks = 32768;  // 128 MiB, the largest of btrfs
constexpr uint64_t kLongestRun = 8192;

uint64_t Mix(uint64_t a, uint64_t seed) { return XXH3_64bits_withSeed(&a, sizeof(a), seed); }

// Every other extent holds one copy from an earlier one, of 2, 4, 8 ... blocks.
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

}  // namespace

int main(int argc, char** argv) {
  const double tebibytes = argc > 1 ? std::atof(argv[1]) : 1;
  const size_t budget_mib = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 256;
  const auto extents = static_cast<uint64_t>(tebibytes * (uint64_t{1} << 40) / (kExtentBlocks * kBlock));
  cowherd::RunFinder finder(budget_mib << 20, kBlock, 32);
  std::vector<uint64_t> earlier;
  std::map<uint64_t, std::pair<uint64_t, uint64_t>> found;  // by blocks: found, planted
  uint64_t false_runs = 0;
  for (uint64_t extent = 0; extent < extents; ++extent) {
    const std::vector<uint64_t> checksums = Checksums(extent);
    const auto runs = finder.Find(extent * kExtentBlocks * kBlock, checksums, [&](uint64_t address) {
      earlier = Checksums(address / kBlock / kExtentBlocks);
      return absl::MakeConstSpan(earlier);
    });
    const Planted planted = PlantedIn(extent);
    bool hit = false;
    for (const cowherd::BlockRun& run : runs) {
      const bool planted_one = planted.source != extent && run.block <= planted.block + planted.blocks / 2 &&
                               planted.block + planted.blocks / 2 < run.block + run.blocks;
      hit = hit || planted_one;
      if (!planted_one) ++false_runs;
    }
    if (planted.source == extent) continue;
    auto& [hits, all] = found[planted.blocks];
    ++all;
    if (hit) ++hits;
  }
  rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
  std::printf(
      "%.1f TiB of unique 4 KiB blocks, budget %zu MiB: peak memory %ld MiB, %zu anchors, one of %llu kept, "
      "%llu false runs\n",
      tebibytes, budget_mib, usage.ru_maxrss / 1024, finder.anchors().entries(),
      1ULL << finder.anchors().sampling(), static_cast<unsigned long long>(false_runs));
  std::printf("| run KiB | found |\n|---|---|\n");
  for (const auto& [blocks, counts] : found) {
    std::printf("| %llu | %.3f |\n", static_cast<unsigned long long>(blocks * kBlock / 1024),
                static_cast<double>(counts.first) / static_cast<double>(counts.second));
  }
  return 0;
}
