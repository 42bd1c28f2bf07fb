#ifndef COWHERD_SERVER_BASE_VERSION_H_
#define COWHERD_SERVER_BASE_VERSION_H_

namespace cowherd {

// Of all three programs.
constexpr char kVersion[] = "0.1.0";

}  // namespace cowherd

#endif  // COWHERD_SERVER_BASE_VERSION_H_
