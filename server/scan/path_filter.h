#ifndef COWHERD_SERVER_SCAN_PATH_FILTER_H_
#define COWHERD_SERVER_SCAN_PATH_FILTER_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace cowherd {

// Which files a scan looks at, by shell globs; see ScanOptions in types.proto. Pure.
class PathFilter {
 public:
  PathFilter(std::vector<std::string> include, std::vector<std::string> exclude)
      : include_(std::move(include)), exclude_(std::move(exclude)) {}

  // `relative`: the path below the root.
  bool WantsFile(const std::string& relative) const;
  bool EntersDirectory(const std::string& relative) const;
  // Whether a walk from one of `tops` ("": the root) would come to that file and want it.
  bool Reaches(const std::vector<std::string>& tops, const std::string& relative) const;

 private:
  const std::vector<std::string> include_;
  const std::vector<std::string> exclude_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_PATH_FILTER_H_
