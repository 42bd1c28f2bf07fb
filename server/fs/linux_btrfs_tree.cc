#include "server/fs/linux_btrfs_tree.h"

#include <linux/btrfs.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>

#include "server/base/status.h"

namespace cowherd {
namespace {

// The kernel clears or touches what it is given, all of it: small where little of it is used.
constexpr size_t kLeastBytes = 4 << 10;
constexpr size_t kMostBytes = 64 << 10;
constexpr size_t kManyBytes = 1 << 20;
constexpr size_t kMaxKeptBytes = 16 << 20;
constexpr size_t kArguments = sizeof(btrfs_ioctl_search_args_v2);
constexpr BtrfsKey kLastKey = {UINT64_MAX, UINT32_MAX, UINT64_MAX};

BtrfsKey KeyOf(const btrfs_ioctl_search_header& header) {
  return {header.objectid, header.type, header.offset};
}

BtrfsKey After(BtrfsKey key) {
  if (++key.offset == 0 && ++key.type == 0) ++key.object;
  return key;
}

// Calls `item` for each item that the kernel left in the buffer, until it returns false.
template <typename Item>
bool ForEach(const std::vector<char>& buffer, uint32_t count, Item item) {
  const char* at = buffer.data() + kArguments;
  for (uint32_t i = 0; i < count; ++i) {
    btrfs_ioctl_search_header header;
    std::memcpy(&header, at, sizeof(header));
    at += sizeof(header);
    if (!item(KeyOf(header), absl::string_view(at, header.len))) return false;
    at += header.len;
  }
  return true;
}

}  // namespace

BtrfsTrees::BtrfsTrees(int fd) : fd_(fd), many_bytes_(kMostBytes) {}

absl::Status BtrfsTrees::Read(uint64_t tree, const BtrfsKey& from, const BtrfsKey& to, OnItem item) {
  for (BtrfsKey next = from; !(to < next);) {
    const Stretch* stretch = nullptr;
    RETURN_IF_ERROR(Find(tree, next, stretch));
    auto entry = std::lower_bound(stretch->items.begin(), stretch->items.end(), next,
                                  [](const auto& entry, const BtrfsKey& key) { return entry.first < key; });
    for (; entry != stretch->items.end(); ++entry) {
      if (to < entry->first || !item(entry->first, entry->second)) return absl::OkStatus();
    }
    if (stretch->through == kLastKey) break;
    next = After(stretch->through);
  }
  return absl::OkStatus();
}

absl::Status BtrfsTrees::ReadMany(uint64_t tree, const BtrfsKey& from, const BtrfsKey& to, uint64_t since,
                                  OnItem item) {
  for (BtrfsKey next = from;;) {
    uint32_t count = 0;
    RETURN_IF_ERROR(Search(tree, next, to, since, many_bytes_, buffer_, count));
    if (count == 0) return absl::OkStatus();
    // Where all is told by the first call, less memory has to be cleared.
    many_bytes_ = std::min(kManyBytes, many_bytes_ * 2);
    const bool all = ForEach(buffer_, count, [&](const BtrfsKey& key, absl::string_view data) {
      next = key;
      return item(key, data);
    });
    if (!all) return absl::OkStatus();
    next = After(next);
  }
}

void BtrfsTrees::Forget() {
  stretches_.clear();
  by_place_.clear();
  kept_bytes_ = 0;
}

absl::Status BtrfsTrees::Find(uint64_t tree, const BtrfsKey& key, const Stretch*& found) {
  const auto after = by_place_.upper_bound({tree, key});
  if (after != by_place_.begin()) {
    const auto before = std::prev(after)->second;
    if (before->tree == tree && !(before->through < key)) {
      stretches_.splice(stretches_.begin(), stretches_, before);
      before->used_again = true;
      found = &*before;
      return absl::OkStatus();
    }
  }
  // As much at once as lately was of use.
  size_t& bytes = read_bytes_[tree];
  const auto latest = std::find_if(stretches_.begin(), stretches_.end(),
                                   [tree](const Stretch& stretch) { return stretch.tree == tree; });
  if (latest != stretches_.end() && latest->used_again) bytes *= 2;
  if (latest != stretches_.end() && !latest->used_again) bytes /= 2;
  bytes = std::max(kLeastBytes, std::min(kMostBytes, bytes));

  Stretch stretch;
  stretch.tree = tree;
  stretch.from = key;
  uint32_t count = 0;
  RETURN_IF_ERROR(Search(tree, key, kLastKey, 0, bytes, stretch.bytes, count));
  stretch.through = count == 0 ? kLastKey : key;
  stretch.items.reserve(count);
  ForEach(stretch.bytes, count, [&](const BtrfsKey& item_key, absl::string_view data) {
    stretch.items.emplace_back(item_key, data);
    stretch.through = item_key;
    return true;
  });
  kept_bytes_ += stretch.bytes.size();
  stretches_.push_front(std::move(stretch));
  by_place_[{tree, key}] = stretches_.begin();
  while (kept_bytes_ > kMaxKeptBytes && stretches_.size() > 1) {
    const Stretch& oldest = stretches_.back();
    kept_bytes_ -= oldest.bytes.size();
    by_place_.erase({oldest.tree, oldest.from});
    stretches_.pop_back();
  }
  found = &stretches_.front();
  return absl::OkStatus();
}

absl::Status BtrfsTrees::Search(uint64_t tree, const BtrfsKey& from, const BtrfsKey& to, uint64_t since,
                                size_t& bytes, std::vector<char>& buffer, uint32_t& count) {
  while (true) {
    buffer.resize(kArguments + bytes);
    auto* arguments = reinterpret_cast<btrfs_ioctl_search_args_v2*>(buffer.data());
    arguments->key = {};
    arguments->key.tree_id = tree;
    arguments->key.min_objectid = from.object;
    arguments->key.min_type = from.type;
    arguments->key.min_offset = from.offset;
    arguments->key.max_objectid = to.object;
    arguments->key.max_type = to.type;
    arguments->key.max_offset = to.offset;
    arguments->key.min_transid = since;
    arguments->key.max_transid = UINT64_MAX;
    arguments->key.nr_items = UINT32_MAX;
    arguments->buf_size = bytes;
    if (::ioctl(fd_, BTRFS_IOC_TREE_SEARCH_V2, arguments) == 0) {
      count = arguments->key.nr_items;
      return absl::OkStatus();
    }
    // The first item alone is larger.
    if (errno != EOVERFLOW || bytes >= kManyBytes) return ErrnoError(errno, "BTRFS_IOC_TREE_SEARCH_V2");
    bytes *= 4;
  }
}

}  // namespace cowherd
