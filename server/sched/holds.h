#ifndef COWHERD_SERVER_SCHED_HOLDS_H_
#define COWHERD_SERVER_SCHED_HOLDS_H_

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace cowherd {

// Somebody's word that work is to rest.
struct Hold {
  enum class Kind {
    // What runs is stopped, and nothing starts.
    kPause,
    // What runs goes on to its end, and nothing starts.
    kDrain,
  };
  Kind kind = Kind::kPause;
  // Who and why, for people. May be empty.
  std::string by;
  std::string reason;
  absl::Time since = absl::InfinitePast();
};

// "pause", "drain".
absl::string_view HoldName(Hold::Kind kind);

// For the store. DATA_LOSS "STORE_CORRUPT".
std::string SerializeHold(const Hold& hold);
absl::StatusOr<Hold> ParseHold(const std::string& name, const std::string& value);

// What rests, as the store has it. Pure state.
class Holds {
 public:
  // Names of what can rest, for the store.
  static std::string Cluster() { return "cluster"; }
  static std::string Node(const std::string& name) { return "node/" + name; }
  static std::string Job(const std::string& id) { return "job/" + id; }

  void Set(const std::string& name, Hold hold) { holds_[name] = std::move(hold); }
  void Lift(const std::string& name) { holds_.erase(name); }
  // Null: it does not rest.
  const Hold* Find(const std::string& name) const;
  const std::map<std::string, Hold>& all() const { return holds_; }

  // What holds for a node: its own hold or the cluster's, a pause before a drain. Null: neither.
  const Hold* OfNode(const std::string& node) const;

 private:
  std::map<std::string, Hold> holds_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_HOLDS_H_
