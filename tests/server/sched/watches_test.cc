// Who is told of which job's changes, and when.
#include "server/sched/watches.h"

#include <gtest/gtest.h>

namespace cowherd {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(100);
constexpr absl::Duration kEvery = absl::Milliseconds(200);

std::shared_ptr<const JobView> Revision(uint64_t revision) {
  JobView view;
  view.job.revision = revision;
  return std::make_shared<const JobView>(std::move(view));
}

// What a watcher was told: revisions; 0: nothing more comes.
struct Told {
  std::vector<uint64_t> revisions;
  Watcher watcher() {
    return [this](const std::shared_ptr<const JobView>& view) {
      revisions.push_back(view == nullptr ? 0 : view->job.revision);
    };
  }
};
using Revisions = std::vector<uint64_t>;

TEST(Watches, AJobIsDueAtOnceThenEverySoOften) {
  Watches watches;
  Told told;
  watches.Add(7, told.watcher(), /*told=*/1);
  EXPECT_TRUE(watches.Watched(7));
  EXPECT_EQ(watches.wake(), absl::InfiniteFuture());
  watches.Changed(7, kEvery);
  EXPECT_EQ(watches.Due(kNow), (Revisions{7}));
  watches.Done(7);
  watches.Tell(7, Revision(2), kNow);
  EXPECT_EQ(watches.wake(), absl::InfiniteFuture());
  watches.Changed(7, kEvery);
  // What comes meanwhile does not put it off.
  watches.Changed(7, 2 * kEvery);
  EXPECT_TRUE(watches.Due(kNow).empty());
  EXPECT_EQ(watches.wake(), kNow + kEvery);
  // The end waits for nothing.
  watches.Ended(7);
  EXPECT_EQ(watches.Due(kNow), (Revisions{7}));
  EXPECT_EQ(told.revisions, (Revisions{2}));
}

TEST(Watches, ThoseWhoKnowARevisionAreNotToldIt) {
  Watches watches;
  Told first;
  Told second;
  watches.Add(7, first.watcher(), 1);
  watches.Add(7, second.watcher(), 2);
  watches.Tell(7, Revision(2), kNow);
  watches.Tell(7, Revision(3), kNow);
  EXPECT_EQ(first.revisions, (Revisions{2, 3}));
  EXPECT_EQ(second.revisions, (Revisions{3}));
  // That nothing more comes all are told.
  watches.Tell(7, nullptr, kNow);
  EXPECT_EQ(second.revisions, (Revisions{3, 0}));
}

TEST(Watches, ComeAndGo) {
  Watches watches;
  Told told;
  const uint64_t one = watches.Add(7, told.watcher(), 1);
  const uint64_t two = watches.Add(7, told.watcher(), 1);
  watches.Add(8, told.watcher(), 1);
  EXPECT_NE(one, two);
  EXPECT_EQ(watches.size(), 3u);
  watches.Remove(one);
  watches.Remove(one);
  EXPECT_TRUE(watches.Watched(7));
  watches.Remove(two);
  EXPECT_FALSE(watches.Watched(7));
  watches.Changed(8, kEvery);
  watches.Drop(8);
  EXPECT_EQ(watches.size(), 0u);
  EXPECT_EQ(watches.wake(), absl::InfiniteFuture());
  EXPECT_TRUE(told.revisions.empty());
}

TEST(Watches, CloseTellsAll) {
  Watches watches;
  Told told;
  watches.Add(7, told.watcher(), 1);
  watches.Add(8, told.watcher(), 1);
  watches.Close();
  EXPECT_EQ(told.revisions, (Revisions{0, 0}));
  EXPECT_EQ(watches.size(), 0u);
}

}  // namespace
}  // namespace cowherd
