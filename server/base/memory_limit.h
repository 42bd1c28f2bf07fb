#ifndef COWHERD_SERVER_BASE_MEMORY_LIMIT_H_
#define COWHERD_SERVER_BASE_MEMORY_LIMIT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace cowherd {

constexpr uint64_t kNoMemoryLimit = UINT64_MAX;

// Where the limits of a process's control groups may be, from its own up to the top, by the text of
// /proc/self/cgroup: memory.max and memory.high of version 2, memory.limit_in_bytes of version 1. In a
// container some of them are out of sight. `mount` is /sys/fs/cgroup. Pure.
std::vector<std::string> MemoryLimitFiles(absl::string_view cgroups, const std::string& mount);

// What such a file holds. "max", or what is no number: kNoMemoryLimit. Pure.
uint64_t ParseMemoryLimit(absl::string_view text);

// The lowest of those that can be read.
uint64_t LowestMemoryLimit(const std::vector<std::string>& files);

// What a line of /proc/meminfo tells, in bytes: "MemTotal". 0: there is none. Pure.
uint64_t MeminfoBytes(absl::string_view meminfo, absl::string_view name);

// What this process may use: the lowest limit of its control groups, or all of the machine's memory if that
// is less.
uint64_t OwnMemoryLimit();

}  // namespace cowherd

#endif  // COWHERD_SERVER_BASE_MEMORY_LIMIT_H_
