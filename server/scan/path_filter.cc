#include "server/scan/path_filter.h"

#include <fnmatch.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace cowherd {
namespace {

bool AnyMatches(const std::vector<std::string>& globs, const std::string& relative) {
  const size_t slash = relative.rfind('/');
  const char* const name = slash == std::string::npos ? relative.c_str() : relative.c_str() + slash + 1;
  return std::any_of(globs.begin(), globs.end(), [&](const std::string& glob) {
    const bool whole_path = glob.find('/') != std::string::npos;
    return ::fnmatch(glob.c_str(), whole_path ? relative.c_str() : name, 0) == 0;
  });
}

}  // namespace

bool PathFilter::WantsFile(const std::string& relative) const {
  return (include_.empty() || AnyMatches(include_, relative)) && !AnyMatches(exclude_, relative);
}

bool PathFilter::EntersDirectory(const std::string& relative) const {
  return !AnyMatches(exclude_, relative);
}

bool PathFilter::Reaches(const std::vector<std::string>& tops, const std::string& relative) const {
  for (const std::string& top : tops) {
    if (relative == top) return true;
    if (!top.empty() && !absl::StartsWith(relative, absl::StrCat(top, "/"))) continue;
    size_t slash = relative.find('/', top.empty() ? 0 : top.size() + 1);
    while (slash != relative.npos && EntersDirectory(relative.substr(0, slash)))
      slash = relative.find('/', slash + 1);
    if (slash == relative.npos && WantsFile(relative)) return true;
  }
  return false;
}

}  // namespace cowherd
