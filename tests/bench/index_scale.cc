// What scans find whose filesystems are far larger than their budget, and the memory they take; all data is
// synthetic, and nothing alike but for what is planted and for chance. Three parts:
//
// Whole scans by checksums, of 32 bits, as dry runs over a filesystem of 1 TiB or as many as are given: 128
// MiB an extent, eight extents a file, and over small files that keeps a state. Their peak memory has a bar:
// the budget and 64 MiB.
//
// Whole scans by reading, with a state kept: a million files of 8 to 64 KiB or as many as are given, every
// other one a copy of one that was read half the scan before, and once more with a hundredth of them new.
// Peak memory has the same bar, and all copies are to be found while there are no more than a million files
// with 256 MiB.
//
// The index of checksums alone at 1, 10 and 100 TiB. What it finds depends only on how many blocks there are
// for each byte of budget, since that decides which anchors are kept: 100 TiB with 256 MiB is the same as
// 100/32 TiB with 8 MiB, and that is what is run. Bars: the index is within its part of the budget; it keeps
// as many anchors as go into that, so that half of the runs are found that have one anchor in the mean, and
// 99 of 100 of those that have eight, as far as extents are that long; and no candidate is false. At full
// size there are more of those, as the blocks that are looked up times the anchors: that is computed, for
// keys of 64 bits, and is to be below 1.
//   index_scale [TEBIBYTES [BUDGET_MIB [FILES]]]     default 1, 256 and 1000000; three minutes or so
// Exits with 1 if a bar is missed.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "server/base/fd.h"
#include "server/base/status.h"
#include "server/fs/fake_filesystem.h"
#include "server/scan/reading_scan.h"
#include "server/scan/run_finder.h"
#include "server/scan/storage_scan.h"

namespace {

constexpr uint32_t kBlock = 4096;
constexpr uint64_t kExtentBlocks = 32768;  // 128 MiB, the largest of btrfs
constexpr uint64_t kLongestRun = kExtentBlocks / 2;
constexpr size_t kSlotBytes = 16;  // of an AnchorTable

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
  planted.blocks = uint64_t{2} << (Mix(extent, 2) % 14);
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

// A filesystem of extents that are all as long, one behind the other. Each is within a file; all files are as
// long, too.
class EvenMap : public cowherd::StorageMap {
 public:
  EvenMap(uint64_t extents, uint64_t extent_bytes, uint64_t extents_of_file)
      : extents_(extents), extent_bytes_(extent_bytes), extents_of_file_(extents_of_file) {}

  absl::StatusOr<cowherd::StorageExtents> Extents(uint64_t from, size_t max, uint64_t) override {
    cowherd::StorageExtents found;
    uint64_t e = (from + extent_bytes_ - 1) / extent_bytes_;
    for (; e < extents_ && found.extents.size() < max; ++e)
      found.extents.push_back({e * extent_bytes_, extent_bytes_});
    if (e < extents_) found.next = e * extent_bytes_;
    return found;
  }
  absl::StatusOr<std::vector<cowherd::Reference>> References(const cowherd::StorageExtent& extent) override {
    const uint64_t number = extent.address / extent_bytes_;
    cowherd::Reference reference;
    reference.file = {5, 257 + number / extents_of_file_};
    reference.offset = number % extents_of_file_ * extent_bytes_;
    reference.length = extent_bytes_;
    return std::vector<cowherd::Reference>{reference};
  }
  absl::StatusOr<cowherd::InodeFacts> InodeOf(const cowherd::FileKey&) override {
    return cowherd::InodeFacts{extents_of_file_ * extent_bytes_, 1};
  }
  absl::StatusOr<uint64_t> ExtentsOf(const cowherd::FileKey&, uint64_t) override { return extents_of_file_; }
  absl::StatusOr<uint64_t> CommittedGeneration() override { return 1; }
  cowherd::FileKey root() const override { return {5, 256}; }
  void Forget() override {}
  uint32_t block_size() const override { return kBlock; }
  unsigned checksum_bits() const override { return 32; }
  bool may_compress() const override { return false; }

 protected:
  const uint64_t extents_;
  const uint64_t extent_bytes_;

 private:
  const uint64_t extents_of_file_;
};

// Of those extents.
class SyntheticMap final : public EvenMap {
 public:
  explicit SyntheticMap(uint64_t extents) : EvenMap(extents, kExtentBlocks * kBlock, 8) {}

