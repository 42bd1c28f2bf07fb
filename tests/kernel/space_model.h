#ifndef COWHERD_TESTS_KERNEL_SPACE_MODEL_H_
#define COWHERD_TESTS_KERNEL_SPACE_MODEL_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "server/fs/storage_map.h"

namespace cowherd {

// What a filesystem holds, found by reading every file and comparing every block with all before it, and what
// of that could go free. Bytes.
struct SpaceModel {
  uint64_t used = 0;        // storage of data
  uint64_t duplicate = 0;   // of plain extents: blocks whose content another block before has
  uint64_t attainable = 0;  // goes free by the rules of the scan, if each duplicate were found
  // Duplicates that stay, and why:
  uint64_t unprofitable = 0;  // too much beside them in their extents is unique
  uint64_t single = 0;        // nothing next to them in their extents is a duplicate of what is next
};

// The rules: extents in the order of their addresses; one goes free if what is unique in it is at most one
// `freed_per_moved`th; compressed ones only as a whole. `directory` is where the root of `map` is mounted.
absl::StatusOr<SpaceModel> ModelSpace(StorageMap& map, const std::string& directory,
                                      uint64_t freed_per_moved);

}  // namespace cowherd

#endif  // COWHERD_TESTS_KERNEL_SPACE_MODEL_H_
