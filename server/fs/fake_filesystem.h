#ifndef COWHERD_SERVER_FS_FAKE_FILESYSTEM_H_
#define COWHERD_SERVER_FS_FAKE_FILESYSTEM_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/base/fd.h"
#include "server/fs/extent_ops.h"
#include "server/fs/file_tree.h"

namespace cowherd {

// One filesystem in memory that shares blocks of 4 KiB as the kernel does, quirks included; for tests, needs
// no root. Files are memfds, so that pread and fstat on what Open gives are real. Paths are absolute local
// paths: a root with local_path "/data" holds the file "/data/a/b". Building calls make the directories on
// the way, replace what is there as a new inode, and abort on misuse. Any thread.
class FakeFilesystem final : public ExtentOps, public FileTrees {
 public:
  static constexpr uint64_t kBlockSize = 4096;

  // One call of Dedupe as it arrived. Paths are those at the time of opening.
  struct DedupeCall {
    std::string source;
    uint64_t offset = 0;
    uint64_t length = 0;
    std::vector<std::pair<std::string, uint64_t>> targets;
  };

  enum class Operation {
    kOpenRoot,
    kOpen,
    kList,
    kDedupeSource,
    kDedupeTarget,
    kExtents,
    kFacts,
    kCommit,
    kStorageMap
  };

  explicit FakeFilesystem(uint64_t size_bytes = uint64_t{16} << 30);
  ~FakeFilesystem() override;

  // Building. Content is stored in blocks of its own.
  void AddFile(const std::string& path, absl::string_view content);
  void AddDirectory(const std::string& path);
  void AddLink(const std::string& path, const std::string& existing);
  void AddSymlink(const std::string& path);
  void AddFifo(const std::string& path);
  // A directory on another filesystem.
  void AddMountPoint(const std::string& path);
  // Takes away the name, with what is below. The blocks go with the last name, as after the last close.
  void Remove(const std::string& path);
  // Writes to new blocks; may grow the file, leaving a hole before `offset`.
  void Write(const std::string& path, uint64_t offset, absl::string_view content);
  void Truncate(const std::string& path, uint64_t size);
  // Whole blocks. What is there becomes a hole, or storage reserved and never written.
  void PunchHole(const std::string& path, uint64_t offset, uint64_t length);
  void Preallocate(const std::string& path, uint64_t offset, uint64_t length);
  // From now on, files added with at most so many bytes are kept in metadata. 0, as at first: none.
  void KeepInline(uint64_t max_bytes);

  // From now on, `operation` on `path` fails with `error`; 0 ends that. kFacts and kCommit: the directory's
  // or file's path that was opened. kStorageMap: the root's; else EOPNOTSUPP.
  void Fail(Operation operation, const std::string& path, int error);
  // From now on, no answer of kSame covers more than `bytes`, rounded down to blocks.
  void LimitProgress(uint64_t bytes);
  // Runs before each Dedupe is looked at, without locks: it may change this filesystem.
  void BeforeDedupe(std::function<void(const DedupeCall&)> callback);
  void SetReadOnly(bool read_only);
  // What Facts tells from now on.
  void SetDedupeSupported(bool supported);
  // What Cached tells of every range from now on; kAll at first.
  void SetCached(CachedPart cached);
  // Whether the kernel swaps to the file from now on.
  void SetSwap(const std::string& path, bool swap = true);
  // The inode number that directories tell for `path`; else they tell none.
  void TellInode(const std::string& path, uint64_t inode);

  // Seeing what happened.
  std::string Content(const std::string& path) const;
  std::vector<DedupeCall> dedupe_calls() const;
  uint64_t prefetched_bytes() const;
  int commits() const;
  // Bytes of the two ranges that lie on the same storage, block for block; holes and inline data do not
  // count.
  uint64_t SharedBytes(const std::string& a, uint64_t a_offset, const std::string& b, uint64_t b_offset,
                       uint64_t length) const;

  // ExtentOps. Blocks that lost their last reference count as free only after Commit, as on btrfs.
  absl::StatusOr<std::vector<DedupeAnswer>> Dedupe(int source, uint64_t offset, uint64_t length,
                                                   absl::Span<const DedupeTarget> targets) override;
  absl::StatusOr<ExtentList> Extents(int fd, uint64_t offset, uint64_t length, size_t max,
                                     bool flush) override;
  bool IsSwap(int fd) override;
  absl::StatusOr<FsFacts> Facts(int fd) override;
  void Prefetch(int fd, uint64_t offset, uint64_t length) override;
  void StartReading(int, uint64_t, uint64_t) override {}
  CachedPart Cached(int fd, uint64_t offset, uint64_t length) override;
  void Forget(int, uint64_t, uint64_t) override {}
  absl::Status Commit(int fd) override;

  // FileTrees.
  absl::StatusOr<std::unique_ptr<FileTree>> OpenRoot(const Root& root) override;

 private:
  class Tree;
  struct Node;
  struct Block {
    uint64_t address = 0;  // number of the storage block; 0: a hole
    bool unwritten = false;
  };

  // All of these need mutex_.
  void Insert(const std::string& path, std::shared_ptr<Node> node);
  void MakeParents(const std::string& path);
  std::shared_ptr<Node> At(const std::string& path) const;  // null: nothing there
  Node& FileAt(const std::string& path) const;
  Node* NodeOf(int fd) const;  // null: not of this filesystem
  int FailureOf(Operation operation, const std::string& path) const;
  void WriteLocked(Node& node, uint64_t offset, absl::string_view content);
  void Resize(Node& node, uint64_t size);
  void SetBlock(Node& node, uint64_t index, Block block);  // takes over one reference to it
  Block NewBlock(bool unwritten);
  void Drop(uint64_t address);
  static bool SameBytes(const Node& a, uint64_t a_offset, const Node& b, uint64_t b_offset, uint64_t length);
  // What was written to it since, as to a scratch file, takes blocks.
  void Store(Node& node);
  DedupeAnswer DedupeOne(Node& source, uint64_t offset, uint64_t length, const DedupeTarget& target);
  static FileFacts FactsOf(const Node& node);
  absl::StatusOr<OpenFile> Open(const std::string& root, absl::string_view relative);
  absl::StatusOr<std::vector<DirEntry>> List(const std::string& root, absl::string_view relative);
  // Its blocks stay when it is closed.
  absl::StatusOr<Fd> MakeScratch();
  // Walks from `root`; an error as openat2 gives it.
  absl::StatusOr<std::shared_ptr<Node>> Walk(const std::string& root, absl::string_view relative,
                                             absl::string_view doing) const;

  const uint64_t size_bytes_;
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Node>> names_;
  std::map<std::pair<uint64_t, uint64_t>, std::shared_ptr<Node>> nodes_;  // by device and inode; for ever
  std::map<uint64_t, uint64_t> references_;                               // by block address
  std::map<std::pair<Operation, std::string>, int> failures_;
  std::map<std::string, uint64_t> told_inodes_;
  std::function<void(const DedupeCall&)> before_dedupe_;
  std::vector<DedupeCall> dedupe_calls_;
  uint64_t next_address_ = 1;
  uint64_t dropped_uncommitted_ = 0;  // blocks
  uint64_t max_progress_;
  uint64_t inline_limit_ = 0;
  uint64_t prefetched_bytes_ = 0;
  CachedPart cached_ = CachedPart::kAll;
  int commits_ = 0;
  bool read_only_ = false;
  bool dedupe_supported_ = true;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_FS_FAKE_FILESYSTEM_H_
