#include "server/scan/origin_map.h"

#include <algorithm>
#include <iterator>

namespace cowherd {

void OriginMap::Add(uint64_t address, uint64_t length, uint64_t origin) {
  if (length == 0) return;
  const auto next = places_.lower_bound(address);
  if (next != places_.end() && next->first < address + length) return;
  if (next != places_.begin()) {
    const auto last = std::prev(next);
    Place& place = last->second;
    if (last->first + place.length > address) return;
    if (last->first + place.length == address && place.origin + place.length == origin) {
      place.length += length;
      return;
    }
  }
  if (places_.size() < most_) places_.emplace_hint(next, address, Place{length, origin});
}

void OriginMap::Forget(absl::FunctionRef<bool(uint64_t origin, uint64_t length)> which) {
  for (auto place = places_.begin(); place != places_.end();) {
    place = which(place->second.origin, place->second.length) ? places_.erase(place) : std::next(place);
  }
}

std::vector<OriginMap::Piece> OriginMap::Find(uint64_t address, uint64_t length) const {
  std::vector<Piece> pieces;
  const uint64_t end = address + length;
  auto place = places_.upper_bound(address);
  if (place != places_.begin()) --place;
  for (; address < end && place != places_.end() && place->first < end; ++place) {
    const uint64_t place_end = place->first + place->second.length;
    if (place_end <= address) continue;
    if (place->first > address) {
      pieces.push_back({address, place->first - address, address});
      address = place->first;
    }
    const uint64_t piece = std::min(place_end, end) - address;
    pieces.push_back({address, piece, place->second.origin + (address - place->first)});
    address += piece;
  }
  if (address < end) pieces.push_back({address, end - address, address});
  return pieces;
}

}  // namespace cowherd
