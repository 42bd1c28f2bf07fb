#include "client/commands/context.h"

#include <google/protobuf/util/json_util.h>

#include "absl/strings/str_cat.h"
#include "client/commands/error_text.h"
#include "client/format.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

CLI::Option* AddAddressFlag(CLI::App& command, const Context& context, const char* flag, const char* variable,
                            const char* fallback, const std::string& what, std::string& address) {
  address = context.console.environment(variable);
  if (address.empty()) address = fallback;
  return command.add_option(flag, address, absl::StrCat("Address of the ", what, ", also ", variable))
      ->type_name("ADDR")
      ->capture_default_str();
}

}  // namespace

Context::Context(const Console& console) : console(console) {
  channel.tls.cert = console.environment("COWHERD_TLS_CERT");
  channel.tls.key = console.environment("COWHERD_TLS_KEY");
  channel.tls.ca = console.environment("COWHERD_TLS_CA");
}

int Context::PrintJson(const google::protobuf::Message& message) const {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string json;
  // Fails for times out of range, which a server that goes wrong may send.
  const auto status = google::protobuf::util::MessageToJsonString(message, &json, options);
  if (!status.ok()) {
    console.err << "error: the answer cannot be written as JSON: "
                << EscapeName(std::string(status.message())) << '\n';
    return kExitFailed;
  }
  console.out << json << '\n' << std::flush;
  return kExitOk;
}

int Context::UsageError(const absl::Status& status) const {
  console.err << "error: " << EscapeName(status.message()) << "\nSee " << command << " --help.\n";
  return kExitUsage;
}

int Context::CallError(absl::string_view doing, absl::string_view address, const absl::Status& status) const {
  console.err << ErrorText(doing, address, status);
  return IsUnreachable(status) ? kExitUnreachable : kExitFailed;
}

CLI::Option* AddNodeFlag(CLI::App& command, const Context& context, std::string& address) {
  return AddAddressFlag(command, context, "--node", "COWHERD_NODE", "127.0.0.1:7300",
                        "node: host:port or unix:path", address);
}

CLI::Option* AddControllerFlag(CLI::App& command, const Context& context, std::string& address) {
  return AddAddressFlag(command, context, "--controller", "COWHERD_CONTROLLER", "127.0.0.1:7400",
                        "controller: host:port or unix:path; of several controllers, all with commas between",
                        address);
}

std::string Footer(absl::string_view examples) {
  return absl::StrCat(
      "Examples:\n", examples,
      "\nAlso -o json, --timeout, --tls_cert, --tls_key, --tls_ca, --allow_remote_plaintext: see "
      "cowherd --help.");
}

}  // namespace cowherd
