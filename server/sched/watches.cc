#include "server/sched/watches.h"

#include <algorithm>

namespace cowherd {

uint64_t Watches::Add(uint64_t job, Watcher watcher, uint64_t told) {
  const uint64_t watch = ++last_;
  watchers_[job][watch] = {std::move(watcher), told};
  job_of_[watch] = job;
  return watch;
}

void Watches::Remove(uint64_t watch) {
  const auto found = job_of_.find(watch);
  if (found == job_of_.end()) return;
  const auto watchers = watchers_.find(found->second);
  watchers->second.erase(watch);
  if (watchers->second.empty()) watchers_.erase(watchers);
  job_of_.erase(found);
}

void Watches::SetDue(uint64_t job, absl::Time due) {
  const auto [kept, is_new] = due_of_.emplace(job, due);
  if (!is_new) {
    if (kept->second <= due) return;
    due_.erase({kept->second, job});
    kept->second = due;
  }
  due_.emplace(due, job);
}

void Watches::Changed(uint64_t job, absl::Duration every) {
  const auto told = told_.find(job);
  SetDue(job, told == told_.end() ? absl::InfinitePast() : told->second + every);
}

void Watches::Ended(uint64_t job) { SetDue(job, absl::InfinitePast()); }

std::vector<uint64_t> Watches::Due(absl::Time now) const {
  std::vector<uint64_t> jobs;
  for (auto it = due_.begin(); it != due_.end() && it->first <= now; ++it) jobs.push_back(it->second);
  return jobs;
}

absl::Time Watches::wake() const { return due_.empty() ? absl::InfiniteFuture() : due_.begin()->first; }

void Watches::Tell(uint64_t job, const std::shared_ptr<const JobView>& record, absl::Time now) {
  told_[job] = now;
  const auto watchers = watchers_.find(job);
  if (watchers == watchers_.end()) return;
  for (auto& [number, watch] : watchers->second) {
    if (record != nullptr && watch.told == record->job.revision) continue;
    if (record != nullptr) watch.told = record->job.revision;
    watch.watcher(record);
  }
}

void Watches::Done(uint64_t job) {
  const auto found = due_of_.find(job);
  if (found == due_of_.end()) return;
  due_.erase({found->second, job});
  due_of_.erase(found);
}

void Watches::Drop(uint64_t job) {
  Done(job);
  told_.erase(job);
  const auto watchers = watchers_.find(job);
  if (watchers == watchers_.end()) return;
  for (const auto& [number, watch] : watchers->second) job_of_.erase(number);
  watchers_.erase(watchers);
}

void Watches::Close() {
  for (auto& [job, watchers] : watchers_) {
    for (auto& [number, watch] : watchers) watch.watcher(nullptr);
  }
  watchers_.clear();
  job_of_.clear();
}

}  // namespace cowherd
