#ifndef COWHERD_SERVER_CONTROLLER_STORE_CHOICE_H_
#define COWHERD_SERVER_CONTROLLER_STORE_CHOICE_H_

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "server/base/credentials.h"
#include "server/etcd/address.h"
#include "server/etcd/client.h"

namespace cowherd {

// Which store, as flags say it.
struct StoreFlags {
  // A path of a SQLite file, or an address as EtcdAddress reads it.
  std::string store;
  TlsFiles etcd_tls;
  std::string etcd_user;
  std::string etcd_password_file;
};

void AddStoreFlags(CLI::App& app, StoreFlags& flags);

// The flags of an etcd store, checked. Empty: it is a SQLite file. `allow_plaintext`: members on other
// machines may be called without TLS. An error names the flag at fault.
struct EtcdChoice {
  EtcdAddress address;
  EtcdClient::Options client;
};
absl::StatusOr<absl::optional<EtcdChoice>> ChooseStore(const StoreFlags& flags, bool allow_plaintext);

}  // namespace cowherd

#endif  // COWHERD_SERVER_CONTROLLER_STORE_CHOICE_H_
