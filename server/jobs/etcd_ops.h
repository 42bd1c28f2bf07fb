#ifndef COWHERD_SERVER_JOBS_ETCD_OPS_H_
#define COWHERD_SERVER_JOBS_ETCD_OPS_H_

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/etcd/fenced_writer.h"

namespace cowherd {

// What one write changes in etcd, in no order: each key once. Nothing is put below a prefix after it was
// deleted. Pure.
class EtcdOps {
 public:
  void Put(std::string key, std::string value);
  // A value of any size, in pieces below `prefix`. The pieces of a longer one before it go.
  void PutPieces(const std::string& prefix, absl::string_view value);
  void Delete(const std::string& key);
  void DeletePrefix(const std::string& prefix);

  // In batches that fit into a transaction each.
  std::vector<FencedWriter::Batch> Pack() &&;

 private:
  void DeleteRange(const std::string& from, const std::string& to);

  std::map<std::string, std::string> puts_;
  std::set<std::string> deletes_;
  // From, up to but not with.
  std::map<std::string, std::string> ranges_;
};

// Fixed widths: keys sort as the numbers do.
std::string SequenceKey(uint64_t sequence);
std::string NumberKey(uint32_t number);

}  // namespace cowherd

#endif  // COWHERD_SERVER_JOBS_ETCD_OPS_H_
