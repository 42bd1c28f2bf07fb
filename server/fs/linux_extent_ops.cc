#include "server/fs/linux_extent_ops.h"

#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <limits>
#include <memory>
#include <string>
#include <tuple>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/base/fd.h"
#include "server/base/status.h"
#include "server/fs/linux_filesystem_type.h"

namespace cowherd {
namespace {

constexpr size_t kExtentsPerCall = 256;
// A page: no swap file is smaller.
constexpr uint64_t kLeastSwap = 4096;
// Of more than kWholeLook bytes, this part of each step is looked at, now here, now there, since files are
// read in strides: to count the pages of 16 MiB takes the kernel as long as to compare 0.5 MiB.
constexpr uint64_t kWholeLook = 1 << 20;
constexpr uint64_t kLookStep = 512 << 10;
constexpr uint64_t kLookPart = kLookStep / 8;
constexpr size_t kScratch = 64 << 10;
constexpr uint64_t kProbeStep = 64 << 10;
// One call reads no more ahead than the device takes at once or the filesystem is set to (mm/readahead.c);
// that is 4 MiB on btrfs if nobody sets less (fs/btrfs/disk-io.c). The rest is read when it is waited for.
constexpr uint64_t kAdviseStep = 128 << 10;
constexpr uint64_t kAdviseStepOfBtrfs = 1 << 20;

// XFS_IOC_FSGEOMETRY, since Linux 5.2 (fs/xfs/libxfs/xfs_fs.h; xfsprogs' header is not asked for to build).
struct XfsGeometry {
  uint32_t to_imaxpct[8];
  uint64_t to_logstart[4];
  unsigned char uuid[16];
  uint32_t to_version[3];
  uint32_t flags;
  uint32_t to_checked[6];
  uint64_t reserved[17];
};
static_assert(sizeof(XfsGeometry) == 256, "the size is part of the ioctl's number");
constexpr unsigned long kXfsGetGeometry = _IOR('X', 126, XfsGeometry);
constexpr uint32_t kXfsReflink = 1u << 20;

std::string FormatUuid(const unsigned char* bytes) {
  const std::string hex = absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(bytes), 16));
  return absl::StrCat(hex.substr(0, 8), "-", hex.substr(8, 4), "-", hex.substr(12, 4), "-", hex.substr(16, 4),
                      "-", hex.substr(20));
}

