#include "server/sched/discovery.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/base/log.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

constexpr size_t kMaxName = 200;

bool SplitHostPort(absl::string_view text, DnsName& out) {
  const size_t colon = text.rfind(':');
  if (colon == absl::string_view::npos) return false;
  absl::string_view host = text.substr(0, colon);
  if (absl::ConsumePrefix(&host, "[")) {
    if (!absl::ConsumeSuffix(&host, "]")) return false;
  } else if (absl::StrContains(host, ':')) {
    return false;
  }
  int port = 0;
  const absl::string_view digits = text.substr(colon + 1);
  if (host.empty() || !absl::SimpleAtoi(digits, &port) || port < 1 || port > 65535) return false;
  out.host = std::string(host);
  out.port = std::string(digits);
  return true;
}

bool IsName(absl::string_view name) {
  return !name.empty() && name.size() <= kMaxName &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.';
         });
}

}  // namespace

absl::StatusOr<Target> ParseNode(absl::string_view text) {
  Target target;
  absl::string_view address = text;
  const size_t equals = text.find('=');
  if (equals != absl::string_view::npos &&
      text.substr(0, equals).find_first_of(":/") == absl::string_view::npos) {
    target.name = std::string(text.substr(0, equals));
    address = text.substr(equals + 1);
    if (!IsName(target.name)) {
      return FieldError("--node",
                        absl::StrCat("\"", target.name, "\" is no name: use letters, digits, - _ ."));
    }
  }
  DnsName parts;
  const bool is_unix = absl::StartsWith(address, "unix:") && address.size() > 5;
  if (!is_unix && !SplitHostPort(address, parts)) {
    return FieldError("--node", absl::StrCat("\"", text, "\" is not NAME=HOST:PORT, HOST:PORT or unix:PATH"));
  }
  target.endpoint.address = std::string(address);
  if (target.name.empty()) target.name = target.endpoint.address;
  return target;
}

absl::StatusOr<DnsName> ParseDnsName(absl::string_view text) {
  DnsName name;
  if (!SplitHostPort(text, name))
    return FieldError("--node_dns", absl::StrCat("\"", text, "\" is not HOST:PORT"));
  return name;
}

absl::StatusOr<std::vector<std::string>> Resolve(const DnsName& name) {
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int code = ::getaddrinfo(name.host.c_str(), name.port.c_str(), &hints, &found);
  if (code != 0) {
    return MakeError(absl::StatusCode::kUnavailable, "DNS_FAILED",
                     absl::StrCat("resolve ", name.host, ": ", ::gai_strerror(code)));
  }
  std::vector<std::string> addresses;
  for (const addrinfo* info = found; info != nullptr; info = info->ai_next) {
    char text[INET6_ADDRSTRLEN] = "";
    if (info->ai_family == AF_INET) {
      ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(info->ai_addr)->sin_addr, text, sizeof text);
      addresses.push_back(absl::StrCat(text, ":", name.port));
    } else if (info->ai_family == AF_INET6) {
      ::inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(info->ai_addr)->sin6_addr, text,
                  sizeof text);
      addresses.push_back(absl::StrCat("[", text, "]:", name.port));
    }
  }
  ::freeaddrinfo(found);
  std::sort(addresses.begin(), addresses.end());
  addresses.erase(std::unique(addresses.begin(), addresses.end()), addresses.end());
  return addresses;
}

DnsWatch::DnsWatch(DnsName name, absl::Duration interval, Resolver resolver, OnTargets on_targets)
    : name_(std::move(name)),
      resolver_(std::move(resolver)),
      on_targets_(std::move(on_targets)),
      thread_(absl::ToChronoMilliseconds(interval), [this] { ResolveOnce(); }) {}

void DnsWatch::ResolveOnce() const {
  absl::StatusOr<std::vector<std::string>> addresses = resolver_(name_);
  if (!addresses.ok()) {
    Log(LogLevel::kWarning, "name not resolved", {{"host", name_.host}, {"error", addresses.status()}});
    return;
  }
  std::vector<Target> targets;
  for (std::string& address : *addresses) targets.push_back({"", {std::move(address), name_.host}});
  on_targets_(std::move(targets));
}

}  // namespace cowherd
