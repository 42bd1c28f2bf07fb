#ifndef COWHERD_SERVER_SCAN_STORAGE_SET_H_
#define COWHERD_SERVER_SCAN_STORAGE_SET_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

namespace cowherd {

// Ranges of storage, or of a file, [begin, end), merged where they touch. Pure. One thread.
class StorageSet {
 public:
  using Range = std::pair<uint64_t, uint64_t>;

  // Of `budget` bytes; when that is used up, what does not touch a range in the set is not added.
  explicit StorageSet(size_t budget) : most_(budget / kRangeBytes) {}

  void Add(uint64_t begin, uint64_t end);
  void Remove(uint64_t begin, uint64_t end);
  // The parts that are not in the set, ascending.
  std::vector<Range> Missing(uint64_t begin, uint64_t end) const;
  // How much of [begin, end) is in the set.
  uint64_t LengthWithin(uint64_t begin, uint64_t end) const;

  // Ascending: ends by begins.
  const std::map<uint64_t, uint64_t>& ranges() const { return ranges_; }

 private:
  static constexpr size_t kRangeBytes = 64;  // a node of the map, as malloc rounds it

  // The first range that ends behind `address`.
  std::map<uint64_t, uint64_t>::const_iterator FirstBehind(uint64_t address) const;

  const size_t most_;
  std::map<uint64_t, uint64_t> ranges_;  // end by begin
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_STORAGE_SET_H_
