#include "server/metrics/process_metrics.h"

#include <dirent.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <ctime>
#include <memory>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "server/base/read_file.h"
#include "server/metrics/scrape.h"

namespace cowherd {
namespace {

double Seconds(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// Without the one that the count itself opens. Negative: not known.
int OpenFiles() {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir("/proc/self/fd"), ::closedir);
  if (directory == nullptr) return -1;
  int count = -1;
  while (const dirent* entry = ::readdir(directory.get())) {
    if (entry->d_name[0] != '.') ++count;
  }
  return count;
}

}  // namespace

absl::StatusOr<ProcessFacts> ParseProcessStat(absl::string_view stat, double ticks_per_second,
                                              uint64_t page_bytes) {
  // The second field is the program's name in brackets, which may hold blanks and brackets itself.
  const size_t name_end = stat.rfind(')');
  if (name_end == absl::string_view::npos) return absl::InternalError("no name in /proc/self/stat");
  const std::vector<absl::string_view> fields =
      absl::StrSplit(stat.substr(name_end + 1), absl::ByAnyChar(" \n"), absl::SkipEmpty());
  // fields[0] is the third of proc(5).
  uint64_t user = 0;
  uint64_t system = 0;
  uint64_t start = 0;
  uint64_t resident_pages = 0;
  ProcessFacts facts;
  if (fields.size() < 22 || !absl::SimpleAtoi(fields[11], &user) || !absl::SimpleAtoi(fields[12], &system) ||
      !absl::SimpleAtoi(fields[17], &facts.threads) || !absl::SimpleAtoi(fields[19], &start) ||
      !absl::SimpleAtoi(fields[20], &facts.virtual_bytes) || !absl::SimpleAtoi(fields[21], &resident_pages)) {
    return absl::InternalError("/proc/self/stat is not as proc(5) says");
  }
  facts.cpu_seconds = static_cast<double>(user + system) / ticks_per_second;
  facts.start_seconds = static_cast<double>(start) / ticks_per_second;
  facts.resident_bytes = resident_pages * page_bytes;
  return facts;
}

std::vector<prometheus::MetricFamily> ProcessMetrics::Collect() const {
  Scrape scrape;
  const absl::StatusOr<std::string> stat = ReadFile("/proc/self/stat");
  if (stat.ok()) {
    const absl::StatusOr<ProcessFacts> facts = ParseProcessStat(
        *stat, static_cast<double>(::sysconf(_SC_CLK_TCK)), static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)));
    if (facts.ok()) {
      scrape.Counter("process_cpu_seconds_total", "Processor time used, in user and system mode.", {},
                     facts->cpu_seconds);
      scrape.Gauge("process_resident_memory_bytes", "Memory in use.", {},
                   static_cast<double>(facts->resident_bytes));
      scrape.Gauge("process_virtual_memory_bytes", "Address space in use.", {},
                   static_cast<double>(facts->virtual_bytes));
      scrape.Gauge("process_threads", "Threads.", {}, static_cast<double>(facts->threads));
      // Asked for once: it would differ a little each time, as if the process had begun anew.
      static const double booted = Seconds(CLOCK_REALTIME) - Seconds(CLOCK_BOOTTIME);
      scrape.Gauge("process_start_time_seconds", "When the process began, since 1970.", {},
                   booted + facts->start_seconds);
    }
  }
  if (const int open = OpenFiles(); open >= 0) {
    scrape.Gauge("process_open_fds", "File descriptors in use.", {}, open);
  }
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    scrape.Gauge("process_max_fds", "File descriptors that may be in use.", {},
                 static_cast<double>(limit.rlim_cur));
  }
  return scrape.Take();
}

}  // namespace cowherd
