#ifndef COWHERD_SERVER_SCAN_ORIGIN_MAP_H_
#define COWHERD_SERVER_SCAN_ORIGIN_MAP_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "absl/functional/function_ref.h"

namespace cowherd {

// Which places share with which others, by FileTable's addresses. A place that was found to be a duplicate is
// no good source for others: what it holds now goes, and its pages with it. The place that it shares with is.
// Pure. One thread.
class OriginMap {
 public:
  struct Piece {
    uint64_t address = 0;  // as asked for
    uint64_t length = 0;
    uint64_t origin = 0;  // where it is found; `address` itself if it shares with no other
  };

  // Of `budget` bytes; when that is used up, no more is remembered.
  explicit OriginMap(size_t budget) : most_(budget / kPlaceBytes) {}

  // [address, address + length) shares with the place at `origin`, which shares with no other. What overlaps
  // a place that is known is not remembered.
  void Add(uint64_t address, uint64_t length, uint64_t origin);

  // Forgets that places share with these.
  void Forget(absl::FunctionRef<bool(uint64_t origin, uint64_t length)> which);

  // In order, without gaps.
  std::vector<Piece> Find(uint64_t address, uint64_t length) const;

  size_t places() const { return places_.size(); }

 private:
  static constexpr size_t kPlaceBytes = 80;  // a node of the map, as malloc rounds it

  struct Place {
    uint64_t length = 0;
    uint64_t origin = 0;
  };

  const size_t most_;
  std::map<uint64_t, Place> places_;  // by address
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_ORIGIN_MAP_H_
