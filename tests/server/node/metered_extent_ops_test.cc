#include "server/node/metered_extent_ops.h"

#include <prometheus/text_serializer.h>

#include <cerrno>
#include <memory>

#include "server/fs/fake_filesystem.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_data.h"

namespace cowherd {
namespace {

using testing::Blocks;
using testing::HasErrno;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::kBlock;

TEST(MeteredExtentOpsTest, TimesCallsCountsRefusalsAndPassesAllOn) {
  FakeFilesystem fs;
  TotalsBook book;
  auto registry = std::make_shared<prometheus::Registry>();
  NodeMetrics metrics(registry, book, [] { return std::vector<NodeMetrics::Volume>(); });
  MeteredExtentOps ops(fs, metrics);
  const auto text = [&] { return prometheus::TextSerializer().Serialize(registry->Collect()); };
  EXPECT_THAT(text(), HasSubstr("cowherd_node_dedupe_errors_total{reason=\"EXDEV\"} 0"));

  for (const char* path : {"/data/a", "/data/b", "/data/c"}) fs.AddFile(path, Blocks(1, 4));
  const Fd a = testing::OpenFd(fs, "a");
  const Fd b = testing::OpenFd(fs, "b");
  const Fd c = testing::OpenFd(fs, "c");
  fs.Fail(FakeFilesystem::Operation::kDedupeTarget, "/data/c", ETXTBSY);
  const auto answers = ops.Dedupe(a.get(), 0, 4 * kBlock, {{b.get(), 0}, {c.get(), 0}, {c.get(), 0}});
  ASSERT_THAT(answers, IsOk());
  EXPECT_EQ((*answers)[0].bytes, 4 * kBlock);
  EXPECT_EQ((*answers)[1].error, ETXTBSY);
  fs.Fail(FakeFilesystem::Operation::kDedupeSource, "/data/a", EPROTO);
  EXPECT_THAT(ops.Dedupe(a.get(), 0, 4 * kBlock, {{b.get(), 0}}), HasErrno(EPROTO));

  EXPECT_THAT(text(), HasSubstr("cowherd_node_dedupe_errors_total{reason=\"ETXTBSY\"} 2"));
  EXPECT_THAT(text(), HasSubstr("cowherd_node_dedupe_errors_total{reason=\"other\"} 1"));
  EXPECT_THAT(text(), HasSubstr("cowherd_node_dedupe_call_duration_seconds_count 2"));

  EXPECT_EQ(ops.Extents(b.get(), 0, 4 * kBlock, 10, true)->extents.size(), 1U);
  EXPECT_EQ(ops.Facts(a.get())->type, "btrfs");
  ops.Prefetch(a.get(), 0, kBlock);
  EXPECT_EQ(fs.prefetched_bytes(), kBlock);
  EXPECT_THAT(ops.Commit(a.get()), IsOk());
  EXPECT_EQ(fs.commits(), 1);
}

}  // namespace
}  // namespace cowherd