  absl::StatusOr<std::vector<uint64_t>> Checksums(uint64_t address, size_t count) override {
    std::vector<uint64_t> checksums = ::Checksums(address / extent_bytes_);
    const size_t first = address % extent_bytes_ / kBlock;
    checksums.resize(std::min(checksums.size(), first + count));
    checksums.erase(checksums.begin(), checksums.begin() + static_cast<ptrdiff_t>(first));
    return checksums;
  }
  absl::StatusOr<std::string> PathOf(const cowherd::FileKey& file, Wanted) override {
    return "f" + std::to_string(file.inode);
  }
};

// Of files of 16 KiB, an extent each. The second half are copies of the first, and every eighth has no
// checksums.
class SmallFilesMap final : public EvenMap {
 public:
  explicit SmallFilesMap(uint64_t files) : EvenMap(files, kFileBlocks * kBlock, 1) {}

  absl::StatusOr<std::vector<uint64_t>> Checksums(uint64_t address, size_t count) override {
    std::vector<uint64_t> checksums(count);
    for (size_t i = 0; i < count; ++i) {
      const uint64_t file = (address / kBlock + i) / kFileBlocks;
      const uint64_t source = file < extents_ / 2 ? file : file - extents_ / 2;
      if (file % 8 != 7) checksums[i] = Mix(source * kFileBlocks + i % kFileBlocks, 7) & 0xffffffff;
    }
    return checksums;
  }
  absl::StatusOr<std::string> PathOf(const cowherd::FileKey& file, Wanted) override {
    return absl::StrCat("home/user", file.inode / 100000, "/project", file.inode / 1000, "/source_file_",
                        file.inode);
  }

 private:
  static constexpr uint64_t kFileBlocks = 4;
};

// A tree of small files, 20 in a directory. The second half of them are copies of the first.
class SmallFiles final : public cowherd::FileTree, public cowherd::ExtentOps {
 public:
  explicit SmallFiles(uint64_t files) : files_(files), root_(::memfd_create("root", MFD_CLOEXEC)) {
    struct stat stat = {};
    ::fstat(root_.get(), &stat);
    device_ = stat.st_dev;
  }

  static std::string PathOf(uint64_t number) {
    return absl::StrCat("home/user", number / 100000, "/project", number / 1000, "/part", number / 20,
                        "/source_file_", number);
  }
  uint64_t Source(uint64_t number) const { return number < files_ / 2 ? number : number - files_ / 2; }
  // 2, 4, 8 or 16, as many blocks in files of each.
  uint64_t Blocks(uint64_t number) const {
    const uint64_t kind = Mix(Source(number), 5) % 15;
    return kind < 8 ? 2 : kind < 12 ? 4 : kind < 14 ? 8 : 16;
  }

  // FileTree.
  absl::StatusOr<cowherd::OpenFile> Open(absl::string_view relative, bool) override {
    const uint64_t number = NumberOf(relative);
    // Contents take time to make, and copies are opened soon after one another.
    std::lock_guard<std::mutex> lock(mutex_);
    auto& [source, content] = contents_[Source(number) % contents_.size()];
    if (!content.valid() || source != Source(number)) {
      source = Source(number);
      content = cowherd::Fd(::memfd_create("file", MFD_CLOEXEC));
      if (::ftruncate(content.get(), static_cast<off_t>(Blocks(number) * kBlock)) != 0) {
        return cowherd::ErrnoError(errno, "make a file");
      }
      for (uint64_t block = 0; block < Blocks(number); ++block) {
        const uint64_t bytes = Mix(source << 8 | block, 6);
        if (::pwrite(content.get(), &bytes, sizeof(bytes), static_cast<off_t>(block * kBlock)) < 0) {
          return cowherd::ErrnoError(errno, "write a file");
        }
      }
    }
    cowherd::Fd fd(::fcntl(content.get(), F_DUPFD_CLOEXEC, 0));
    if (!fd.valid()) return cowherd::ErrnoError(errno, "open a file");
    return cowherd::OpenFile{std::move(fd), FactsOf(number)};
  }
  absl::StatusOr<cowherd::OpenFile> OpenByNumber(const cowherd::FileKey&, uint64_t) override {
    return cowherd::ErrnoError(EOPNOTSUPP, "open by number");
  }
  absl::StatusOr<std::vector<cowherd::DirEntry>> List(absl::string_view, const cowherd::Stop&) override {
    return cowherd::ErrnoError(EOPNOTSUPP, "list");
  }
  std::vector<absl::optional<cowherd::FileFacts>> Look(absl::Span<const cowherd::NamedFile> files,
                                                       const cowherd::Stop&) override {
    std::vector<absl::optional<cowherd::FileFacts>> facts;
    for (const cowherd::NamedFile& file : files) facts.emplace_back(FactsOf(NumberOf(file.path)));
    return facts;
  }
  absl::StatusOr<cowherd::Fd> MakeScratch() override {
    return cowherd::ErrnoError(EOPNOTSUPP, "make a scratch file");
  }
  absl::StatusOr<std::unique_ptr<cowherd::StorageMap>> OpenStorageMap() override {
    return cowherd::ErrnoError(EOPNOTSUPP, "open the storage");
  }
  int root_fd() const override { return root_.get(); }

