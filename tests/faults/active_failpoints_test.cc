#include <gtest/gtest.h>
#include <stdlib.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <string>

#include "server/base/failpoint.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

class ActiveFailpointsTest : public ::testing::Test {
 protected:
  // Each test has a name of its own: hits are counted for as long as the process lives.
  void Ask(const std::string& lines) {
    path_ = ::testing::TempDir() + "/failpoints";
    std::ofstream(path_) << lines;
    ::setenv("COWHERD_FAILPOINTS", path_.c_str(), 1);
  }
  std::string Seen() const {
    std::ifstream seen(path_ + ".seen");
    return {std::istreambuf_iterator<char>(seen), {}};
  }

  std::string path_;
};

TEST_F(ActiveFailpointsTest, DoNothingWithoutTheVariable) {
  ::unsetenv("COWHERD_FAILPOINTS");
  EXPECT_TRUE(Failpoint("none").ok());
}

TEST_F(ActiveFailpointsTest, FailFromOneHitToAnother) {
  Ask("other 1- error\nranged 2-3 error\n");
  EXPECT_TRUE(Failpoint("ranged").ok());
  EXPECT_EQ(ReasonOf(Failpoint("ranged")), "FAILPOINT");
  EXPECT_FALSE(Failpoint("ranged").ok());
  EXPECT_TRUE(Failpoint("ranged").ok());
}

TEST_F(ActiveFailpointsTest, ReadTheFileAnew) {
  Ask("");
  EXPECT_TRUE(Failpoint("anew").ok());
  Ask("anew 2- error\n");
  EXPECT_FALSE(Failpoint("anew").ok());
}

TEST_F(ActiveFailpointsTest, Wait) {
  Ask("late 1 sleep=50\n");
  const auto begin = std::chrono::steady_clock::now();
  Crashpoint("late");
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(50));
}

TEST_F(ActiveFailpointsTest, TellOnceWhatWasHit) {
  Ask("");
  Crashpoint("told");
  Crashpoint("told");
  const std::string seen = Seen();
  const size_t at = seen.find("told\n");
  EXPECT_NE(at, std::string::npos);
  EXPECT_EQ(seen.find("told\n", at + 1), std::string::npos);
}

using ActiveFailpointsDeathTest = ActiveFailpointsTest;

TEST_F(ActiveFailpointsDeathTest, KillTheProcess) {
  Ask("deadly 1 kill\n");
  EXPECT_EXIT(Crashpoint("deadly"), ::testing::KilledBySignal(SIGKILL), "");
}

TEST_F(ActiveFailpointsDeathTest, RefuseWhatTheyDoNotUnderstand) {
  for (const char* line : {"one", "one 0 kill", "one x kill", "one 1 explode", "one 1 sleep=long"}) {
    Ask(line);
    EXPECT_DEATH(Crashpoint("two"), "not a failpoint");
  }
}

}  // namespace
}  // namespace cowherd
