#include "tests/kernel/space_model.h"

#include <xxhash.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

// Of a block of an extent. 0: no file refers to it.
using Content = uint64_t;

class Model {
 public:
  Model(StorageMap& map, std::string directory, uint64_t freed_per_moved)
      : map_(map),
        directory_(std::move(directory)),
        freed_per_moved_(freed_per_moved),
        block_(map.block_size()) {}

  absl::StatusOr<SpaceModel> Run() {
    for (uint64_t from = 0;;) {
      ASSIGN_OR_RETURN(const StorageExtents found, map_.Extents(from, 1024, 0));
      for (const StorageExtent& extent : found.extents) {
        space_.used += extent.length;
        ASSIGN_OR_RETURN(const std::vector<Reference> references, map_.References(extent));
        const auto any = [&](bool Reference::*flag) {
          return std::any_of(references.begin(), references.end(),
                             [flag](const Reference& r) { return r.*flag; });
        };
        if (any(&Reference::unwritten)) continue;
        RETURN_IF_ERROR(any(&Reference::encoded) ? AddEncoded(extent, references)
                                                 : AddPlain(extent, references));
      }
      if (found.next == 0) return space_;
      from = found.next;
    }
  }

 private:
  absl::Status AddPlain(const StorageExtent& extent, const std::vector<Reference>& references) {
    std::vector<Content> blocks(extent.length / block_);
    for (const Reference& r : references) {
      ASSIGN_OR_RETURN(const std::string* bytes, BytesOf(r.file));
      for (uint64_t at = 0; at < r.length && r.offset + at < bytes->size(); at += block_) {
        const size_t length = std::min<size_t>(block_, bytes->size() - r.offset - at);
        // A tail is a duplicate only of a tail of the same length.
        Content content = XXH3_64bits_withSeed(bytes->data() + r.offset + at, length, length);
        Content& block = blocks[(r.extent_offset + at) / block_];
        // Files of different sizes may end within it: taken as unlike any other.
        if (block != 0 && block != content) content = extent.address + r.extent_offset + at;
        block = content;
      }
    }
    uint64_t unique = 0;
    uint64_t in_runs = 0;
    uint64_t single = 0;
    extents_.push_back(blocks);
    for (size_t i = 0; i < blocks.size(); ++i) {
      if (blocks[i] == 0) continue;
      std::vector<std::pair<size_t, size_t>>& places = places_[blocks[i]];
      if (places.empty()) {
        ++unique;
      } else {
        ++(InRun(blocks, i) ? in_runs : single);
      }
      places.emplace_back(extents_.size() - 1, i);
    }
    space_.duplicate += (in_runs + single) * block_;
    space_.single += single * block_;
    const uint64_t moved = (unique + single) * block_;
    if (in_runs > 0 && (moved == 0 || extent.length >= moved * freed_per_moved_)) {
      space_.attainable += extent.length - moved;
    } else {
      space_.unprofitable += in_runs * block_;
    }
    return absl::OkStatus();
  }

  // Whether a place that has the same content also has the same content before or behind.
  bool InRun(const std::vector<Content>& blocks, size_t i) const {
    if (blocks.size() == 1) return true;
    for (const auto& [extent, at] : places_.at(blocks[i])) {
      const std::vector<Content>& other = extents_[extent];
      if (other.size() == 1) return true;
      if (i > 0 && at > 0 && blocks[i - 1] != 0 && blocks[i - 1] == other[at - 1]) return true;
      if (i + 1 < blocks.size() && at + 1 < other.size() && blocks[i + 1] != 0 &&
          blocks[i + 1] == other[at + 1])
        return true;
    }
    return false;
  }

  absl::Status AddEncoded(const StorageExtent& extent, const std::vector<Reference>& references) {
    ASSIGN_OR_RETURN(std::vector<uint64_t> checksums, map_.Checksums(extent.address, extent.length / block_));
    std::set<uint64_t> live;  // blocks, as files see them
    for (const Reference& r : references) {
      for (uint64_t at = 0; at < r.length; at += block_) live.insert(r.extent_offset + at);
    }
    std::vector<std::set<uint64_t>>& kept = encoded_[std::move(checksums)];
    const bool is_kept = std::any_of(kept.begin(), kept.end(), [&live](const std::set<uint64_t>& other) {
      return std::includes(other.begin(), other.end(), live.begin(), live.end());
    });
    if (is_kept) {
      space_.attainable += extent.length;
    } else {
      kept.push_back(std::move(live));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<const std::string*> BytesOf(const FileKey& file) {
    const auto known = bytes_.find(file);
    if (known != bytes_.end()) return &known->second;
    ASSIGN_OR_RETURN(const std::string path, map_.PathOf(file, [](const std::string&) { return true; }));
    std::ifstream in(absl::StrCat(directory_, "/", path), std::ios::binary);
    return &bytes_.emplace(file, std::string(std::istreambuf_iterator<char>(in), {})).first->second;
  }

  StorageMap& map_;
  const std::string directory_;
  const uint64_t freed_per_moved_;
  const uint64_t block_;
  SpaceModel space_;
  std::map<FileKey, std::string> bytes_;
  std::vector<std::vector<Content>> extents_;
  std::map<Content, std::vector<std::pair<size_t, size_t>>> places_;
  // What is live of those that stay.
  std::map<std::vector<uint64_t>, std::vector<std::set<uint64_t>>> encoded_;
};

}  // namespace

absl::StatusOr<SpaceModel> ModelSpace(StorageMap& map, const std::string& directory,
                                      uint64_t freed_per_moved) {
  return Model(map, directory, freed_per_moved).Run();
}

}  // namespace cowherd
