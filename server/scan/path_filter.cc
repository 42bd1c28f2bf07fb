#include "server/scan/path_filter.h"

#include <fnmatch.h>

#include <algorithm>

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

}  // namespace cowherd
