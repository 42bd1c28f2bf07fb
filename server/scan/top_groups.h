#ifndef COWHERD_SERVER_SCAN_TOP_GROUPS_H_
#define COWHERD_SERVER_SCAN_TOP_GROUPS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/container/node_hash_map.h"
#include "server/scan/scan_types.h"

namespace cowherd {

// Places that are equal to one range.
struct DuplicateGroup {
  struct Place {
    std::string path;
    uint64_t offset = 0;
  };
  std::string source_path;
  uint64_t source_offset = 0;
  uint64_t length = 0;
  uint64_t copies = 0;              // places, at least
  uint64_t freeable = 0;            // space that goes free, at least
  std::vector<Place> destinations;  // the first of the places
};

// Scans find long duplicates piece by piece: pieces that follow each other in both files are one. The groups
// that free most, of any number of duplicates, in fixed memory: so many groups are counted at a time, and a
// new one takes the place of the least (Metwally et al., "Space-Saving", 2005). A group that makes up more
// than 1/kCounted of all that goes free is never missed. Pure. One thread.
class TopGroups {
 public:
  static constexpr size_t kCounted = 1024;
  static constexpr size_t kNamed = 3;  // destinations of a group

  void Add(const Duplicate& duplicate);

  // The largest first, at most `max`. What was added last is at its end.
  std::vector<DuplicateGroup> Largest(size_t max);

 private:
  using Key = std::tuple<std::string, uint64_t, uint64_t>;  // path, offset, length
  struct Count {
    uint64_t begun = 0;  // number of this count
    uint64_t copies = 0;
    uint64_t freeable = 0;  // since it is counted
    uint64_t missed = 0;    // before that, at most
    std::vector<DuplicateGroup::Place> destinations;
  };
  using Counts = absl::node_hash_map<Key, Count>;
  using Weight = std::tuple<uint64_t, uint64_t, Counts::pointer>;  // what it may free at most, begun

  static Weight WeightOf(Counts::reference counted);

  // Counts the run in hand.
  void EndRun();

  Duplicate run_;  // pieces that follow each other; length 0: none
  Counts counts_;
  uint64_t begun_ = 0;
  absl::btree_set<Weight> by_weight_;  // all of counts_
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_TOP_GROUPS_H_
