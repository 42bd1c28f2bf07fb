#ifndef COWHERD_CLIENT_COMMANDS_REQUEST_ID_H_
#define COWHERD_CLIENT_COMMANDS_REQUEST_ID_H_

#include <string>

namespace cowherd {

// A random UUID (RFC 4122, version 4).
std::string RandomRequestId();

}  // namespace cowherd

#endif  // COWHERD_CLIENT_COMMANDS_REQUEST_ID_H_
