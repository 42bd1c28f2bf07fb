#ifndef COWHERD_SERVER_SCAN_SCAN_TYPES_H_
#define COWHERD_SERVER_SCAN_SCAN_TYPES_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace cowherd {

// A checked TreeScan. Paths are below the root.
struct ScanRequest {
  std::string root_name;           // for messages; may be empty
  std::vector<std::string> paths;  // empty: all
  std::vector<std::string> include;
  std::vector<std::string> exclude;
  uint64_t min_extent_length = 16 << 10;
  uint64_t min_file_size = 4 << 10;
  bool dry_run = false;
  bool full_scan = false;         // looks at all, whatever the state of the last scan says
  uint64_t bytes_per_second = 0;  // 0: no limit
  unsigned workers = 2;
  uint64_t min_freed_per_moved = 4;
  // Of a file in metadata these are some 5 MiB, and an average of 1 MiB in a file of 64 GiB.
  uint64_t max_extents_per_file = 1 << 16;
  // Where this node keeps the states of scans, so that the next one looks at what is new. Empty: nowhere.
  std::string state_dir;
  // That may run at once in this process: each takes its part of the page cache and of open files.
  size_t scans_at_once = 1;
  // A checkpoint is written so long after the last.
  std::chrono::milliseconds checkpoint_interval{60000};
};

// Two equal ranges that do not share storage.
struct Duplicate {
  std::string source_path;
  uint64_t source_offset = 0;
  std::string destination_path;
  uint64_t destination_offset = 0;
  uint64_t length = 0;
  uint64_t freeable = 0;  // space that goes free when they share
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_SCAN_TYPES_H_
