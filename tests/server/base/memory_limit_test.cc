#include "server/base/memory_limit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace cowherd {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr uint64_t kMiB = 1 << 20;

TEST(MemoryLimitFiles, FromTheGroupUpToTheTop) {
  EXPECT_THAT(MemoryLimitFiles("0::/system.slice/cowherd.service\n", "/cg"),
              ElementsAre("/cg/system.slice/cowherd.service/memory.max",
                          "/cg/system.slice/cowherd.service/memory.high", "/cg/system.slice/memory.max",
                          "/cg/system.slice/memory.high", "/cg/memory.max", "/cg/memory.high"));
  EXPECT_THAT(MemoryLimitFiles("0::/", "/cg"), ElementsAre("/cg/memory.max", "/cg/memory.high"));
}

TEST(MemoryLimitFiles, OfVersionOne) {
  EXPECT_THAT(MemoryLimitFiles("9:name=systemd:/\n5:hugetlb:/x\n4:cpu,memory:/a:b\n", "/cg"),
              ElementsAre("/cg/memory/a:b/memory.limit_in_bytes", "/cg/memory/memory.limit_in_bytes"));
}

TEST(MemoryLimitFiles, OfNothing) {
  EXPECT_THAT(MemoryLimitFiles("", "/cg"), IsEmpty());
  EXPECT_THAT(MemoryLimitFiles("what\n1:2\n", "/cg"), IsEmpty());
}

TEST(ParseMemoryLimit, NumbersAndNone) {
  EXPECT_EQ(ParseMemoryLimit("1073741824\n"), 1024 * kMiB);
  EXPECT_EQ(ParseMemoryLimit("max\n"), kNoMemoryLimit);
  EXPECT_EQ(ParseMemoryLimit(""), kNoMemoryLimit);
}

TEST(MeminfoBytes, ALineByItsName) {
  constexpr char kMeminfo[] = "MemTotal:       16316412 kB\nMemFree:          123456 kB\nHugePages:  0\n";
  EXPECT_EQ(MeminfoBytes(kMeminfo, "MemTotal"), uint64_t{16316412} << 10);
  EXPECT_EQ(MeminfoBytes(kMeminfo, "MemFree"), uint64_t{123456} << 10);
  EXPECT_EQ(MeminfoBytes(kMeminfo, "Mem"), 0u);
  EXPECT_EQ(MeminfoBytes("", "MemTotal"), 0u);
  EXPECT_EQ(MeminfoBytes("MemTotal:", "MemTotal"), 0u);
}

TEST(OwnMemoryLimit, IsNeverMoreThanTheMachineHas) {
  std::ifstream file("/proc/meminfo");
  const std::string meminfo((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  ASSERT_GT(MeminfoBytes(meminfo, "MemTotal"), 0u);
  EXPECT_LE(OwnMemoryLimit(), MeminfoBytes(meminfo, "MemTotal"));
}

TEST(LowestMemoryLimit, OfThoseThatAreThere) {
  const std::string directory = ::testing::TempDir() + "/limits";
  std::filesystem::create_directories(directory);
  std::ofstream(directory + "/a") << "max\n";
  std::ofstream(directory + "/b") << "3000\n";
  std::ofstream(directory + "/c") << "2000\n";
  EXPECT_EQ(LowestMemoryLimit({directory + "/a", directory + "/none"}), kNoMemoryLimit);
  EXPECT_EQ(LowestMemoryLimit({directory + "/a", directory + "/c", directory + "/b"}), 2000u);
}

}  // namespace
}  // namespace cowherd
