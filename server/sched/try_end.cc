#include "server/sched/try_end.h"

#include "absl/strings/str_cat.h"
#include "server/base/status.h"
#include "server/sched/backoff.h"

namespace cowherd {
namespace {

constexpr uint32_t kPoisonCrashes = 2;

}  // namespace

void FailTry(Task& task, Verdict verdict, const absl::Status& why, const TryContext& context,
             absl::BitGenRef random) {
  task.state = TaskState::kWaiting;
  task.waiting_since = context.now;
  task.error = why;
  switch (verdict) {
    case Verdict::kFenced:
      return;
    case Verdict::kLost:
    case Verdict::kBusy:
      task.next_attempt = context.now + Backoff(context.losses, random);
      return;
    case Verdict::kFinal:
      task.open = false;
      task.state = TaskState::kFailed;
      return;
    case Verdict::kStopped:
    case Verdict::kFilesystem:
    case Verdict::kAbsent:
    case Verdict::kRetry:
      break;
  }
  task.open = false;
  if (context.cancelled) {
    task.state = TaskState::kCancelled;
  } else if (verdict == Verdict::kStopped && context.asked) {
    task.error = absl::OkStatus();
  } else if (verdict == Verdict::kFilesystem || verdict == Verdict::kAbsent) {
    task.next_attempt = context.now + Backoff(task.attempt, random);
  } else if (++task.failures >= context.max_failures) {
    task.state = TaskState::kFailed;
  } else {
    task.next_attempt = context.now + Backoff(task.failures, random);
  }
}

void FinishTask(Task& task) {
  task.state = TaskState::kSucceeded;
  task.open = false;
  task.error = absl::OkStatus();
}

void CrashTry(Task& task, const TryContext& context, absl::BitGenRef random) {
  ++task.crashes;
  task.open = false;
  task.node_started = absl::InfinitePast();
  task.waiting_since = context.now;
  if (task.crashes >= kPoisonCrashes) {
    task.state = TaskState::kFailed;
    task.error = MakeError(absl::StatusCode::kAborted, "POISON",
                           absl::StrCat("set aside: the node \"", task.node, "\" came down ", task.crashes,
                                        " times while the task ran there; look at its log, then make a new "
                                        "job without what it fell over"));
    return;
  }
  task.state = context.cancelled ? TaskState::kCancelled : TaskState::kWaiting;
  task.error = MakeError(absl::StatusCode::kAborted, "NODE_CRASHED",
                         absl::StrCat("the node \"", task.node,
                                      "\" came down while the task ran there; after another time the task "
                                      "is set aside"));
  if (!context.cancelled) task.next_attempt = context.now + Backoff(task.crashes, random);
}

RestartVerdict JudgeRestart(const LastHeard& last, absl::Time node_started) {
  if (last.node_started == absl::InfinitePast() || last.node_started >= node_started) {
    return RestartVerdict::kSame;
  }
  return last.unheard && !last.excused ? RestartVerdict::kExcused : RestartVerdict::kCrashed;
}

void CloseTry(Task& task, const absl::Status& why, const TryContext& context) {
  task.open = false;
  task.error = why;
  task.next_attempt = absl::InfinitePast();
  task.waiting_since = context.now;
  task.state = context.cancelled ? TaskState::kCancelled : TaskState::kWaiting;
}

void GiveUpTask(Task& task, const absl::Status& why) {
  task.state = TaskState::kFailed;
  task.open = false;
  task.next_attempt = absl::InfinitePast();
  task.error = why;
}

}  // namespace cowherd
