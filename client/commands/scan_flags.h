#ifndef COWHERD_CLIENT_COMMANDS_SCAN_FLAGS_H_
#define COWHERD_CLIENT_COMMANDS_SCAN_FLAGS_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cowherd/v1/types.pb.h"

namespace cowherd {

// How to look for duplicates: flags that find and job create have in common.
struct ScanFlags {
  std::vector<std::string> include;
  std::vector<std::string> exclude;
  std::string min_extent_length;
  std::string min_file_size;
  std::string bytes_per_second;
  uint32_t workers = 0;
  uint32_t min_freed_per_moved = 0;
  uint32_t max_extents_per_file = 0;
};

void AddScanFlags(CLI::App& command, ScanFlags& flags);

// INVALID_ARGUMENT names the flag at fault.
absl::StatusOr<v1::ScanOptions> MakeScanOptions(const ScanFlags& flags);

}  // namespace cowherd

#endif  // COWHERD_CLIENT_COMMANDS_SCAN_FLAGS_H_
