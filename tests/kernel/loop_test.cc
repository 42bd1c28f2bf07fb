#include "tests/kernel/loop_test.h"

#include <map>

namespace cowherd {

LoopFilesystem* SharedLoop(const std::string& type) {
  static std::map<std::string, std::unique_ptr<LoopFilesystem>> loops;
  std::unique_ptr<LoopFilesystem>& loop = loops[type];
  if (loop == nullptr) {
    LoopFilesystem::Options options;
    options.type = type;
    options.size = uint64_t{2} << 30;
    absl::StatusOr<std::unique_ptr<LoopFilesystem>> made = LoopFilesystem::Make(options);
    EXPECT_TRUE(made.ok()) << made.status();
    if (made.ok()) loop = *std::move(made);
  }
  return loop.get();
}

}  // namespace cowherd
