#include "server/controller/health_watch.h"

#include <chrono>
#include <utility>

#include "server/base/log.h"

namespace cowherd {
namespace {

constexpr std::chrono::milliseconds kEvery(200);

}  // namespace

HealthWatch::HealthWatch(Serving& serving, Look look) : serving_(serving), look_(std::move(look)) {
  Tell();
  thread_.emplace(kEvery, [this] { Tell(); });
}

void HealthWatch::Tell() {
  for (const auto& [name, healthy] : look_()) {
    const auto told = told_.find(name);
    if (told != told_.end() && told->second == healthy) continue;
    if (told != told_.end()) {
      Log(healthy ? LogLevel::kInfo : LogLevel::kWarning, "health changed",
          {{"name", name}, {"serving", healthy}});
    }
    told_[name] = healthy;
    serving_.SetServing(name, healthy);
  }
}

}  // namespace cowherd
