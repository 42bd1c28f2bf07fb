#ifndef COWHERD_TESTS_SERVER_DEDUPE_NEIGHBOURS_SUITE_H_
#define COWHERD_TESTS_SERVER_DEDUPE_NEIGHBOURS_SUITE_H_

#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/status.h"
#include "server/dedupe/ranges.h"
#include "server/dedupe/sharing.h"

// Random requests, served joined where they can be and served one by one, on equal files: both must give the
// same answers and leave the same sharing. On a filesystem with blocks of 4 KiB, fake or real.
namespace cowherd {

class NeighboursSuite {
 public:
  using AddFile = std::function<void(const std::string& path, const std::string& content)>;

  // `root` must outlive it; `add` adds a file beneath it.
  NeighboursSuite(ExtentOps& ops, FileTrees& trees, const Root& root, AddFile add)
      : ops_(ops), trees_(trees), root_(root), add_(std::move(add)) {}

  void Run(unsigned seed) {
    std::mt19937_64 random(seed);
    AddFiles(random);
    const std::vector<DedupeRequest> requests = Requests(random);
    std::vector<absl::StatusOr<RangesResult>> joined;
    OpenPlaces joined_places(trees_);
    while (joined.size() < requests.size()) {
      const auto some = DedupeNeighbours(ops_, joined_places, In("joined", requests, joined.size()), stop_);
      ASSERT_FALSE(some.empty());
      if (some.size() > 1) ++joins_;
      joined.insert(joined.end(), some.begin(), some.end());
    }
    ASSERT_EQ(joined.size(), requests.size());
    OpenPlaces apart_places(trees_);
    const std::vector<DedupeRequest> apart = In("apart", requests, 0);
    for (size_t i = 0; i < requests.size(); ++i) {
      SCOPED_TRACE(absl::StrCat("seed ", seed, ", request ", i));
      ExpectEqual(joined[i], DedupeRanges(ops_, apart_places, apart[i], stop_));
    }
    for (const char* target : {"target", "other"})
      EXPECT_EQ(Unshared("joined", target), Unshared("apart", target));
  }

  // Times that several requests were served together.
  int joins() const { return joins_; }

 private:
  static constexpr uint64_t kBlock = 4096;
  static constexpr uint64_t kBlocks = 96;
  static constexpr uint64_t kTail = 100;

  // The target has odd blocks, and ends before the source.
  void AddFiles(std::mt19937_64& random) {
    std::string source(kBlocks * kBlock + kTail, '\0');
    for (char& byte : source) byte = static_cast<char>(random());
    std::string target = source.substr(0, (kBlocks - 3) * kBlock);
    for (int i = 0; i < 3; ++i) target[random() % target.size()] ^= 1;
    for (const char* folder : {"joined", "apart"}) {
      add_(absl::StrCat(folder, "/source"), source);
      add_(absl::StrCat(folder, "/target"), target);
      add_(absl::StrCat(folder, "/other"), source);
    }
  }

  // Walks through the files, now and then out of step. Paths lack their folder.
  std::vector<DedupeRequest> Requests(std::mt19937_64& random) {
    std::vector<DedupeRequest> requests;
    uint64_t source = 0;
    uint64_t target = 0;
    std::string name = "target";
    for (int i = 0; i < 120; ++i) {
      const uint64_t what = random() % 40;
      if (what == 0) source = target = random() % kBlocks * kBlock;
      if (what == 1) target += kBlock;
      if (what == 2) source = target = target + 512;
      if (what == 3) source = target = target / kBlock * kBlock;
      if (what == 4) name = name == "target" ? "other" : "target";
      DedupeRequest request;
      request.length = what == 5 ? 1000 : (1 + random() % 4) * kBlock;
      request.source = {{&root_, "source"}, source};
      request.destinations.push_back({{&root_, what == 6 ? "absent" : name}, target});
      if (what == 7) request.destinations.push_back({{&root_, "other"}, target});
      if (what == 8) request.destinations.front().path.relative = "source";
      if (what == 9) request.max_bytes_per_call = 128 << 10;
      request.measure_shared = what == 10;
      source += request.length;
      target += request.length;
      if (source > (kBlocks + 2) * kBlock) source = target = 0;
      requests.push_back(std::move(request));
    }
    return requests;
  }

  static std::vector<DedupeRequest> In(const std::string& folder, const std::vector<DedupeRequest>& requests,
                                       size_t first) {
    std::vector<DedupeRequest> placed(requests.begin() + static_cast<ptrdiff_t>(first), requests.end());
    for (DedupeRequest& request : placed) {
      request.source.path.relative = absl::StrCat(folder, "/", request.source.path.relative);
      for (RootedPosition& destination : request.destinations) {
        destination.path.relative = absl::StrCat(folder, "/", destination.path.relative);
      }
    }
    return placed;
  }

  static void ExpectEqual(const absl::StatusOr<RangesResult>& a, const absl::StatusOr<RangesResult>& b) {
    ASSERT_EQ(a.status().code(), b.status().code()) << a.status() << " and " << b.status();
    EXPECT_EQ(ErrnoOf(a.status()), ErrnoOf(b.status()));
    if (!a.ok()) return;
    EXPECT_EQ(a->shared, b->shared);
    ASSERT_EQ(a->targets.size(), b->targets.size());
    for (size_t i = 0; i < a->targets.size(); ++i) {
      EXPECT_EQ(a->targets[i].outcome, b->targets[i].outcome)
          << a->targets[i].error << " and " << b->targets[i].error;
      EXPECT_EQ(a->targets[i].bytes_accepted, b->targets[i].bytes_accepted);
      EXPECT_EQ(ErrnoOf(a->targets[i].error), ErrnoOf(b->targets[i].error));
    }
  }

  // First byte and length of each stretch of the target that does not lie on the source's storage.
  std::vector<std::pair<uint64_t, uint64_t>> Unshared(const std::string& folder, const std::string& target) {
    OpenPlaces places(trees_);
    const auto a = places.Open({&root_, folder + "/source"}, false);
    const auto b = places.Open({&root_, absl::StrCat(folder, "/", target)}, true);
    std::vector<std::pair<uint64_t, uint64_t>> stretches;
    if (!a.ok() || !b.ok()) {
      ADD_FAILURE() << a.status() << " and " << b.status();
      return stretches;
    }
    const auto found =
        FindUnshared(ops_, (*a)->fd.get(), 0, (*b)->fd.get(), 0, (*b)->facts.size, /*flush=*/true);
    EXPECT_TRUE(found.ok()) << found.status();
    if (!found.ok()) return stretches;
    for (const Stretch& stretch : *found) stretches.emplace_back(stretch.offset, stretch.length);
    return stretches;
  }

  ExtentOps& ops_;
  FileTrees& trees_;
  const Root& root_;
  const AddFile add_;
  const Stop stop_;
  int joins_ = 0;
};

}  // namespace cowherd

#endif  // COWHERD_TESTS_SERVER_DEDUPE_NEIGHBOURS_SUITE_H_
