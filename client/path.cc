#include "client/path.h"

#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace cowherd {

std::string AbsolutePath(absl::string_view working_directory, absl::string_view path) {
  const std::string whole =
      absl::StartsWith(path, "/") ? std::string(path) : absl::StrCat(working_directory, "/", path);
  std::vector<absl::string_view> parts;
  for (const absl::string_view part : absl::StrSplit(whole, '/', absl::SkipEmpty())) {
    if (part == ".") continue;
    if (part != "..") {
      parts.push_back(part);
    } else if (!parts.empty()) {
      parts.pop_back();
    }
  }
  std::string absolute;
  for (const absl::string_view part : parts) absl::StrAppend(&absolute, "/", part);
  return absolute.empty() ? "/" : absolute;
}

}  // namespace cowherd
