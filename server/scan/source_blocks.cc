#include "server/scan/source_blocks.h"

#include <algorithm>
#include <utility>

#include "server/base/status.h"
#include "server/dedupe/sharing.h"

namespace cowherd {

absl::StatusOr<const OpenFile*> SourceBlocks::Open(const std::string& path) {
  const auto known =
      std::find_if(files_.begin(), files_.end(), [&](const File& f) { return f.path == path; });
  if (known != files_.end()) {
    files_.splice(files_.begin(), files_, known);
  } else {
    ASSIGN_OR_RETURN(OpenFile file, tree_.Open(path, /*for_destination=*/false));
    files_.push_front({path, std::move(file)});
    if (files_.size() > kMaxOpen) files_.pop_back();
  }
  return &files_.front().open;
}

Fingerprint SourceBlocks::At(const std::string& path, uint64_t block) {
  const uint64_t first = block / kChunkBlocks * kChunkBlocks;
  if (chunks_.empty() || chunks_.front().first_block != first || chunks_.front().path != path) {
    const auto known = std::find_if(chunks_.begin(), chunks_.end(), [&](const Chunk& chunk) {
      return chunk.first_block == first && chunk.path == path;
    });
    if (known != chunks_.end()) {
      chunks_.splice(chunks_.begin(), chunks_, known);
    } else {
      // A file that is gone or cannot be read matches nothing; the walk counts and logs such files.
      absl::StatusOr<std::vector<Fingerprint>> read = Read(path, first);
      chunks_.push_front(
          {path, first, read.ok() ? *std::move(read) : std::vector<Fingerprint>(kChunkBlocks)});
      if (chunks_.size() > kMaxChunks) chunks_.pop_back();
    }
  }
  return chunks_.front().fingerprints[block - first];
}

absl::StatusOr<std::vector<Fingerprint>> SourceBlocks::Read(const std::string& path, uint64_t first_block) {
  ASSIGN_OR_RETURN(const OpenFile* file, Open(path));
  ASSIGN_OR_RETURN(std::vector<FileExtent> extents,
                   AllExtents(ops_, file->fd.get(), first_block * block_size_, kChunkBlocks * block_size_,
                              /*flush=*/false));
  return source_.Fingerprints(file->fd.get(), extents, first_block, kChunkBlocks, bytes_read_);
}

uint64_t SourceBlocks::TakeBytesRead() { return std::exchange(bytes_read_, 0); }

}  // namespace cowherd