  // ExtentOps. Each file is one extent, and sharing does nothing.
  absl::StatusOr<std::vector<cowherd::DedupeAnswer>> Dedupe(
      int, uint64_t, uint64_t length, absl::Span<const cowherd::DedupeTarget> targets) override {
    return std::vector<cowherd::DedupeAnswer>(targets.size(),
                                              {cowherd::DedupeAnswer::Kind::kSame, length, 0});
  }
  absl::StatusOr<cowherd::ExtentList> Extents(int fd, uint64_t, uint64_t, size_t, bool) override {
    struct stat stat = {};
    if (::fstat(fd, &stat) != 0) return cowherd::ErrnoError(errno, "fstat");
    cowherd::FileExtent extent;
    extent.physical = stat.st_ino * kBlock * 16;
    extent.length = static_cast<uint64_t>(stat.st_size);
    cowherd::ExtentList list;
    list.extents.push_back(extent);
    return list;
  }
  bool IsSwap(int) override { return false; }
  absl::StatusOr<cowherd::FsFacts> Facts(int) override { return cowherd::FsFacts(); }
  void Prefetch(int, uint64_t, uint64_t) override {}
  void StartReading(int, uint64_t, uint64_t) override {}
  cowherd::CachedPart Cached(int, uint64_t, uint64_t) override { return cowherd::CachedPart::kAll; }
  void Forget(int, uint64_t, uint64_t) override {}
  absl::Status Commit(int) override { return absl::OkStatus(); }

 private:
  static uint64_t NumberOf(absl::string_view path) {
    uint64_t number = 0;
    if (!absl::SimpleAtoi(path.substr(path.rfind('_') + 1), &number)) std::abort();
    return number;
  }
  cowherd::FileFacts FactsOf(uint64_t number) const {
    cowherd::FileFacts facts;
    facts.device = device_;
    facts.inode = number + 1;
    facts.size = Blocks(number) * kBlock;
    facts.links = 1;
    facts.modified_ns = facts.changed_ns = 1;
    return facts;
  }

