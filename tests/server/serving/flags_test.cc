#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "server/serving/serving.h"

namespace cowherd {
namespace {

class FlagsTest : public ::testing::Test {
 protected:
  ~FlagsTest() override {
    for (const std::string& name : set_) ::unsetenv(name.c_str());
  }

  void SetEnvironment(const std::string& name, const std::string& value) {
    ::setenv(name.c_str(), value.c_str(), 1);
    set_.push_back(name);
  }

  // The path of a config file.
  static std::string File(const std::string& text) {
    std::string path = ::testing::TempDir() + "/flags.ini";
    std::ofstream(path) << text;
    return path;
  }

  int Parse(std::vector<std::string> args) {
    CLI::App app("A server", "server");
    flags_ = ServingFlags();
    roots_.clear();
    flags_.listen = "127.0.0.1:1";
    AddServingFlags(app, flags_);
    app.add_option("--root", roots_, "A root");
    args.insert(args.begin(), "server");
    std::vector<char*> argv;
    argv.reserve(args.size() + 1);
    for (std::string& arg : args) argv.push_back(arg.data());
    argv.push_back(nullptr);
    ::testing::internal::CaptureStdout();
    ::testing::internal::CaptureStderr();
    const int code = ParseFlags(app, static_cast<int>(args.size()), argv.data());
    printed_ = ::testing::internal::GetCapturedStdout() + ::testing::internal::GetCapturedStderr();
    return code;
  }

  ServingFlags flags_;
  std::vector<std::string> roots_;
  std::string printed_;
  std::vector<std::string> set_;
};

TEST_F(FlagsTest, Defaults) {
  EXPECT_EQ(Parse({}), -1);
  EXPECT_EQ(flags_.listen, "127.0.0.1:1");
  EXPECT_FALSE(flags_.reflection);
  EXPECT_EQ(flags_.log_level, "info");
}

TEST_F(FlagsTest, CommandLineThenEnvironmentThenFile) {
  const std::string config =
      "--config=" + File("listen=file:1\nlog_level=debug\ngrace_seconds=3\nroot=f=/file\n");
  EXPECT_EQ(Parse({config}), -1);
  EXPECT_EQ(flags_.listen, "file:1");
  EXPECT_EQ(flags_.grace_seconds, 3);
  EXPECT_EQ(roots_, std::vector<std::string>{"f=/file"});

  SetEnvironment("COWHERD_LISTEN", "environment:1");
  SetEnvironment("COWHERD_LOG_LEVEL", "warning");
  SetEnvironment("COWHERD_ROOT", "e=/environment");
  EXPECT_EQ(Parse({config}), -1);
  EXPECT_EQ(flags_.listen, "environment:1");
  EXPECT_EQ(flags_.log_level, "warning");
  EXPECT_EQ(flags_.grace_seconds, 3);
  EXPECT_EQ(roots_, std::vector<std::string>{"e=/environment"});

  EXPECT_EQ(Parse({config, "--listen", "line:1", "--log_level=error", "--root", "a=/a", "--root=b=/b"}), -1);
  EXPECT_EQ(flags_.listen, "line:1");
  EXPECT_EQ(flags_.log_level, "error");
  EXPECT_EQ(roots_, (std::vector<std::string>{"a=/a", "b=/b"}));
}

TEST_F(FlagsTest, EnvironmentNamesTheConfigFileAndSwitchesFlags) {
  SetEnvironment("COWHERD_CONFIG", File("listen=file:1\nreflection=true\n"));
  SetEnvironment("COWHERD_ALLOW_REMOTE_PLAINTEXT", "true");
  EXPECT_EQ(Parse({}), -1);
  EXPECT_EQ(flags_.listen, "file:1");
  EXPECT_TRUE(flags_.reflection);
  EXPECT_TRUE(flags_.allow_remote_plaintext);
  SetEnvironment("COWHERD_REFLECTION", "false");
  EXPECT_EQ(Parse({}), -1);
  EXPECT_FALSE(flags_.reflection);
}

TEST_F(FlagsTest, HelpAndVersion) {
  EXPECT_EQ(Parse({"--help"}), 0);
  EXPECT_NE(printed_.find("--listen"), std::string::npos);
  EXPECT_NE(printed_.find("COWHERD_LISTEN"), std::string::npos);
  EXPECT_EQ(Parse({"--version"}), 0);
  EXPECT_EQ(printed_, "0.1.0\n");
}

TEST_F(FlagsTest, BadUsageIsTwo) {
  EXPECT_EQ(Parse({"--nonsense"}), 2);
  EXPECT_NE(printed_.find("--nonsense"), std::string::npos);
  EXPECT_EQ(Parse({"--grace_seconds=soon"}), 2);
  EXPECT_EQ(Parse({"--grace_seconds=-1"}), 2);
  EXPECT_EQ(Parse({"--config=/absent.ini"}), 2);
  EXPECT_NE(printed_.find("/absent.ini"), std::string::npos);
  EXPECT_EQ(Parse({"--config=" + File("lisen=typo:1\n")}), 2);
  EXPECT_NE(printed_.find("lisen"), std::string::npos);
  SetEnvironment("COWHERD_GRACE_SECONDS", "soon");
  EXPECT_EQ(Parse({}), 2);
}

}  // namespace
}  // namespace cowherd
