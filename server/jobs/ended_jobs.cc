#include "server/jobs/ended_jobs.h"

#include <algorithm>

#include "absl/strings/match.h"

namespace cowherd {
namespace {

constexpr uint64_t kTaskBytes = 512;
// An etcd transaction takes the deletion of so many jobs.
constexpr size_t kAtOnce = 16;

}  // namespace

uint64_t BytesOf(const JobRecord& record) {
  uint64_t bytes = record.spec.size();
  for (const auto& [number, result] : record.results) bytes += result.size();
  return bytes;
}

bool EndedJobs::Add(const Job& job, uint64_t bytes) {
  const auto [found, is_new] = jobs_.emplace(job.sequence, Entry());
  Entry& entry = found->second;
  if (is_new) {
    entry.scheduled = absl::StartsWith(job.request_id, kRunRequestPrefix);
    entry.place = next_place_++;
    order_[entry.scheduled][entry.place] = job.sequence;
  }
  bytes_ -= entry.weight;
  entry.weight = bytes + kTaskBytes * job.tasks_made;
  bytes_ += entry.weight;
  return is_new;
}

void EndedJobs::Remove(uint64_t sequence) {
  const auto found = jobs_.find(sequence);
  if (found == jobs_.end()) return;
  const Entry& entry = found->second;
  order_[entry.scheduled].erase(entry.place);
  bytes_ -= entry.weight;
  jobs_.erase(found);
}

std::vector<uint64_t> EndedJobs::Surplus(size_t just_ended) const {
  const uint64_t spared = next_place_ - std::max<uint64_t>(just_ended, 1);
  uint64_t bytes = bytes_;
  std::vector<uint64_t> surplus;
  for (const bool scheduled : {false, true}) {
    size_t left = order_[scheduled].size();
    for (const auto& [place, sequence] : order_[scheduled]) {
      const bool beyond = left > (scheduled ? limits_.scheduled_jobs : limits_.jobs) || bytes > limits_.bytes;
      if (!beyond || place >= spared || surplus.size() == kAtOnce) break;
      surplus.push_back(sequence);
      bytes -= jobs_.at(sequence).weight;
      --left;
    }
  }
  return surplus;
}

}  // namespace cowherd