  const uint64_t files_;
  const cowherd::Fd root_;
  uint64_t device_ = 0;
  std::mutex mutex_;
  std::vector<std::pair<uint64_t, cowherd::Fd>> contents_{2048};  // by Source, those opened last
};

const char* Verdict(bool met) { return met ? "met" : "MISSED"; }

// What `part` prints, then the peak memory of a process that did nothing else. Whether that is within the
// budget and 64 MiB, and `part` met its own bars.
bool Measure(size_t budget_mib, const std::function<absl::StatusOr<bool>()>& part) {
  std::fflush(stdout);
  const pid_t child = ::fork();
  if (child == 0) {
    const absl::StatusOr<bool> met = part();
    if (!met.ok()) std::fprintf(stderr, "%s\n", met.status().ToString().c_str());
    std::fflush(stdout);
    ::_exit(!met.ok() ? 2 : *met ? 0 : 1);
  }
  int status = 0;
  rusage usage = {};
  if (child < 0 || ::wait4(child, &status, 0, &usage) != child || !WIFEXITED(status) ||
      WEXITSTATUS(status) > 1) {
    return false;
  }
  const long peak = usage.ru_maxrss / 1024;
  const auto most = static_cast<long>(budget_mib + 64);
  const bool met = peak <= most && WEXITSTATUS(status) == 0;
  std::printf(" %ld | <= %ld | %s |\n", peak, most, Verdict(met));
  return met;
}

uint64_t ExtentsIn(double tebibytes) {
  return static_cast<uint64_t>(tebibytes * (uint64_t{1} << 40) / (kExtentBlocks * kBlock));
}

absl::StatusOr<bool> ScanByChecksums(const std::string& name, cowherd::StorageMap& map, size_t budget_mib,
                                     cowherd::ScanStateFile* state) {
  cowherd::FakeFilesystem filesystem;
  filesystem.AddDirectory("/data");
  auto tree = filesystem.OpenRoot({"data", "/data", "/data"});
  if (!tree.ok()) return tree.status();
  cowherd::ScanRequest request;
  request.dry_run = true;
  cowherd::SharedTotals totals;
  cowherd::Pace pace(0, nullptr, totals);
  cowherd::SpaceWon won(filesystem, (*tree)->root_fd(), totals);
  const cowherd::Stop stop;
  const auto begin = std::chrono::steady_clock::now();
  RETURN_IF_ERROR(cowherd::ScanStorage(
                      filesystem, **tree, map, request, [](const std::string&) { return true; },
                      budget_mib << 20, state, pace, stop, totals, won, [](const cowherd::Duplicate&) {})
                      .status());
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  std::printf("| %s by checksums, budget %zu MiB | %.0f | | |", name.c_str(), budget_mib, took.count());
  return true;
}

absl::StatusOr<bool> ScanLargeFiles(double tebibytes, size_t budget_mib) {
  SyntheticMap map(ExtentsIn(tebibytes));
  return ScanByChecksums(absl::StrFormat("%.2f TiB", tebibytes), map, budget_mib, nullptr);
}

absl::StatusOr<bool> ScanSmallFiles(uint64_t files, size_t budget_mib, const std::string& state_dir) {
  ASSIGN_OR_RETURN(const auto state, cowherd::ScanStateFile::Open(state_dir, "uuid", "storage"));
  SmallFilesMap map(files);
  return ScanByChecksums(absl::StrFormat("%.2f million small files", static_cast<double>(files) / 1e6), map,
                         budget_mib, state.get());
}

// Of `files`, those before `end` are there, and those before `known` were so when an earlier scan kept its
// state.
absl::StatusOr<bool> ReadSmallFiles(uint64_t files, uint64_t known, uint64_t end, size_t budget_mib,
                                    const std::string& state_dir) {
  SmallFiles tree(files);
  cowherd::ScanRequest request;
  request.min_extent_length = kBlock;
  ASSIGN_OR_RETURN(const auto state, cowherd::ScanStateFile::Open(state_dir, "uuid", "reading"));
  cowherd::SharedTotals totals;
  cowherd::Pace pace(0, nullptr, totals);
  cowherd::SpaceWon won(tree, tree.root_fd(), totals);
  const cowherd::Stop stop;
  const auto begin = std::chrono::steady_clock::now();
  cowherd::ReadingScan reading(tree, tree, request, kBlock, kBlock, {budget_mib << 20, uint64_t{1} << 30},
                               state.get(), pace, stop, totals, won, [](const cowherd::Duplicate&) {});
  for (uint64_t i = 0; i < end; ++i) RETURN_IF_ERROR(reading.Add({SmallFiles::PathOf(i), i + 1}));
  RETURN_IF_ERROR(reading.Finish(/*complete=*/true));
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  uint64_t copies = 0;
  for (uint64_t i = std::max(known, files / 2); i < end; ++i) copies += tree.Blocks(i) * kBlock;
  const double found = static_cast<double>(totals.Get().duplicate_bytes) / static_cast<double>(copies);
  // All that the budget is for: a bar.
  const bool has_bar = files * 256 <= budget_mib * 1000000;
  std::printf("| %.2f million small files by reading, %.2f of them new, budget %zu MiB | %.0f | %.1f | %s |",
              static_cast<double>(end) / 1e6, static_cast<double>(end - known) / 1e6, budget_mib,
              took.count(), found * 100, has_bar ? ">= 99.9" : "");
  return !has_bar || found >= 0.999;
}

// Scaled down by `scale`. Whether all bars are met.
bool FindRuns(double tebibytes, size_t budget_mib, double scale) {
  // The part of a scan's budget that is for it.
  const auto budget = static_cast<size_t>(static_cast<double>(budget_mib << 20) * 2 / 3 / scale);
  cowherd::RunFinder finder(budget, kBlock, 32);
  std::vector<uint64_t> earlier;
  std::map<uint64_t, std::pair<uint64_t, uint64_t>> found;  // by blocks: found, planted
  uint64_t unique = 0;                                      // blocks
  uint64_t candidates = 0;
  uint64_t runs_found = 0;
  const uint64_t extents = ExtentsIn(tebibytes / scale);
  for (uint64_t extent = 0; extent < extents; ++extent) {
    const std::vector<uint64_t> checksums = Checksums(extent);
    const auto runs = finder.Find(extent * kExtentBlocks * kBlock, checksums, [&](uint64_t address) {
      ++candidates;
      earlier = Checksums(address / kBlock / kExtentBlocks);
      return absl::MakeConstSpan(earlier);
    });
    runs_found += runs.size();
    const Planted planted = PlantedIn(extent);
    unique += kExtentBlocks - planted.blocks;
    if (planted.source == extent) continue;
    const uint64_t middle = planted.block + planted.blocks / 2;
    auto& [hits, all] = found[planted.blocks];
    ++all;
    if (std::any_of(runs.begin(), runs.end(), [middle](const cowherd::BlockRun& run) {
          return run.block <= middle && middle < run.block + run.blocks;
        }))
      ++hits;
  }
  // In blocks; 0: not even whole extents.
  const auto shortest = [&found](double share) {
    uint64_t blocks = 0;
    for (auto length = found.rbegin(); length != found.rend(); ++length) {
      const auto [hits, all] = length->second;
      if (static_cast<double>(hits) < share * static_cast<double>(all)) break;
      blocks = length->first;
    }
    return blocks;
  };
  // Of so many blocks one, if the index is as full as it gets: three quarters of a power of two of slots.
  uint64_t slots = 1;
  while (slots * 2 * kSlotBytes <= budget) slots *= 2;
  uint64_t needed = 1;
  while (unique / needed > slots / 4 * 3) needed *= 2;
  const double anchors = static_cast<double>(finder.anchors().entries()) * scale;
  const uint64_t kept = uint64_t{1} << finder.anchors().sampling();
  const double looked_up = tebibytes * std::ldexp(1, 40) / kBlock / static_cast<double>(kept);
  const double false_candidates = looked_up * anchors / 2 / std::ldexp(1, 64) * static_cast<double>(kept);
  const uint64_t half = shortest(0.5);
  const uint64_t nearly_all = shortest(0.99);
  const auto within = [](uint64_t length, uint64_t bar) {
    return bar > kExtentBlocks || (length > 0 && length <= bar);
  };
  const bool met = finder.anchors().bytes() <= budget && kept <= needed && false_candidates < 1 &&
                   candidates == runs_found && within(half, needed) && within(nearly_all, 8 * needed);
  const auto [hits, all] = found[kExtentBlocks];
  const auto length_and_bar = [](uint64_t blocks, uint64_t bar) {
    return absl::StrCat(blocks == 0 ? "none" : absl::StrCat(blocks * kBlock / 1024), " | ",
                        bar > kExtentBlocks ? "" : absl::StrCat("<= ", bar * kBlock / 1024));
  };
  absl::PrintF("| %.0f | %d | %.1f | %d | <= %d | %.3f | %s | %s | %.1f | %s |\n", tebibytes, budget_mib,
               anchors / 1e6, kept, needed, false_candidates, length_and_bar(half, needed),
               length_and_bar(nearly_all, 8 * needed),
               100 * static_cast<double>(hits) / static_cast<double>(all), Verdict(met));
  std::fflush(stdout);
  return met;
}

}  // namespace