// An ioctl that only asks. O_PATH descriptors are opened for it.
absl::Status Ask(int fd, unsigned long request, void* answer, absl::string_view doing) {
  if (::ioctl(fd, request, answer) == 0) return absl::OkStatus();
  if (errno != EBADF) return ErrnoError(errno, doing);
  const Fd opened(::open(absl::StrCat("/proc/self/fd/", fd).c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!opened.valid() || ::ioctl(opened.get(), request, answer) != 0) return ErrnoError(errno, doing);
  return absl::OkStatus();
}

uint64_t PageSize() {
  static const auto size = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

// Reads a byte if that needs no waiting. 1: it is cached. 0: the file ends here. -1: it is not cached, or no
// such look is possible.
ssize_t Probe(int fd, uint64_t offset) {
  char byte;
  const iovec vec = {&byte, 1};
  return ::preadv2(fd, &vec, 1, static_cast<off_t>(offset), RWF_NOWAIT);
}

// cachestat(2), Linux 6.5 (include/uapi/linux/mman.h; Debian bookworm's headers are older).
constexpr long kSysCachestat = 451;
struct CacheRange {
  uint64_t offset;
  uint64_t length;
};
struct CacheStat {
  uint64_t cached;
  uint64_t other[4];
};

// Bytes of the range that are in the page cache, or on their way there. -1: the kernel does not tell.
int64_t CachedBytes(int fd, uint64_t offset, uint64_t length) {
  CacheRange range = {offset, std::max<uint64_t>(length, 1)};
  CacheStat stat = {};
  // Not on older kernels, nor of files that this process neither owns nor may write.
  if (::syscall(kSysCachestat, fd, &range, &stat, 0) != 0) return -1;
  return static_cast<int64_t>(stat.cached * PageSize());
}

// The same of a part that stands for the whole; `looked_at`: how large it was.
int64_t CachedBytesOfParts(int fd, uint64_t offset, uint64_t length, uint64_t& looked_at) {
  if (length <= kWholeLook) {
    looked_at = std::max<uint64_t>(length, 1);
    return std::min(CachedBytes(fd, offset, length), static_cast<int64_t>(looked_at));
  }
  int64_t cached = 0;
  looked_at = 0;
  for (uint64_t done = 0; done < length; done += kLookStep) {
    const uint64_t step = std::min(length - done, kLookStep);
    const uint64_t part = std::min(step, kLookPart);
    // One of its eighths, by a hash of where it is.
    const uint64_t turn = ((offset + done) / kLookStep * 0x9e3779b97f4a7c15 >> 61) * kLookPart;
    const int64_t found = CachedBytes(fd, offset + done + std::min(turn, step - part), part);
    if (found < 0) return found;
    cached += std::min(found, static_cast<int64_t>(part));
    looked_at += part;
  }
  return cached;
}

// A part of a file in memory, from a page on. Random: the kernel reads nothing behind what is touched.
class Mapping {
 public:
  Mapping(int fd, uint64_t offset, uint64_t length)
      : length_(length), at_(::mmap(nullptr, length, PROT_READ, MAP_SHARED, fd, static_cast<off_t>(offset))) {
    if (at_ != MAP_FAILED) ::madvise(at_, length_, MADV_RANDOM);
  }
  ~Mapping() {
    if (at_ != MAP_FAILED) ::munmap(at_, length_);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  bool UseLargeFolios() { return at_ != MAP_FAILED && ::madvise(at_, length_, MADV_HUGEPAGE) == 0; }
  // Waits for so much of it. False: the file ends before. Unlike an access this is no SIGBUS then.
  bool Touch(uint64_t length) { return at_ != MAP_FAILED && ::madvise(at_, length, MADV_POPULATE_READ) == 0; }

 private:
  const uint64_t length_;
  void* const at_;
};

bool HasLargeFolios(int fd) {
  // btrfs reads single pages, as of 6.18.
  return LinuxExtentOps::KernelReadsLargeFolios() && IsOn(fd, XFS_SUPER_MAGIC);
}

// Reads one folio of this size, from a multiple of it on, and waits for it. Only a hint
// (mm/filemap.c: do_sync_mmap_readahead with VM_HUGEPAGE).
void ReadLargeFolio(int fd, uint64_t offset) {
  Mapping mapping(fd, offset, ExtentOps::kLargeFolio);
  if (mapping.UseLargeFolios()) mapping.Touch(1);
}

// The same range was begun. To read(2), the folio would be the beginning of more to be read. False: not all
// of it can be read.
bool AwaitLargeFolio(int fd, uint64_t offset) {
  return Mapping(fd, offset, ExtentOps::kLargeFolio).Touch(ExtentOps::kLargeFolio);
}

// All of it is on its way. False: nothing more to read here.
bool AwaitReading(int fd, uint64_t offset, uint64_t length) {
  for (const uint64_t end = offset + length; offset < end;) {
    offset = std::min(end, offset + kAdviseStep);
    char byte;
    if (::pread(fd, &byte, 1, static_cast<off_t>(offset - 1)) <= 0) return false;
  }
  return true;
}

// False: nothing more to read here.
bool ReadThrough(int fd, uint64_t offset, uint64_t length) {
  // All pieces land in the same small place: only the page cache matters.
  char scratch[kScratch];
  std::array<iovec, ExtentOps::kLargeFolio / kScratch> pieces;
  while (length > 0) {
    size_t count = 0;
    for (uint64_t left = length; left > 0 && count < pieces.size(); ++count) {
      pieces[count] = {scratch, std::min<size_t>(left, kScratch)};
      left -= pieces[count].iov_len;
    }
    const ssize_t got = ::preadv(fd, pieces.data(), static_cast<int>(count), static_cast<off_t>(offset));
    if (got <= 0) return false;
    offset += static_cast<uint64_t>(got);
    length -= static_cast<uint64_t>(got);
  }
  return true;
}

}  // namespace

absl::StatusOr<std::vector<DedupeAnswer>> LinuxExtentOps::Dedupe(int source, uint64_t offset, uint64_t length,
                                                                 absl::Span<const DedupeTarget> targets) {
  if (targets.size() > kMaxDedupeTargets) return ErrnoError(ENOMEM, "FIDEDUPERANGE");
  union {
    file_dedupe_range range;
    char page[sizeof(file_dedupe_range) + kMaxDedupeTargets * sizeof(file_dedupe_range_info)];
  } argument = {};
  file_dedupe_range& range = argument.range;
  range.src_offset = offset;
  range.src_length = length;
  range.dest_count = static_cast<uint16_t>(targets.size());
  for (size_t i = 0; i < targets.size(); ++i) {
    range.info[i].dest_fd = targets[i].fd;
    range.info[i].dest_offset = targets[i].offset;
  }
  if (::ioctl(source, FIDEDUPERANGE, &range) != 0) return ErrnoError(errno, "FIDEDUPERANGE");

  std::vector<DedupeAnswer> answers(targets.size());
  for (size_t i = 0; i < targets.size(); ++i) {
    const file_dedupe_range_info& info = range.info[i];
    if (info.status == FILE_DEDUPE_RANGE_SAME) {
      answers[i] = {DedupeAnswer::Kind::kSame, info.bytes_deduped, 0};
    } else if (info.status == FILE_DEDUPE_RANGE_DIFFERS) {
      answers[i] = {DedupeAnswer::Kind::kDiffers, 0, 0};
    } else {
      answers[i] = {DedupeAnswer::Kind::kError, 0, -info.status};
    }
  }
  return answers;
}

absl::StatusOr<ExtentList> LinuxExtentOps::Extents(int fd, uint64_t offset, uint64_t length, size_t max,
                                                   bool flush) {
  const uint64_t end = offset + std::min(length, std::numeric_limits<uint64_t>::max() - offset);
  const size_t batch = std::min(max, kExtentsPerCall);
  const size_t size = sizeof(fiemap) + batch * sizeof(fiemap_extent);
  const std::unique_ptr<char[]> memory(new char[size]);

  ExtentList list;
  uint64_t next = offset;
  while (next < end) {
    std::fill_n(memory.get(), size, 0);
    fiemap* map = reinterpret_cast<fiemap*>(memory.get());
    map->fm_start = next;
    map->fm_length = end - next;
    map->fm_flags = flush && next == offset ? FIEMAP_FLAG_SYNC : 0;
    map->fm_extent_count = static_cast<uint32_t>(std::min(batch, max - list.extents.size()));
    if (::ioctl(fd, FS_IOC_FIEMAP, map) != 0) return ErrnoError(errno, "FIEMAP");
    for (uint32_t i = 0; i < map->fm_mapped_extents; ++i) {
      const fiemap_extent& from = map->fm_extents[i];
      FileExtent to;
      to.offset = from.fe_logical;
      to.length = from.fe_length;
      to.physical = from.fe_physical;
      to.shared = (from.fe_flags & FIEMAP_EXTENT_SHARED) != 0;
      to.inline_data = (from.fe_flags & FIEMAP_EXTENT_DATA_INLINE) != 0;
      to.unwritten = (from.fe_flags & FIEMAP_EXTENT_UNWRITTEN) != 0;
      to.encoded = (from.fe_flags & (FIEMAP_EXTENT_ENCODED | FIEMAP_EXTENT_DATA_ENCRYPTED)) != 0;
      to.delayed = (from.fe_flags & (FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_UNKNOWN)) != 0;
      list.extents.push_back(to);
      if ((from.fe_flags & FIEMAP_EXTENT_LAST) != 0) return list;
    }
    if (map->fm_mapped_extents == 0) return list;
    next = list.extents.back().offset + list.extents.back().length;
    if (list.extents.size() >= max && next < end) {
      list.next_offset = next;
      return list;
    }
  }
  return list;
}

// No call tells but one that would share: a block with itself, which is EINVAL, or ETXTBSY before that
// (generic_remap_file_range_prep in fs/remap_range.c).
bool LinuxExtentOps::IsSwap(int fd) {
  const absl::StatusOr<std::vector<DedupeAnswer>> answers = Dedupe(fd, 0, kLeastSwap, {{fd, 0}});
  return answers.ok() && answers->front().error == ETXTBSY;
}

absl::StatusOr<FsFacts> LinuxExtentOps::Facts(int fd) {
  struct statfs fs;
  if (::fstatfs(fd, &fs) != 0) return ErrnoError(errno, "fstatfs");
  FsFacts facts;
  facts.size_bytes = static_cast<uint64_t>(fs.f_blocks) * fs.f_frsize;
  facts.free_bytes = static_cast<uint64_t>(fs.f_bfree) * fs.f_frsize;
  facts.block_size = static_cast<uint32_t>(fs.f_bsize);
  facts.read_only = (fs.f_flags & ST_RDONLY) != 0;
  facts.noatime = (fs.f_flags & ST_NOATIME) != 0;

  if (fs.f_type == BTRFS_SUPER_MAGIC) {
    btrfs_ioctl_fs_info_args info = {};
    RETURN_IF_ERROR(Ask(fd, BTRFS_IOC_FS_INFO, &info, "BTRFS_IOC_FS_INFO"));
    facts.type = "btrfs";
    facts.uuid = FormatUuid(info.fsid);
    // Device and f_fsid differ between its subvolumes.
    facts.identity = absl::StrCat("btrfs:", facts.uuid);
    facts.dedupe_supported = true;
    return facts;
  }

  struct stat stat;
  if (::fstat(fd, &stat) != 0) return ErrnoError(errno, "fstat");
  facts.identity = absl::StrFormat("%x:%x:%x", stat.st_dev, static_cast<uint32_t>(fs.f_fsid.__val[0]),
                                   static_cast<uint32_t>(fs.f_fsid.__val[1]));
  if (fs.f_type == XFS_SUPER_MAGIC) {
    XfsGeometry geometry = {};
    RETURN_IF_ERROR(Ask(fd, kXfsGetGeometry, &geometry, "XFS_IOC_FSGEOMETRY"));
    facts.type = "xfs";
    facts.uuid = FormatUuid(geometry.uuid);
    facts.dedupe_supported = (geometry.flags & kXfsReflink) != 0;
  } else {
    facts.type = absl::StrFormat("0x%x", static_cast<uint32_t>(fs.f_type));
  }
  return facts;
}

bool LinuxExtentOps::KernelReadsLargeFolios() {
  static const bool reads = [] {
    utsname name = {};
    int major = 0;
    int minor = 0;
    if (::uname(&name) != 0 || std::sscanf(name.release, "%d.%d", &major, &minor) != 2) return false;
    uint64_t size = 0;
    std::ifstream("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size") >> size;
    std::string modes;
    std::getline(std::ifstream("/sys/kernel/mm/transparent_hugepage/enabled"), modes);
    return std::tie(major, minor) >= std::make_tuple(5, 18) && size == kLargeFolio &&
           !absl::StrContains(modes, "[never]");
  }();
  return reads;
}

void LinuxExtentOps::Prefetch(int fd, uint64_t offset, uint64_t length) {
  const bool large_folios = length >= kLargeFolio && HasLargeFolios(fd);
  if (!large_folios && CachedBytes(fd, offset, 1) < 0) {
    // The kernel does not tell: one page is looked at for each step, up to the first that is not cached.
    while (length > 0 && Probe(fd, offset) > 0) {
      const uint64_t step = std::min(length, kProbeStep);
      offset += step;
      length -= step;
    }
  }
  for (uint64_t step; length > 0; length -= step, offset += step) {
    step = std::min(length, ToNextLargeFolio(offset));
    const auto is_begun = [&] { return CachedBytes(fd, offset, step) >= static_cast<int64_t>(step); };
    bool begun = is_begun();
    if (!begun) {
      StartReading(fd, offset, step);
      begun = is_begun();
    }
    if (large_folios && step == kLargeFolio && AwaitLargeFolio(fd, offset)) continue;
    if (!(begun ? AwaitReading(fd, offset, step) : ReadThrough(fd, offset, step))) return;
  }
}

void LinuxExtentOps::StartReading(int fd, uint64_t offset, uint64_t length) {
  const uint64_t first = ToNextLargeFolio(offset) % kLargeFolio;
  if (length >= kLargeFolio && first <= length - kLargeFolio && HasLargeFolios(fd)) {
    for (uint64_t at = first; length - at >= kLargeFolio; at += kLargeFolio) ReadLargeFolio(fd, offset + at);
  }
  // What is there is passed over.
  const bool btrfs = length > kAdviseStep && IsOn(fd, BTRFS_SUPER_MAGIC);
  const uint64_t most = btrfs ? kAdviseStepOfBtrfs : kAdviseStep;
  for (uint64_t done = 0; done < length; done += most) {
    const uint64_t step = std::min(length - done, most);
    ::posix_fadvise(fd, static_cast<off_t>(offset + done), static_cast<off_t>(step), POSIX_FADV_WILLNEED);
  }
}

CachedPart LinuxExtentOps::Cached(int fd, uint64_t offset, uint64_t length) {
  uint64_t looked_at = 0;
  const int64_t cached = CachedBytesOfParts(fd, offset, length, looked_at);
  if (cached < 0) {
    // A look at the beginning, the middle and the end.
    const uint64_t last = length == 0 ? 0 : length - 1;
    const bool found =
        Probe(fd, offset) > 0 && Probe(fd, offset + last / 2) > 0 && Probe(fd, offset + last) > 0;
    if (!found) return CachedPart::kLittle;
    return length <= 1 ? CachedPart::kAll : CachedPart::kMost;
  }
  if (cached == static_cast<int64_t>(looked_at)) return CachedPart::kAll;
  return cached > 0 && cached * 2 >= static_cast<int64_t>(looked_at) ? CachedPart::kMost
                                                                     : CachedPart::kLittle;
}

void LinuxExtentOps::Forget(int fd, uint64_t offset, uint64_t length) {
  ::posix_fadvise(fd, static_cast<off_t>(offset), static_cast<off_t>(length), POSIX_FADV_DONTNEED);
}

absl::Status LinuxExtentOps::Commit(int fd) {
  if (::syncfs(fd) != 0) return ErrnoError(errno, "syncfs");
  return absl::OkStatus();
}

}  // namespace cowherd
