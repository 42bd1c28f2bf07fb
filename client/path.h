#ifndef COWHERD_CLIENT_PATH_H_
#define COWHERD_CLIENT_PATH_H_

#include <string>

#include "absl/strings/string_view.h"

namespace cowherd {

// `path` as seen from `working_directory`, which is absolute, without empty, "." and ".." parts. By the text
// alone: no file is looked at, so "link/.." is taken as nothing even where link leads elsewhere. Any bytes.
std::string AbsolutePath(absl::string_view working_directory, absl::string_view path);

}  // namespace cowherd

#endif  // COWHERD_CLIENT_PATH_H_
