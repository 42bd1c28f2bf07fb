#ifndef COWHERD_SERVER_SCHED_OPENINGS_H_
#define COWHERD_SERVER_SCHED_OPENINGS_H_

#include <map>
#include <set>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "server/sched/window.h"

namespace cowherd {

// Which of some things, jobs or nodes, are open by their windows. Pure state: told the time. What has no
// windows is not kept, and is open.
template <typename Key>
class Openings {
 public:
  // From now on it has these; none: it is always open.
  void Set(const Key& key, const std::vector<Window>& windows, absl::Time now) {
    Remove(key);
    if (windows.empty()) return;
    Entry& entry = entries_[key];
    entry.windows = windows;
    Look(key, entry, now);
  }
  void Remove(const Key& key) {
    const auto found = entries_.find(key);
    if (found == entries_.end()) return;
    due_.erase({found->second.state.until, key});
    entries_.erase(found);
  }

  // Those that opened or closed since they were looked at last, in the order of their changes.
  std::vector<Key> Update(absl::Time now) {
    // To a clock that went back, what was looked up ahead means nothing.
    if (now < last_) {
      due_.clear();
      for (auto& [key, entry] : entries_) {
        entry.state.until = absl::InfinitePast();
        due_.insert({entry.state.until, key});
      }
    }
    last_ = now;
    std::vector<Key> changed;
    while (!due_.empty() && due_.begin()->first <= now) {
      const Key key = due_.begin()->second;
      due_.erase(due_.begin());
      Entry& entry = entries_.at(key);
      const bool before = entry.state.open;
      Look(key, entry, now);
      if (entry.state.open != before) changed.push_back(key);
    }
    return changed;
  }
  // When to call Update again.
  absl::Time wake() const { return due_.empty() ? absl::InfiniteFuture() : due_.begin()->first; }

  // As it was looked at last.
  WindowState StateOf(const Key& key) const {
    const auto found = entries_.find(key);
    return found == entries_.end() ? WindowState() : found->second.state;
  }
  bool IsOpen(const Key& key) const { return StateOf(key).open; }

 private:
  struct Entry {
    std::vector<Window> windows;
    WindowState state;
  };

  void Look(const Key& key, Entry& entry, absl::Time now) {
    entry.state = StateAt(entry.windows, now);
    due_.insert({entry.state.until, key});
  }

  std::map<Key, Entry> entries_;
  std::set<std::pair<absl::Time, Key>> due_;
  absl::Time last_ = absl::InfinitePast();
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_OPENINGS_H_
