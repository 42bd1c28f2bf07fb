#include "server/sched/news.h"

#include "server/base/status.h"
#include "server/sched/reasons.h"

namespace cowherd {
namespace {

void Count(Task& task, const RunEvent& event, bool starts_over) {
  CountRun(task, event.run_id, event.totals, starts_over);
  if (event.node_started != absl::InfinitePast()) task.node_started = event.node_started;
}

}  // namespace

void CountProgress(Task& task, const News& news, bool starts_over) {
  for (const RunEvent& event : news.progress) Count(task, event, starts_over);
}

Outcome TakeNews(Task& task, const News& news, bool starts_over, TryContext context, absl::BitGenRef random) {
  Outcome outcome;
  CountProgress(task, news, starts_over);
  if (!news.end) return outcome;
  const absl::optional<RunEvent>& last = news.end->last;
  Ending& ending = outcome.ending.emplace();
  if (last) {
    Count(task, *last, starts_over);
    outcome.results = last->results;
    if (last->error.ok()) {
      FinishTask(task);
      return outcome;
    }
  }
  ending.why = last ? last->error : news.end->status;
  ending.verdict = last ? JudgeRun(ending.why) : JudgeStream(ending.why);
  // As it was ordered, whatever the windows are now.
  if (ReasonOf(ending.why) == "DEADLINE_EXCEEDED") context.asked = true;
  ending.asked = context.asked && *ending.verdict == Verdict::kStopped;
  if (ending.why.ok()) ending.why = StreamBroken();
  FailTry(task, *ending.verdict, ending.why, context, random);
  return outcome;
}

}  // namespace cowherd
