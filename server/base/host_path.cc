#include "server/base/host_path.h"

#include <cstddef>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"

namespace cowherd {
namespace {

constexpr size_t kMaxPath = 4095;  // PATH_MAX without its NUL
constexpr size_t kMaxPart = 255;   // NAME_MAX

}  // namespace

absl::string_view PathFault(absl::string_view path) {
  if (!absl::StartsWith(path, "/")) return "is not absolute";
  if (path.size() > kMaxPath) return "is longer than 4095 bytes";
  if (absl::StrContains(path, absl::string_view("\0", 1))) return "holds a NUL byte";
  if (path == "/") return "";
  for (absl::string_view part : absl::StrSplit(path.substr(1), '/')) {
    if (part.empty()) return "has an empty part";
    if (part == "." || part == "..") return "has a \".\" or \"..\" part";
    if (part.size() > kMaxPart) return "has a part longer than 255 bytes";
  }
  return "";
}

}  // namespace cowherd
