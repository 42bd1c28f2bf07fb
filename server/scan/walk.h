#ifndef COWHERD_SERVER_SCAN_WALK_H_
#define COWHERD_SERVER_SCAN_WALK_H_

#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "server/base/stop.h"
#include "server/dedupe/shared_totals.h"
#include "server/fs/file_tree.h"
#include "server/scan/path_filter.h"

namespace cowherd {

// Those of `paths` that are not beneath another of them, so that no file is met twice. "": the root.
std::vector<std::string> Tops(const std::vector<std::string>& paths);

// Tells `found` each regular file that `filter` wants, depth first, by name. `top` may be a file. Directories
// that cannot be listed are counted and logged, other filesystems passed over. An error: `stop`'s, `found`'s,
// or `top` itself cannot be listed.
absl::Status WalkFiles(FileTree& tree, const PathFilter& filter, const std::string& top, const Stop& stop,
                       SharedTotals& totals, absl::FunctionRef<absl::Status(NamedFile)> found);

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_WALK_H_
