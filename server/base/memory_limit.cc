#include "server/base/memory_limit.h"

#include <algorithm>

#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/base/read_file.h"

namespace cowherd {
namespace {

bool HasMemory(absl::string_view controllers) {
  const std::vector<absl::string_view> names = absl::StrSplit(controllers, ',');
  return std::find(names.begin(), names.end(), "memory") != names.end();
}

}  // namespace

std::vector<std::string> MemoryLimitFiles(absl::string_view cgroups, const std::string& mount) {
  std::vector<std::string> files;
  for (absl::string_view line : absl::StrSplit(cgroups, '\n', absl::SkipEmpty())) {
    // hierarchy:controllers:path
    const std::vector<absl::string_view> fields = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (fields.size() != 3) continue;
    const bool v2 = fields[0] == "0" && fields[1].empty();
    if (!v2 && !HasMemory(fields[1])) continue;
    std::string path(fields[2]);
    while (true) {
      if (!path.empty() && path.back() == '/') path.pop_back();
      if (v2) {
        files.push_back(absl::StrCat(mount, path, "/memory.max"));
        files.push_back(absl::StrCat(mount, path, "/memory.high"));
      } else {
        files.push_back(absl::StrCat(mount, "/memory", path, "/memory.limit_in_bytes"));
      }
      const size_t slash = path.rfind('/');
      if (slash == std::string::npos) break;
      path.resize(slash);
    }
  }
  return files;
}

uint64_t ParseMemoryLimit(absl::string_view text) {
  uint64_t limit = 0;
  return absl::SimpleAtoi(text, &limit) ? limit : kNoMemoryLimit;
}

uint64_t LowestMemoryLimit(const std::vector<std::string>& files) {
  uint64_t lowest = kNoMemoryLimit;
  for (const std::string& file : files) {
    const absl::StatusOr<std::string> text = ReadFile(file);
    if (text.ok()) lowest = std::min(lowest, ParseMemoryLimit(*text));
  }
  return lowest;
}

uint64_t MeminfoBytes(absl::string_view meminfo, absl::string_view name) {
  for (absl::string_view line : absl::StrSplit(meminfo, '\n')) {
    // "MemAvailable:    4194304 kB"
    const std::vector<absl::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    uint64_t kib = 0;
    if (words.size() > 1 && words[0] == absl::StrCat(name, ":") && absl::SimpleAtoi(words[1], &kib)) {
      return kib << 10;
    }
  }
  return 0;
}

uint64_t OwnMemoryLimit() {
  uint64_t limit = kNoMemoryLimit;
  if (const absl::StatusOr<std::string> cgroups = ReadFile("/proc/self/cgroup"); cgroups.ok()) {
    limit = LowestMemoryLimit(MemoryLimitFiles(*cgroups, "/sys/fs/cgroup"));
  }
  const absl::StatusOr<std::string> meminfo = ReadFile("/proc/meminfo");
  const uint64_t total = meminfo.ok() ? MeminfoBytes(*meminfo, "MemTotal") : 0;
  return total > 0 ? std::min(limit, total) : limit;
}

}  // namespace cowherd
