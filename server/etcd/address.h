#ifndef COWHERD_SERVER_ETCD_ADDRESS_H_
#define COWHERD_SERVER_ETCD_ADDRESS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace cowherd {

// Where a store lies in etcd: "etcd://HOST:PORT,HOST:PORT/PREFIX". Pure.
struct EtcdAddress {
  std::vector<std::string> members;
  // Begins and ends with "/": all keys of this install begin with it.
  std::string prefix;

  static bool Is(absl::string_view text);
  // INVALID_ARGUMENT says what is wrong. Without a prefix it is "/cowherd/".
  static absl::StatusOr<EtcdAddress> Parse(absl::string_view text);
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_ETCD_ADDRESS_H_
