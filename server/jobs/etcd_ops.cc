#include "server/jobs/etcd_ops.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace cowherd {
namespace {

namespace pb = etcdserverpb;

// Three of a full batch.
constexpr size_t kPieceBytes = FencedWriter::kMaxBytes / 4;

std::string PieceKey(const std::string& prefix, size_t piece) {
  return absl::StrCat(prefix, absl::StrFormat("%04x", piece));
}

// Keys and values into batches.
class Packer {
 public:
  void Add(pb::RequestOp op, size_t bytes) {
    if (batches_.empty() || batches_.back().size() >= FencedWriter::kMaxOps ||
        bytes_ + bytes > FencedWriter::kMaxBytes) {
      batches_.emplace_back();
      bytes_ = 0;
    }
    batches_.back().push_back(std::move(op));
    bytes_ += bytes;
  }
  std::vector<FencedWriter::Batch> Take() { return std::move(batches_); }

 private:
  std::vector<FencedWriter::Batch> batches_;
  size_t bytes_ = 0;
};

}  // namespace

void EtcdOps::Put(std::string key, std::string value) {
  deletes_.erase(key);
  puts_[std::move(key)] = std::move(value);
}

void EtcdOps::PutPieces(const std::string& prefix, absl::string_view value) {
  // What was said of it before counts no more.
  DeletePrefix(prefix);
  ranges_.erase(prefix);
  size_t piece = 0;
  do {
    Put(PieceKey(prefix, piece++), std::string(value.substr(0, kPieceBytes)));
    value.remove_prefix(std::min(value.size(), kPieceBytes));
  } while (!value.empty());
  DeleteRange(PieceKey(prefix, piece), EndOfPrefix(prefix));
}

void EtcdOps::Delete(const std::string& key) {
  puts_.erase(key);
  deletes_.insert(key);
}

void EtcdOps::DeletePrefix(const std::string& prefix) { DeleteRange(prefix, EndOfPrefix(prefix)); }

void EtcdOps::DeleteRange(const std::string& from, const std::string& to) {
  puts_.erase(puts_.lower_bound(from), puts_.lower_bound(to));
  ranges_.erase(ranges_.lower_bound(from), ranges_.lower_bound(to));
  ranges_[from] = to;
}

std::vector<FencedWriter::Batch> EtcdOps::Pack() && {
  Packer packer;
  for (auto& [key, value] : puts_) {
    pb::RequestOp op;
    const size_t bytes = key.size() + value.size();
    op.mutable_request_put()->set_key(key);
    op.mutable_request_put()->set_value(std::move(value));
    packer.Add(std::move(op), bytes);
  }
  for (const std::string& key : deletes_) {
    pb::RequestOp op;
    op.mutable_request_delete_range()->set_key(key);
    packer.Add(std::move(op), key.size());
  }
  for (const auto& [from, to] : ranges_) {
    pb::RequestOp op;
    op.mutable_request_delete_range()->set_key(from);
    op.mutable_request_delete_range()->set_range_end(to);
    packer.Add(std::move(op), from.size() + to.size());
  }
  return packer.Take();
}

std::string SequenceKey(uint64_t sequence) { return absl::StrFormat("%016x", sequence); }
std::string NumberKey(uint32_t number) { return absl::StrFormat("%08x", number); }

}  // namespace cowherd
