// The kernel's filesystems keep the same promises as the fake.
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "tests/kernel/loop_test.h"
#include "tests/server/fs/extent_ops_conformance.h"
#include "tests/server/fs/file_tree_conformance.h"

namespace cowherd {
namespace {

FilesystemKind Loop(const std::string& type) {
  return {type, [type]() -> std::unique_ptr<FilesystemUnderTest> {
            const LoopFilesystem* loop = SharedLoop(type);
            if (loop == nullptr) return nullptr;
            return std::make_unique<DirectoryUnderTest>(loop->path(), type == "btrfs");
          }};
}

const auto kKinds = testing::Values(Loop("btrfs"), Loop("xfs"));
INSTANTIATE_TEST_SUITE_P(Kernel, ExtentOpsConformance, kKinds);
INSTANTIATE_TEST_SUITE_P(Kernel, FileTreeConformance, kKinds);

}  // namespace
}  // namespace cowherd
