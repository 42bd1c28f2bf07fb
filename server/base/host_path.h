#ifndef COWHERD_SERVER_BASE_HOST_PATH_H_
#define COWHERD_SERVER_BASE_HOST_PATH_H_

#include "absl/strings/string_view.h"

namespace cowherd {

// What keeps it from being the path of a file on a host, to follow its name in a message; empty: nothing. It
// is absolute, has 4095 bytes at most and none of them NUL, and no part that is empty (so no trailing slash
// but in "/"), "." or "..", or longer than 255 bytes. Pure.
absl::string_view PathFault(absl::string_view path);

}  // namespace cowherd

#endif  // COWHERD_SERVER_BASE_HOST_PATH_H_
