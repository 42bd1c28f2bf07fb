#include "server/scan/walk.h"

#include <algorithm>
#include <cerrno>
#include <set>
#include <utility>

#include "server/base/log.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

std::string Below(const std::string& directory, const std::string& name) {
  return directory.empty() ? name : directory + "/" + name;
}

}  // namespace

std::vector<std::string> Tops(const std::vector<std::string>& paths) {
  const std::set<std::string> named(paths.begin(), paths.end());
  if (named.empty() || named.count("") > 0) return {""};
  std::vector<std::string> tops;
  for (const std::string& path : named) {
    size_t slash = path.find('/');
    while (slash != path.npos && named.count(path.substr(0, slash)) == 0) slash = path.find('/', slash + 1);
    if (slash == path.npos) tops.push_back(path);
  }
  return tops;
}

absl::Status WalkFiles(FileTree& tree, const PathFilter& filter, const std::string& top, const Stop& stop,
                       SharedTotals& totals, absl::FunctionRef<absl::Status(NamedFile)> found) {
  std::vector<std::string> directories = {top};
  while (!directories.empty()) {
    RETURN_IF_ERROR(stop.Check());
    const std::string directory = std::move(directories.back());
    directories.pop_back();
    absl::StatusOr<std::vector<DirEntry>> entries = tree.List(directory, stop);
    if (!entries.ok()) {
      RETURN_IF_ERROR(stop.Check());
      if (ErrnoOf(entries.status()) == EXDEV) continue;  // another filesystem is mounted there
      if (directory == top && ErrnoOf(entries.status()) == ENOTDIR) return found({top, 0});
      // What the caller named must be there.
      if (directory == top) return entries.status();
      LogFew(LogLevel::kWarning, "cannot list a directory",
             {{"path", directory}, {"error", entries.status()}});
      totals.Update([](Totals& t) { ++t.files_failed; });
      continue;
    }
    std::sort(entries->begin(), entries->end(),
              [](const DirEntry& a, const DirEntry& b) { return a.name > b.name; });
    for (auto entry = entries->rbegin(); entry != entries->rend(); ++entry) {
      RETURN_IF_ERROR(stop.Check());
      if (entry->kind != DirEntry::Kind::kFile) continue;
      std::string path = Below(directory, entry->name);
      if (filter.WantsFile(path)) {
        RETURN_IF_ERROR(found({std::move(path), entry->inode}));
      } else {
        totals.Update([](Totals& t) { ++t.files_skipped; });
      }
    }
    for (const DirEntry& entry : *entries) {
      if (entry.kind != DirEntry::Kind::kDirectory) continue;
      std::string path = Below(directory, entry.name);
      if (filter.EntersDirectory(path)) directories.push_back(std::move(path));
    }
  }
  return absl::OkStatus();
}

}  // namespace cowherd
