#include "server/sched/runs.h"

#include <algorithm>

namespace cowherd {
namespace {

constexpr absl::Duration kStoreEvery = absl::Seconds(1);
// Progress of more running tasks than this is stored less often: the store has other things to do.
constexpr int64_t kStoredASecond = 1'000;

}  // namespace

void Runs::Start(TaskKey task, const Endpoint& endpoint, const RunOrder& order, const std::string& run_id,
                 bool first, absl::Time now) {
  Open& open = tasks_[task];
  open.node = order.node;
  open.run_id = run_id;
  if (first) {
    open.unheard = true;
  } else {
    open.stored = now;
  }
  open.stream = ++last_stream_;
  streams_[open.stream] = task;
  ++by_node_[open.node];
  NodeLink::RunEvents events;
  const uint64_t stream = open.stream;
  events.on_event = [this, mailbox = mailbox_, stream](RunEvent event) {
    mailbox->PostNews(
        [this, stream, event = std::move(event)]() mutable { OnEvent(stream, std::move(event)); });
  };
  events.on_end = [this, mailbox = mailbox_, stream](absl::Status status) {
    mailbox->PostNews([this, stream, status = std::move(status)] { OnEnd(stream, status); });
  };
  open.run = link_.RunTask(endpoint, order, std::move(events));
}

void Runs::Close(TaskKey task) {
  const auto found = tasks_.find(task);
  if (found == tasks_.end()) return;
  Open& open = found->second;
  if (open.run != nullptr) {
    streams_.erase(open.stream);
    DropStream(open);
  }
  SetDue(task, open, absl::InfiniteFuture());
  ended_.erase(open.ended);
  tasks_.erase(found);
}

bool Runs::HasStream(TaskKey task) const {
  const auto found = tasks_.find(task);
  return found != tasks_.end() && found->second.run != nullptr;
}

bool Runs::HasEnd(TaskKey task) const { return NewsOf(task).end.has_value(); }

uint32_t Runs::Losses(TaskKey task) const {
  const auto found = tasks_.find(task);
  return found == tasks_.end() ? 0 : found->second.lost;
}

void Runs::CountLoss(TaskKey task) { ++tasks_.at(task).lost; }

absl::Time Runs::NodeStarted(TaskKey task) const {
  const auto found = tasks_.find(task);
  return found == tasks_.end() ? absl::InfinitePast() : found->second.node_started;
}

bool Runs::Unheard(TaskKey task) const {
  const auto found = tasks_.find(task);
  return found != tasks_.end() && found->second.unheard;
}

void Runs::Excuse(TaskKey task) { tasks_.at(task).excused = true; }

bool Runs::Excused(TaskKey task) const {
  const auto found = tasks_.find(task);
  return found != tasks_.end() && found->second.excused;
}

const News& Runs::NewsOf(TaskKey task) const {
  static const News* none = new News();
  const auto found = tasks_.find(task);
  return found == tasks_.end() ? *none : found->second.news;
}

void Runs::DropStream(Open& open) {
  const auto count = by_node_.find(open.node);
  if (--count->second == 0) by_node_.erase(count);
  open.run.reset();
}

void Runs::SetDue(TaskKey task, Open& open, absl::Time due) {
  if (open.due == due) return;
  due_.erase({open.due, task});
  open.due = due;
  if (due != absl::InfiniteFuture()) due_.emplace(due, task);
}

absl::Duration Runs::StoreEvery() const {
  return std::max(kStoreEvery, kStoreEvery * static_cast<int64_t>(streams_.size()) / kStoredASecond);
}

void Runs::OnEvent(uint64_t stream, RunEvent event) {
  const auto found = streams_.find(stream);
  if (found == streams_.end()) {
    const auto closing = closing_.find(stream);
    if (closing != closing_.end()) closing->second->Next();
    return;
  }
  const TaskKey task = found->second;
  Open& open = tasks_.at(task);
  open.lost = 0;
  open.unheard = false;
  if (open.run_id != event.run_id) {
    open.run_id = event.run_id;
    if (!event.over) new_run_(task);
  }
  if (event.node_started != absl::InfinitePast()) open.node_started = event.node_started;
  open.run->Next();
  if (event.over) {
    closing_[stream] = std::move(open.run);
    return End(task, open, TryEnd{std::move(event), absl::OkStatus()});
  }
  std::vector<RunEvent>& progress = open.news.progress;
  if (!progress.empty() && progress.back().run_id == event.run_id) {
    progress.back() = std::move(event);
  } else {
    progress.push_back(std::move(event));
  }
  if (open.due == absl::InfiniteFuture()) SetDue(task, open, open.stored + StoreEvery());
}

void Runs::OnEnd(uint64_t stream, const absl::Status& status) {
  closing_.erase(stream);
  const auto found = streams_.find(stream);
  if (found == streams_.end()) return;
  const TaskKey task = found->second;
  End(task, tasks_.at(task), TryEnd{absl::nullopt, status});
}

void Runs::End(TaskKey task, Open& open, TryEnd end) {
  streams_.erase(open.stream);
  DropStream(open);
  SetDue(task, open, absl::InfiniteFuture());
  open.news.end = std::move(end);
  open.ended = ++ends_;
  ended_[open.ended] = task;
}

std::vector<TaskKey> Runs::Ended(size_t most) const {
  std::vector<TaskKey> tasks;
  for (auto it = ended_.begin(); it != ended_.end() && tasks.size() < most; ++it) {
    tasks.push_back(it->second);
  }
  return tasks;
}

std::vector<TaskKey> Runs::Due(absl::Time now, size_t most) const {
  std::vector<TaskKey> tasks;
  for (auto it = due_.begin(); it != due_.end() && it->first <= now && tasks.size() < most; ++it) {
    tasks.push_back(it->second);
  }
  return tasks;
}

std::vector<TaskKey> Runs::WithNews() const {
  std::vector<TaskKey> tasks;
  for (const auto& [task, open] : tasks_) {
    if (open.news.end || !open.news.progress.empty()) tasks.push_back(task);
  }
  return tasks;
}

absl::Time Runs::wake() const {
  if (!ended_.empty()) return absl::InfinitePast();
  return due_.empty() ? absl::InfiniteFuture() : due_.begin()->first;
}

void Runs::Stored(TaskKey task, absl::Time now) {
  Open& open = tasks_.at(task);
  ended_.erase(open.ended);
  open.ended = 0;
  open.news = News();
  open.stored = now;
  SetDue(task, open, absl::InfiniteFuture());
}

}  // namespace cowherd
