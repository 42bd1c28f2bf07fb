#ifndef COWHERD_SERVER_FS_ROOT_H_
#define COWHERD_SERVER_FS_ROOT_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace cowherd {

// A part of the file tree that callers may touch. Clients name files by host path; the node opens them by
// local path.
struct Root {
  std::string name;        // letters, digits, '-', '_', '.'; a metric label
  std::string host_path;   // absolute, without trailing slash but for "/"
  std::string local_path;  // the same unless the node runs in a container that mounts it elsewhere
};

// A file below a root. `relative` has no leading slash and no empty, "." or ".." part; "" is the root itself.
struct RootedPath {
  const Root* root = nullptr;
  std::string relative;
};

// The roots of a node; immutable.
class RootTable {
 public:
  // Each "NAME=PATH" or "NAME=HOST_PATH:LOCAL_PATH"; a path holds no ':', and a trailing slash is dropped.
  // INVALID_ARGUMENT names --root: bad form, a relative path, the same name or host path twice, none at all.
  static absl::StatusOr<RootTable> Parse(const std::vector<std::string>& flags);

  // The root that holds `host_path`: the longest match by whole components. Pure: looks at no filesystem.
  // INVALID_ARGUMENT: not absolute, a NUL byte, an empty, "." or ".." part (so no trailing slash either),
  // longer than 4095 bytes or a part over 255. No field is set: the caller knows which. The result points
  // into this table, which must outlive it. PERMISSION_DENIED "OUTSIDE_ROOTS": beneath none.
  absl::StatusOr<RootedPath> Resolve(absl::string_view host_path) const;

  // NOT_FOUND "ROOT_UNKNOWN".
  absl::StatusOr<const Root*> Find(absl::string_view name) const;

  const std::vector<Root>& roots() const { return roots_; }

 private:
  explicit RootTable(std::vector<Root> roots) : roots_(std::move(roots)) {}
  std::vector<Root> roots_;
};

// The host path of a file below a root.
std::string HostPath(const Root& root, absl::string_view relative);

}  // namespace cowherd

#endif  // COWHERD_SERVER_FS_ROOT_H_
