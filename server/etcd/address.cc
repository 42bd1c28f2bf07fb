#include "server/etcd/address.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace cowherd {
namespace {

constexpr absl::string_view kScheme = "etcd://";
constexpr absl::string_view kDefaultPrefix = "cowherd";

absl::Status Bad(absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat(what, "; an etcd store is etcd://HOST:PORT,HOST:PORT/PREFIX"));
}

bool IsMember(absl::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == 0 || colon == absl::string_view::npos) return false;
  uint32_t port = 0;
  return absl::SimpleAtoi(text.substr(colon + 1), &port) && port >= 1 && port <= 65535;
}

bool IsPrefix(absl::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.' || c == '/';
  });
}

}  // namespace

bool EtcdAddress::Is(absl::string_view text) { return absl::StartsWith(text, kScheme); }

absl::StatusOr<EtcdAddress> EtcdAddress::Parse(absl::string_view text) {
  if (!absl::ConsumePrefix(&text, kScheme)) return Bad("does not begin with etcd://");
  const size_t slash = text.find('/');
  absl::string_view prefix = slash == absl::string_view::npos ? "" : text.substr(slash + 1);
  absl::ConsumeSuffix(&prefix, "/");
  if (prefix.empty()) prefix = kDefaultPrefix;
  if (!IsPrefix(prefix)) return Bad("the prefix may have letters, digits and -_./");
  EtcdAddress address;
  address.prefix = absl::StrCat("/", prefix, "/");
  for (absl::string_view member : absl::StrSplit(text.substr(0, slash), ',')) {
    if (!IsMember(member)) return Bad(absl::StrCat("\"", member, "\" is not HOST:PORT"));
    address.members.emplace_back(member);
  }
  return address;
}

}  // namespace cowherd
