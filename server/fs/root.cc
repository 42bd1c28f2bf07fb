#include "server/fs/root.h"

#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "server/base/host_path.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

bool IsName(absl::string_view name) {
  if (name.empty()) return false;
  for (char c : name) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '_' && c != '.') return false;
  }
  return true;
}

absl::Status FlagError(absl::string_view flag, absl::string_view message) {
  return FieldError("--root", absl::StrCat("\"", absl::CEscape(flag), "\" ", message));
}

// Without trailing slash.
absl::StatusOr<std::string> FlagPath(absl::string_view flag, absl::string_view path) {
  if (path.size() > 1 && !absl::EndsWith(path, "//")) absl::ConsumeSuffix(&path, "/");
  if (const absl::string_view fault = PathFault(path); !fault.empty()) {
    return FlagError(flag, absl::StrCat("names a path that ", fault));
  }
  return std::string(path);
}

absl::StatusOr<Root> ParseRoot(absl::string_view flag) {
  const size_t equals = flag.find('=');
  if (equals == absl::string_view::npos || !IsName(flag.substr(0, equals))) {
    return FlagError(flag, "has no name of letters, digits, '-', '_' and '.' before '='");
  }
  const std::vector<absl::string_view> paths = absl::StrSplit(flag.substr(equals + 1), ':');
  if (paths.size() > 2) return FlagError(flag, "has more than one ':'");
  Root root;
  root.name = std::string(flag.substr(0, equals));
  ASSIGN_OR_RETURN(root.host_path, FlagPath(flag, paths.front()));
  ASSIGN_OR_RETURN(root.local_path, FlagPath(flag, paths.back()));
  return root;
}

// Whether `path` is `directory` or lies beneath it; if so, `relative` is the rest.
bool IsBeneath(absl::string_view path, absl::string_view directory, absl::string_view* relative) {
  *relative = path;
  if (directory != "/" && !absl::ConsumePrefix(relative, directory)) return false;
  return relative->empty() || absl::ConsumePrefix(relative, "/");
}

}  // namespace

absl::StatusOr<RootTable> RootTable::Parse(const std::vector<std::string>& flags) {
  if (flags.empty()) return FieldError("--root", "give at least one, as NAME=PATH");
  std::vector<Root> roots;
  std::set<std::string> names;
  std::set<std::string> host_paths;
  for (const std::string& flag : flags) {
    ASSIGN_OR_RETURN(Root root, ParseRoot(flag));
    if (!names.insert(root.name).second) return FlagError(flag, "repeats a name");
    if (!host_paths.insert(root.host_path).second) return FlagError(flag, "repeats a host path");
    roots.push_back(std::move(root));
  }
  return RootTable(std::move(roots));
}

absl::StatusOr<RootedPath> RootTable::Resolve(absl::string_view host_path) const {
  if (const absl::string_view fault = PathFault(host_path); !fault.empty()) {
    return MakeError(absl::StatusCode::kInvalidArgument, "INVALID_ARGUMENT",
                     absl::StrCat("the path \"", absl::CEscape(host_path), "\" ", fault));
  }
  RootedPath found;
  for (const Root& root : roots_) {
    absl::string_view relative;
    if (!IsBeneath(host_path, root.host_path, &relative)) continue;
    if (found.root != nullptr && found.root->host_path.size() >= root.host_path.size()) continue;
    found = {&root, std::string(relative)};
  }
  if (found.root == nullptr) {
    return MakeError(absl::StatusCode::kPermissionDenied, "OUTSIDE_ROOTS",
                     absl::StrCat("\"", absl::CEscape(host_path), "\" is beneath none of this node's roots"));
  }
  return found;
}

absl::StatusOr<const Root*> RootTable::Find(absl::string_view name) const {
  for (const Root& root : roots_) {
    if (root.name == name) return &root;
  }
  return MakeError(absl::StatusCode::kNotFound, "ROOT_UNKNOWN",
                   absl::StrCat("this node has no root \"", absl::CEscape(name), "\""));
}

std::string HostPath(const Root& root, absl::string_view relative) {
  if (relative.empty()) return root.host_path;
  return absl::StrCat(root.host_path == "/" ? "" : root.host_path, "/", relative);
}

}  // namespace cowherd
