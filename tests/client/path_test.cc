#include "client/path.h"

#include <gtest/gtest.h>

namespace cowherd {
namespace {

TEST(AbsolutePath, ByTheTextAlone) {
  const struct {
    absl::string_view directory;
    absl::string_view path;
    absl::string_view absolute;
  } kCases[] = {{"/home/me", "a", "/home/me/a"},         {"/home/me", "./a//b/", "/home/me/a/b"},
                {"/home/me", "../a", "/home/a"},         {"/home/me", "../../../a", "/a"},
                {"/home/me", "/srv/./x/../y", "/srv/y"}, {"/", "a", "/a"},
                {"/home/me", ".", "/home/me"},           {"/", "..", "/"},
                {"/home/me", "...", "/home/me/..."},     {"/h\xff", "\xfe\n", "/h\xff/\xfe\n"}};
  for (const auto& c : kCases) EXPECT_EQ(AbsolutePath(c.directory, c.path), c.absolute);
}

}  // namespace
}  // namespace cowherd
