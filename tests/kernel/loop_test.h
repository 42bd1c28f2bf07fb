#ifndef COWHERD_TESTS_KERNEL_LOOP_TEST_H_
#define COWHERD_TESTS_KERNEL_LOOP_TEST_H_

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "tests/server/fs/directory_under_test.h"
#include "tests/testing/loop_filesystem.h"

namespace cowherd {

// The loop filesystem of a type that all tests of this process share; made at first need, gone at exit. Null
// with a failed test if it cannot be made.
LoopFilesystem* SharedLoop(const std::string& type);

// A test with an empty directory of its own, on a type of filesystem named by the parameter.
class LoopTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    loop_ = SharedLoop(GetParam());
    ASSERT_NE(loop_, nullptr);
    directory_ = std::make_unique<DirectoryUnderTest>(loop_->path(), GetParam() == "btrfs");
    absl::StatusOr<std::unique_ptr<FileTree>> tree = directory_->trees().OpenRoot(directory_->root());
    ASSERT_TRUE(tree.ok()) << tree.status();
    tree_ = *std::move(tree);
  }

  bool is_btrfs() const { return GetParam() == "btrfs"; }

  LoopFilesystem* loop_ = nullptr;
  std::unique_ptr<DirectoryUnderTest> directory_;
  std::unique_ptr<FileTree> tree_;
};

}  // namespace cowherd

#endif  // COWHERD_TESTS_KERNEL_LOOP_TEST_H_
