#ifndef COWHERD_SERVER_NODE_RIGHTS_H_
#define COWHERD_SERVER_NODE_RIGHTS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/fs/extent_ops.h"

// What the kernel lets this process do with others' files, by its capabilities (capabilities(7)), and what is
// lost without them. What a comparison needs is in fs/remap_range.c, allow_file_dedupe. Pure.
namespace cowherd {

struct Rights {
  // Effective.
  bool dac_override = false;
  bool dac_read_search = false;
  bool fowner = false;
  bool sys_admin = false;
  bool sys_rawio = false;  // only to tell a privileged container
  // In a user namespace of its own none of them counts for a filesystem that was mounted outside.
  bool in_user_namespace = false;
};

// By the texts of /proc/self/status and /proc/self/uid_map.
absl::StatusOr<Rights> ParseRights(absl::string_view status, absl::string_view uid_map);

// The name that the manifests have for a set of rights: "full", "full-noatime", "walk", "estimate",
// "privileged"; "own-files" for what is none of these.
std::string ProfileOf(const Rights& rights);

// "CAP_SYS_ADMIN", ...: those held of the four that matter.
std::vector<std::string> CapabilitiesOf(const Rights& rights);

// Something that cannot be done for want of a capability.
struct Lack {
  std::string capability;
  // What is lost, for people.
  std::string loses;
  // The root is there for it: a writable one to share on, any one to be read. Else it is slower or less.
  bool needed = false;
};

// For a root on this filesystem.
std::vector<Lack> LacksOf(const Rights& rights, const FsFacts& facts);

}  // namespace cowherd

#endif  // COWHERD_SERVER_NODE_RIGHTS_H_
