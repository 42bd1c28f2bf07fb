#ifndef COWHERD_SERVER_SCAN_WALK_H_
#define COWHERD_SERVER_SCAN_WALK_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/optional.h"
#include "server/base/stop.h"
#include "server/dedupe/shared_totals.h"
#include "server/fs/file_tree.h"
#include "server/scan/path_filter.h"

namespace cowherd {

// A regular file as its directory names it.
struct WalkedFile {
  std::string path;  // below the root
  uint64_t inode = 0;
  absl::optional<FileFacts> facts;  // if the directory tells
};

// Those of `paths` that are not beneath another of them, so that no file is met twice. "": the root.
std::vector<std::string> Tops(const std::vector<std::string>& paths);

// Tells `found` each file that `filter` wants, depth first, by name. `top` may be a file. Directories that
// cannot be listed are counted and logged, other filesystems passed over. An error: `stop`'s, `found`'s, or
// `top` itself cannot be listed.
absl::Status WalkFiles(FileTree& tree, const PathFilter& filter, const std::string& top, const Stop& stop,
                       SharedTotals& totals, absl::FunctionRef<absl::Status(WalkedFile)> found);

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_WALK_H_
