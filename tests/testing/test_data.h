#ifndef COWHERD_TESTS_TESTING_TEST_DATA_H_
#define COWHERD_TESTS_TESTING_TEST_DATA_H_

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "server/fs/fake_filesystem.h"
#include "server/fs/file_tree.h"
#include "server/fs/root.h"

// Contents, roots and open files for tests on FakeFilesystem.
namespace cowherd::testing {

constexpr uint64_t kBlock = FakeFilesystem::kBlockSize;

// `length` bytes that look random; the same for the same seed, and no block of 4 KiB twice, of other seeds
// neither.
inline std::string Bytes(uint64_t seed, uint64_t length) {
  std::string bytes(length, '\0');
  uint64_t state = seed * 0x94d049bb133111eb + 1;
  for (uint64_t i = 0; i < length; i += sizeof(state)) {
    state += 0x9e3779b97f4a7c15;
    uint64_t word = (state ^ (state >> 30)) * 0xbf58476d1ce4e5b9;
    word ^= word >> 27;
    std::memcpy(&bytes[i], &word, std::min<uint64_t>(sizeof(word), length - i));
  }
  return bytes;
}

inline std::string Blocks(uint64_t seed, uint64_t blocks) { return Bytes(seed, blocks * kBlock); }

// "data" at "/data", and "more" whose host path is "/more" and local path "/mnt/more".
inline RootTable Roots() { return *RootTable::Parse({"data=/data", "more=/more:/mnt/more"}); }

// The tree of root "data".
inline std::unique_ptr<FileTree> OpenData(FakeFilesystem& filesystem) {
  return *filesystem.OpenRoot({"data", "/data", "/data"});
}

// A file beneath /data, for reading.
inline Fd OpenFd(FakeFilesystem& filesystem, const std::string& relative) {
  return std::move(OpenData(filesystem)->Open(relative, /*for_destination=*/false)->fd);
}

}  // namespace cowherd::testing

#endif  // COWHERD_TESTS_TESTING_TEST_DATA_H_
