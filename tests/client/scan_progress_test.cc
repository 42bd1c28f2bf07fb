#include "client/scan_progress.h"

#include <gtest/gtest.h>

namespace cowherd {
namespace {

constexpr uint64_t kMiB = 1 << 20;

absl::Time At(int seconds) { return absl::UnixEpoch() + absl::Seconds(seconds); }

v1::TaskTotals Totals(uint64_t scanned, uint64_t found, uint64_t done = 0, uint64_t planned = 0) {
  v1::TaskTotals totals;
  totals.set_bytes_scanned(scanned * kMiB);
  totals.set_bytes_found(found * kMiB);
  totals.set_work_done(done * kMiB);
  totals.set_work_planned(planned * kMiB);
  return totals;
}

TEST(ScanProgress, FindingIsNotTheWholeJob) {
  ScanProgress progress;
  for (int second = 0; second <= 4; ++second) {
    progress.Update(At(second), Totals(100 * second, 400), /*whole=*/true);
  }
  EXPECT_EQ(progress.Line(), "finding  100%  400 MiB of 400 MiB  100 MiB/s  0 s left");
  // All is looked at, and nothing shared yet.
  progress.Update(At(5), Totals(400, 400, 0, 600), true);
  EXPECT_EQ(progress.Line(), "sharing  0 B of 600 MiB");
  for (int second = 1; second <= 4; ++second) {
    progress.Update(At(5 + second), Totals(400, 400, 50 * second, 600), true);
  }
  EXPECT_EQ(progress.Line(), "sharing   33%  200 MiB of 600 MiB  50 MiB/s  8 s left");
}

TEST(ScanProgress, WorkIsReckonedUpToWhatIsNotLookedAtYet) {
  ScanProgress progress;
  for (int second = 0; second <= 4; ++second) {
    progress.Update(At(second), Totals(100, 400, 10 * second, 100), true);
  }
  EXPECT_EQ(progress.Line(), "sharing   10%  40 MiB of 400 MiB  10 MiB/s  36 s left");
}

TEST(ScanProgress, WhereDataIsReadSharingGoesOnBeside) {
  ScanProgress progress;
  for (int second = 0; second <= 4; ++second) {
    v1::TaskTotals totals = Totals(50 * second, 400, 10 * second, 10 * second + 20);
    totals.set_files_read(1);
    progress.Update(At(second), totals, true);
  }
  EXPECT_EQ(progress.Line(), "finding   50%  200 MiB of 400 MiB  50 MiB/s  4 s left");
}

TEST(ScanProgress, NoShareOfAWholeThatIsNotKnown) {
  ScanProgress progress;
  for (int second = 0; second <= 4; ++second) {
    progress.Update(At(second), Totals(50 * second, 400), /*whole=*/false);
  }
  EXPECT_EQ(progress.Line(), "finding  200 MiB  50 MiB/s");
}

}  // namespace
}  // namespace cowherd
