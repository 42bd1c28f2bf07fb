#include "server/base/full_io.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "server/base/fd.h"
#include "tests/testing/status_matchers.h"

namespace cowherd {
namespace {

using testing::HasErrno;
using testing::IsOk;

Fd EmptyFile() {
  std::string name = absl::StrCat(::testing::TempDir(), "/full_io.XXXXXX");
  Fd file(::mkstemp(&name[0]));
  EXPECT_TRUE(file.valid());
  ::unlink(name.c_str());
  return file;
}

TEST(FullIo, WhatIsWrittenAtAnOffsetIsReadThere) {
  const Fd file = EmptyFile();
  ASSERT_THAT(WriteFully(file.get(), "herd", 4, 10), IsOk());
  ASSERT_THAT(WriteFully(file.get(), "cow", 3, 7), IsOk());
  std::string text(7, '?');
  const auto got = ReadFully(file.get(), &text[0], text.size(), 7);
  ASSERT_THAT(got, IsOk());
  EXPECT_EQ(*got, 7U);
  EXPECT_EQ(text, "cowherd");
  EXPECT_EQ(::lseek(file.get(), 0, SEEK_CUR), 0);
}

TEST(FullIo, TheEndOfTheFileEndsARead) {
  const Fd file = EmptyFile();
  ASSERT_THAT(WriteFully(file.get(), "cowherd", 7, 0), IsOk());
  std::string text(10, '?');
  EXPECT_EQ(ReadFully(file.get(), &text[0], text.size(), 3).value_or(99), 4U);
  EXPECT_EQ(text.substr(0, 4), "herd");
  EXPECT_EQ(ReadFully(file.get(), &text[0], text.size(), 7).value_or(99), 0U);
}

TEST(FullIo, ErrorsKeepTheirErrno) {
  char byte = 0;
  EXPECT_THAT(ReadFully(-1, &byte, 1, 0), HasErrno(EBADF));
  EXPECT_THAT(WriteFully(-1, &byte, 1, 0), HasErrno(EBADF));
  const Fd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  EXPECT_THAT(WriteFully(full.get(), &byte, 1, 0), HasErrno(ENOSPC));
}

}  // namespace
}  // namespace cowherd
