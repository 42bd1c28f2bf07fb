// What the failpoints do is read anew at each hit from the file that the environment variable
// COWHERD_FAILPOINTS names, so that a test can change its mind while the process runs. One line each: NAME
// HITS ACTION, where HITS is "3", "3-5" or "3-" (counted from 1, by name, since the process began) and ACTION
// is kill, error, or sleep=MS. A line of any other form ends the process. Names that were hit are added to
// the file named like it with ".seen" behind.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "server/base/failpoint.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

struct Hits {
  uint64_t first = 0;
  uint64_t last = 0;
};

bool ParseHits(absl::string_view text, Hits& hits) {
  const std::pair<absl::string_view, absl::string_view> ends = absl::StrSplit(text, absl::MaxSplits('-', 1));
  if (!absl::SimpleAtoi(ends.first, &hits.first) || hits.first == 0) return false;
  hits.last = hits.first;
  if (!absl::StrContains(text, "-")) return true;
  hits.last = std::numeric_limits<uint64_t>::max();
  return ends.second.empty() || absl::SimpleAtoi(ends.second, &hits.last);
}

[[noreturn]] void Refuse(const std::string& path, const std::string& line) {
  std::fprintf(stderr, "%s: not a failpoint: \"%s\"\n", path.c_str(), line.c_str());
  std::abort();
}

// Counts a hit; notes the first of each name.
uint64_t Count(const std::string& path, const std::string& name) {
  static std::mutex mutex;
  static auto& hits = *new std::map<std::string, uint64_t>();
  std::lock_guard<std::mutex> lock(mutex);
  const uint64_t hit = ++hits[name];
  if (hit == 1) {
    std::ofstream seen(path + ".seen", std::ios::app);
    seen << absl::StrCat(name, "\n") << std::flush;
  }
  return hit;
}

absl::Status Hit(const std::string& name) {
  const char* path = std::getenv("COWHERD_FAILPOINTS");
  if (path == nullptr) return absl::OkStatus();
  const uint64_t hit = Count(path, name);
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string named;
    std::string range;
    std::string action;
    Hits hits;
    words >> named >> range >> action;
    if (words.fail() || !ParseHits(range, hits)) Refuse(path, line);
    absl::string_view rest = action;
    uint32_t milliseconds = 0;
    const bool sleep = absl::ConsumePrefix(&rest, "sleep=");
    if (sleep ? !absl::SimpleAtoi(rest, &milliseconds) : action != "kill" && action != "error") {
      Refuse(path, line);
    }
    if (named != name || hit < hits.first || hit > hits.last) continue;
    if (sleep) {
      std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    } else if (action == "error") {
      return MakeError(absl::StatusCode::kUnavailable, "FAILPOINT",
                       absl::StrCat("a test asked for it at ", name));
    } else {
      ::kill(::getpid(), SIGKILL);
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Failpoint(absl::string_view name) { return Hit(std::string(name)); }

void Crashpoint(absl::string_view name) {
  // There is nothing left to fail.
  Hit(std::string(name)).IgnoreError();
}

}  // namespace cowherd
