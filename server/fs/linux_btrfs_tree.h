#ifndef COWHERD_SERVER_FS_LINUX_BTRFS_TREE_H_
#define COWHERD_SERVER_FS_LINUX_BTRFS_TREE_H_

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace cowherd {

// Where an item is in a btrfs tree. Ordered as there.
struct BtrfsKey {
  uint64_t object = 0;
  uint32_t type = 0;
  uint64_t offset = 0;
  friend bool operator<(const BtrfsKey& a, const BtrfsKey& b) {
    if (a.object != b.object) return a.object < b.object;
    return a.type != b.type ? a.type < b.type : a.offset < b.offset;
  }
  friend bool operator==(const BtrfsKey& a, const BtrfsKey& b) {
    return a.object == b.object && a.type == b.type && a.offset == b.offset;
  }
};

// Reads the items of a btrfs filesystem's trees (BTRFS_IOC_TREE_SEARCH_V2, linux/btrfs.h; CAP_SYS_ADMIN).
// What follows an item is read with it and kept, up to some 16 MiB in all, since items that are asked for one
// after the other mostly lie together: most answers then need no call of the kernel. One thread.
class BtrfsTrees {
 public:
  // False: no more.
  using OnItem = absl::FunctionRef<bool(const BtrfsKey& key, absl::string_view item)>;

  // `fd`: any file or directory of the filesystem; stays the caller's.
  explicit BtrfsTrees(int fd);

  // Calls `item` for each item from key `from` to key `to`, in order. They may be as they were up to the last
  // Forget(). `item` must not read trees. Errors are ErrnoError.
  absl::Status Read(uint64_t tree, const BtrfsKey& from, const BtrfsKey& to, OnItem item);

  // The same, from the filesystem itself, for many items: nothing is kept. Passes over what lies in tree
  // nodes last written before generation `since`.
  absl::Status ReadMany(uint64_t tree, const BtrfsKey& from, const BtrfsKey& to, uint64_t since, OnItem item);

  // The filesystem was changed: read anew from now on.
  void Forget();

 private:
  // All items from one key to another, as the kernel gave them.
  struct Stretch {
    uint64_t tree = 0;
    BtrfsKey from;
    BtrfsKey through;
    std::vector<char> bytes;
    std::vector<std::pair<BtrfsKey, absl::string_view>> items;
    bool used_again = false;
  };
  using Place = std::pair<uint64_t, BtrfsKey>;

  // The stretch that holds `key`; read if need be.
  absl::Status Find(uint64_t tree, const BtrfsKey& key, const Stretch*& found);
  // Searches into `buffer` from there on, with at least one item if there is any. The number of items.
  absl::Status Search(uint64_t tree, const BtrfsKey& from, const BtrfsKey& to, uint64_t since, size_t& bytes,
                      std::vector<char>& buffer, uint32_t& count);

  const int fd_;
  size_t many_bytes_;             // that ReadMany reads at once
  std::vector<char> buffer_;      // of ReadMany
  std::list<Stretch> stretches_;  // last used first
  std::map<Place, std::list<Stretch>::iterator> by_place_;
  size_t kept_bytes_ = 0;
  std::map<uint64_t, size_t> read_bytes_;  // how much to read at once, by tree
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_FS_LINUX_BTRFS_TREE_H_
