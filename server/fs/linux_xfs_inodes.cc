#include "server/fs/linux_xfs_inodes.h"

#include <sys/ioctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <vector>

#include "server/base/on_threads.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

// fs/xfs/libxfs/xfs_fs.h, which no header of the kernel's API has: struct xfs_bulk_ireq, struct xfs_bulkstat.
struct BulkRequest {
  uint64_t inode;  // the first to tell; then the first that was not told
  uint32_t flags;
  uint32_t room;  // records
  uint32_t told;  // records
  uint32_t group;
  uint64_t reserved[5];
};
struct BulkInode {
  uint64_t inode;
  uint64_t size;
  uint64_t blocks;
  uint64_t xflags;
  int64_t accessed;
  int64_t modified;
  int64_t changed;
  int64_t born;
  uint32_t generation;
  uint32_t user;
  uint32_t owner_group;
  uint32_t project;
  uint32_t accessed_ns;
  uint32_t modified_ns;
  uint32_t changed_ns;
  uint32_t born_ns;
  uint32_t block_size;
  uint32_t device;
  uint32_t cow_extent_hint;
  uint32_t extent_hint;
  uint32_t links;
  uint32_t extents;
  uint32_t attribute_extents;
  uint16_t version;
  uint16_t fork_offset;
  uint16_t sick;
  uint16_t checked;
  uint16_t mode;
  uint16_t padding;
  uint64_t extents64;
  uint64_t reserved[6];
};
static_assert(sizeof(BulkRequest) == 64 && sizeof(BulkInode) == 192, "as the kernel counts them");
constexpr unsigned long kBulkStat = _IOR('X', 127, BulkRequest);

// The answer follows the request.
struct Call {
  static constexpr uint32_t kMost = 1024;
  BulkRequest request;
  BulkInode inodes[kMost];
};

constexpr size_t kThreads = 2;
constexpr size_t kEnoughForThreads = 1024;

FileFacts FactsOf(const BulkInode& inode) {
  FileFacts facts;
  facts.inode = inode.inode;
  facts.size = inode.size;
  facts.links = inode.links;
  facts.modified_ns = Nanoseconds(inode.modified, inode.modified_ns);
  facts.changed_ns = Nanoseconds(inode.changed, inode.changed_ns);
  return facts;
}

// Those of [begin, end) of the numbers.
absl::Status LookUp(int fd, absl::Span<const uint64_t> ascending, size_t begin, size_t end, const Stop& stop,
                    absl::FunctionRef<void(size_t, const FileFacts&)> found) {
  const auto call = std::make_unique<Call>();
  // Others may lie between those asked for: how many are told at once goes by how many of the last were not
  // in vain.
  uint32_t room = 64;
  for (size_t next = begin; next < end;) {
    RETURN_IF_ERROR(stop.Check());
    call->request = {};
    call->request.inode = ascending[next];
    call->request.room =
        static_cast<uint32_t>(std::min<uint64_t>(room, ascending[end - 1] - ascending[next] + 1));
    if (::ioctl(fd, kBulkStat, call.get()) != 0) return ErrnoError(errno, "look up inodes");
    const uint32_t told = call->request.told;
    uint32_t wanted = 0;
    for (uint32_t i = 0; i < told; ++i) {
      const BulkInode& inode = call->inodes[i];
      while (next < end && ascending[next] < inode.inode) ++next;
      for (; next < end && ascending[next] == inode.inode; ++next) {
        if (S_ISREG(inode.mode)) found(next, FactsOf(inode));
        ++wanted;
      }
    }
    if (told < call->request.room) break;
    // Those that are not there.
    while (next < end && ascending[next] < call->request.inode) ++next;
    room = wanted * 2 >= told ? std::min(room * 2, Call::kMost) : std::max(room / 2, 1U);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status LookUpXfsInodes(int fd, absl::Span<const uint64_t> ascending, const Stop& stop,
                             absl::FunctionRef<void(size_t, const FileFacts&)> found) {
  const size_t first = std::upper_bound(ascending.begin(), ascending.end(), 0) - ascending.begin();
  const size_t count = ascending.size() - first;
  const size_t threads = count < kEnoughForThreads ? 1 : kThreads;
  std::vector<absl::Status> ended(threads);
  OnThreads(threads, [&](size_t part) {
    ended[part] = LookUp(fd, ascending, first + count * part / threads, first + count * (part + 1) / threads,
                         stop, found);
  });
  for (const absl::Status& status : ended) RETURN_IF_ERROR(status);
  return absl::OkStatus();
}

}  // namespace cowherd
