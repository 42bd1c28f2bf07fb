// The decisions of the scheduler that need no state: back-off, picking, expansion, verdicts, names of nodes.
#include <gtest/gtest.h>

#include <cerrno>
#include <random>

#include "server/base/status.h"
#include "server/sched/backoff.h"
#include "server/sched/plan.h"
#include "server/sched/verdict.h"

namespace cowherd {
namespace {

TEST(Backoff, StaysWithinItsBoundsAndSpreads) {
  std::mt19937_64 random(1);
  for (uint32_t failures : {1u, 2u, 5u, 8u, 9u, 40u, 4'000'000'000u}) {
    const absl::Duration ceiling = failures < 9 ? absl::Seconds(int64_t{1} << failures) : absl::Minutes(5);
    absl::Duration least = absl::InfiniteDuration();
    absl::Duration most;
    for (int i = 0; i < 1000; ++i) {
      const absl::Duration wait = Backoff(failures, random);
      least = std::min(least, wait);
      most = std::max(most, wait);
    }
    EXPECT_GE(least, absl::Seconds(1));
    EXPECT_LE(most, ceiling);
    EXPECT_GT(most - least, 0.9 * (ceiling - absl::Seconds(1)));
  }
}

RootFacts RootAt(const std::string& name, const std::string& path, bool supported = true) {
  RootFacts root;
  root.name = name;
  root.path = path;
  root.dedupe_supported = supported;
  return root;
}

NodeFacts SomeNode() {
  NodeFacts node;
  node.labels = {{"rack", "1"}, {"tier", "cold"}};
  node.roots = {RootAt("data", "/srv/data"), RootAt("inner", "/srv/data/inner"), RootAt("tmp", "/tmp", false),
                RootAt("gone", "/mnt/gone")};
  node.roots[3].error = MakeError(absl::StatusCode::kUnavailable, "ROOT_ABSENT", "nothing mounted");
  return node;
}

std::vector<std::string> Names(const std::vector<RootTask>& tasks) {
  std::vector<std::string> names;
  names.reserve(tasks.size());
  for (const RootTask& task : tasks) names.push_back(task.root);
  return names;
}
using Strings = std::vector<std::string>;

TEST(Expand, AllThatCanShareAndAllThatAreAwayNow) {
  EXPECT_EQ(Names(Expand({}, SomeNode())), (Strings{"data", "inner", "gone"}));
}

TEST(Expand, RootsNamedEvenIfAbsentNow) {
  JobPlan plan;
  plan.roots = {"gone", "data", "none"};
  EXPECT_EQ(Names(Expand(plan, SomeNode())), (Strings{"data", "gone"}));
  plan.roots = {"none"};
  EXPECT_TRUE(Expand(plan, SomeNode()).empty());
}

TEST(Expand, PathsGoToTheirInnermostRoot) {
  JobPlan plan;
  plan.paths = {"/srv/data/a", "/srv/data/inner/b", "/srv/database", "/srv/data/inner2"};
  const std::vector<RootTask> tasks = Expand(plan, SomeNode());
  ASSERT_EQ(Names(tasks), (Strings{"data", "inner"}));
  EXPECT_EQ(tasks[0].paths, (Strings{"/srv/data/a", "/srv/data/inner2"}));
  EXPECT_EQ(tasks[1].paths, (Strings{"/srv/data/inner/b"}));
  plan.paths = {"/srv/data/"};
  EXPECT_EQ(Names(Expand(plan, SomeNode())), (Strings{"data"}));
  plan.paths = {"/elsewhere"};
  EXPECT_TRUE(Expand(plan, SomeNode()).empty());
}

TEST(Expand, NeedsEveryLabel) {
  JobPlan plan;
  plan.select = JobPlan::Select::kLabels;
  plan.labels = {{"rack", "1"}};
  EXPECT_EQ(Expand(plan, SomeNode()).size(), 3u);
  plan.labels["tier"] = "hot";
  EXPECT_TRUE(Expand(plan, SomeNode()).empty());
}

TEST(MostTasks, IsNeverLessThanWhatThereWillBe) {
  struct Row {
    Strings roots;
    Strings paths;
    std::map<std::string, std::string> labels;
    size_t most;
  };
  const Row rows[] = {
      {{}, {}, {}, 4},
      {{"gone", "data"}, {}, {}, 2},
      {{"none"}, {}, {}, 1},
      {{}, {"/srv/data/a"}, {}, 1},
      {{}, {"/srv/data/a", "/srv/data/inner/b", "/srv/data/c", "/tmp", "/x"}, {}, 4},
      {{}, {}, {{"rack", "1"}}, 4},
      {{}, {}, {{"rack", "2"}}, 1},
  };
  for (const Row& row : rows) {
    JobPlan plan;
    plan.roots = row.roots;
    plan.paths = row.paths;
    plan.labels = row.labels;
    EXPECT_EQ(MostTasks(plan, SomeNode()), row.most) << &row - rows;
    EXPECT_GE(row.most, Expand(plan, SomeNode()).size()) << &row - rows;
    plan.ranges = true;
    EXPECT_EQ(MostTasks(plan, SomeNode()), 1u);
  }
  EXPECT_EQ(MostTasks({}, NodeFacts()), 1u);
}

TEST(Expand, WholeHostAsRoot) {
  EXPECT_TRUE(IsBeneath("/a", "/"));
  EXPECT_TRUE(IsBeneath("/", "/"));
  EXPECT_TRUE(IsBeneath("/a/b", "/a/"));
  EXPECT_FALSE(IsBeneath("/ab", "/a"));
}

TEST(Verdict, Streams) {
  using absl::StatusCode;
  EXPECT_EQ(JudgeStream(absl::OkStatus()), Verdict::kLost);
  EXPECT_EQ(JudgeStream(absl::UnavailableError("connection refused")), Verdict::kLost);
  EXPECT_EQ(JudgeStream(absl::CancelledError("")), Verdict::kLost);
  EXPECT_EQ(JudgeStream(absl::DeadlineExceededError("")), Verdict::kLost);
  EXPECT_EQ(JudgeStream(MakeError(StatusCode::kUnavailable, "STOPPING", "")), Verdict::kLost);
  EXPECT_EQ(JudgeStream(MakeError(StatusCode::kResourceExhausted, "BUSY", "")), Verdict::kBusy);
  EXPECT_EQ(JudgeStream(MakeError(StatusCode::kFailedPrecondition, "STALE_EPOCH", "")), Verdict::kFenced);
  EXPECT_EQ(JudgeStream(MakeError(StatusCode::kUnavailable, "ROOT_ABSENT", "")), Verdict::kAbsent);
  EXPECT_EQ(JudgeStream(MakeError(StatusCode::kFailedPrecondition, "ROOT_ABSENT", "")), Verdict::kAbsent);
  // As the node's filesystem layer makes it.
  EXPECT_EQ(JudgeStream(WithDetail(absl::NotFoundError(""), "ROOT_ABSENT", "", ENOENT)), Verdict::kAbsent);
  EXPECT_EQ(JudgeStream(absl::InternalError("reset")), Verdict::kRetry);
  EXPECT_EQ(JudgeStream(absl::AbortedError("")), Verdict::kRetry);
  EXPECT_EQ(JudgeStream(FieldError("scan.root", "no such root")), Verdict::kFinal);
  EXPECT_EQ(JudgeStream(WithField(MakeError(StatusCode::kNotFound, "ROOT_UNKNOWN", ""), "scan.root")),
            Verdict::kFinal);
  EXPECT_EQ(JudgeStream(absl::UnimplementedError("")), Verdict::kFinal);
  EXPECT_EQ(JudgeStream(absl::PermissionDeniedError("")), Verdict::kFinal);
  EXPECT_EQ(JudgeStream(absl::NotFoundError("")), Verdict::kFinal);
}

TEST(Verdict, Runs) {
  EXPECT_EQ(JudgeRun(MakeError(absl::StatusCode::kUnknown, "CANCELLED", "")), Verdict::kStopped);
  EXPECT_EQ(JudgeRun(MakeError(absl::StatusCode::kUnknown, "DEADLINE_EXCEEDED", "")), Verdict::kStopped);
  for (int error : {ENOSPC, EROFS, EIO, EDQUOT}) {
    EXPECT_EQ(JudgeRun(ErrnoError(error, "x")), Verdict::kFilesystem) << error;
    EXPECT_EQ(JudgeStream(ErrnoError(error, "x")), Verdict::kFilesystem) << error;
  }
  for (int error : {EAGAIN, EINTR, ENOMEM, EMFILE, ESTALE}) {
    EXPECT_EQ(JudgeRun(ErrnoError(error, "x")), Verdict::kRetry) << error;
  }
  for (int error : {EPERM, EACCES, ENOENT, EINVAL, EOPNOTSUPP, EXDEV, EISDIR}) {
    EXPECT_EQ(JudgeRun(ErrnoError(error, "x")), Verdict::kFinal) << error;
  }
  EXPECT_EQ(JudgeRun(MakeError(absl::StatusCode::kUnknown, "ROOT_ABSENT", "")), Verdict::kAbsent);
  EXPECT_EQ(JudgeRun(absl::UnknownError("")), Verdict::kFinal);
  // As a scan of a filesystem that cannot share makes it.
  EXPECT_EQ(JudgeRun(WithDetail(absl::FailedPreconditionError(""), "EOPNOTSUPP", "", EOPNOTSUPP)),
            Verdict::kFinal);
}

TEST(Verdict, ReasonsAreBounded) {
  const Verdict verdicts[] = {Verdict::kLost,  Verdict::kBusy,   Verdict::kStopped,    Verdict::kRetry,
                              Verdict::kFinal, Verdict::kFenced, Verdict::kFilesystem, Verdict::kAbsent};
  for (Verdict verdict : verdicts) {
    for (int error = 1; error < 133; ++error) {
      const absl::string_view reason = RetryReason(verdict, ErrnoError(error, "x"));
      EXPECT_NE(std::find(std::begin(kRetryReasons), std::end(kRetryReasons), reason),
                std::end(kRetryReasons));
    }
  }
  EXPECT_EQ(RetryReason(Verdict::kRetry, ErrnoError(ENOSPC, "x")), "no_space");
  EXPECT_EQ(RetryReason(Verdict::kLost, absl::OkStatus()), "node_unreachable");
}

}  // namespace
}  // namespace cowherd
