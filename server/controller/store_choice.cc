#include "server/controller/store_choice.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/base/read_file.h"
#include "server/base/status.h"

namespace cowherd {

void AddStoreFlags(CLI::App& app, StoreFlags& flags) {
  app.add_option("--store", flags.store,
                 "Keeps the jobs: a SQLite file, made if there is none, or etcd://HOST:PORT,HOST:PORT/PREFIX")
      ->required();
  app.add_option("--etcd_tls_cert", flags.etcd_tls.cert, "PEM file: this client's certificate for etcd");
  app.add_option("--etcd_tls_key", flags.etcd_tls.key, "PEM file: its private key");
  app.add_option("--etcd_tls_ca", flags.etcd_tls.ca,
                 "PEM file: the authority that signed etcd's certificates");
  app.add_option("--etcd_user", flags.etcd_user, "User of etcd, where it asks for one");
  app.add_option("--etcd_password_file", flags.etcd_password_file, "File with that user's password");
}

absl::StatusOr<absl::optional<EtcdChoice>> ChooseStore(const StoreFlags& flags, bool allow_plaintext) {
  if (!EtcdAddress::Is(flags.store)) {
    if (flags.etcd_tls.any()) return FieldError("--etcd_tls_cert", "--store is not in etcd");
    if (!flags.etcd_user.empty()) return FieldError("--etcd_user", "--store is not in etcd");
    return absl::optional<EtcdChoice>();
  }
  EtcdChoice choice;
  absl::StatusOr<EtcdAddress> address = EtcdAddress::Parse(flags.store);
  if (!address.ok()) return FieldError("--store", address.status().message());
  choice.address = *std::move(address);
  choice.client.members = choice.address.members;
  if (!flags.etcd_tls.any() && !allow_plaintext) {
    for (const std::string& member : choice.address.members) {
      if (IsLocalAddress(member)) continue;
      return FieldError("--store",
                        absl::StrCat(member,
                                     " is on another machine; give --etcd_tls_cert, --etcd_tls_key and "
                                     "--etcd_tls_ca, or --allow_remote_plaintext"));
    }
  }
  ASSIGN_OR_RETURN(choice.client.credentials, MakeChannelCredentials(flags.etcd_tls, "--etcd_tls_"));
  if (flags.etcd_user.empty() != flags.etcd_password_file.empty()) {
    return FieldError(flags.etcd_user.empty() ? "--etcd_user" : "--etcd_password_file",
                      "--etcd_user and --etcd_password_file belong together");
  }
  if (!flags.etcd_user.empty()) {
    choice.client.user = flags.etcd_user;
    absl::StatusOr<std::string> password = ReadFile(flags.etcd_password_file);
    if (!password.ok()) return WithField(password.status(), "--etcd_password_file");
    choice.client.password = std::string(absl::StripTrailingAsciiWhitespace(*password));
  }
  return absl::optional<EtcdChoice>(std::move(choice));
}

}  // namespace cowherd