int main(int argc, char** argv) {
  const double tebibytes = argc > 1 ? std::atof(argv[1]) : 1;
  const size_t budget_mib = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 256;
  const uint64_t files = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 1000000;
  if (tebibytes <= 0 || budget_mib < 32 || files < 1000) {
    std::fprintf(stderr,
                 "index_scale: TEBIBYTES must be above 0, BUDGET_MIB at least 32, FILES at least 1000\n");
    return 2;
  }
  std::string state_dir = std::filesystem::temp_directory_path() / "index_scale.XXXXXX";
  if (::mkdtemp(&state_dir[0]) == nullptr) return 1;
  const uint64_t known = files - files / 100;
  std::printf(
      "| scan of | seconds | of the copies found, %% | bar | peak memory MiB | bar | "
      "|\n|---|---|---|---|---|---|---|\n");
  bool met = Measure(budget_mib, [&] { return ScanLargeFiles(tebibytes, budget_mib); });
  met &= Measure(budget_mib, [&] { return ScanSmallFiles(2 * files, budget_mib, state_dir); });
  met &= Measure(budget_mib, [&] { return ReadSmallFiles(files, 0, known, budget_mib, state_dir); });
  met &= Measure(budget_mib, [&] { return ReadSmallFiles(files, known, files, budget_mib, state_dir); });
  std::filesystem::remove_all(state_dir);
  std::printf("\n");
  std::printf(
      "| TiB | budget MiB | million anchors | blocks for an anchor | bar | false candidates | "
      "KiB, every other run found | bar | KiB, 99 of 100 found | bar | whole extents found, %% | "
      "|\n|---|---|---|---|---|---|---|---|---|---|---|---|\n");
  for (const auto& [size, scale] : {std::pair<double, double>(1, 4), {10, 16}, {100, 32}})
    met &= FindRuns(size, budget_mib, scale);
  return met ? 0 : 1;
}
