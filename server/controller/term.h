#ifndef COWHERD_SERVER_CONTROLLER_TERM_H_
#define COWHERD_SERVER_CONTROLLER_TERM_H_

#include <functional>
#include <memory>
#include <vector>

#include "absl/random/random.h"
#include "absl/status/statusor.h"
#include "server/base/clock.h"
#include "server/controller/controller_service.h"
#include "server/controller/hold_service.h"
#include "server/controller/schedule_service.h"
#include "server/jobs/job_store.h"
#include "server/metrics/controller_metrics.h"
#include "server/sched/discovery.h"
#include "server/sched/loop.h"
#include "server/sched/loop_thread.h"
#include "server/sched/mailbox.h"
#include "server/sched/node_link.h"
#include "server/sched/node_registry.h"
#include "server/sched/node_windows.h"
#include "server/sched/schedules.h"

namespace cowherd {

// One term of office of a controller: from taking up the jobs of the store to laying them down. Everything
// that knows of jobs and nodes lives as long as it.
class Term {
 public:
  struct Options {
    std::vector<Target> nodes;
    std::vector<DnsName> node_dns;
    Loop::Options loop;
    // See Mailbox. Empty: nothing ends the loop but the term.
    std::function<bool()> holds;
  };

  // Takes up the jobs; nothing runs yet. All but the store must outlive the term. INVALID_ARGUMENT: a node.
  static absl::StatusOr<std::unique_ptr<Term>> Begin(std::unique_ptr<JobStore> store, NodeLink& link,
                                                     const Clock& clock, ControllerMetrics& metrics,
                                                     Options options);
  // Stores what can be stored. Tasks go on on their nodes. Calls that came before are answered.
  ~Term();
  Term(const Term&) = delete;
  Term& operator=(const Term&) = delete;

  // Runs the loop and looks for nodes. Once.
  void Start();
  // Ends the loop: nothing is written any more. Calls that come later are refused: UNAVAILABLE "STOPPING".
  // What takes longer goes with the term: streams from nodes (for a thousand of them the processor is busy
  // for a second or two), and names that are being resolved.
  void Stop();

  // Calls may be made until the term goes.
  ControllerService& controller() { return controller_; }
  ScheduleService& schedules() { return schedule_service_; }
  HoldService& holds() { return hold_service_; }

 private:
  Term(std::unique_ptr<JobStore> store, NodeLink& link, const Clock& clock, ControllerMetrics& metrics,
       Options options);

  const Options options_;
  const Clock& clock_;
  ControllerMetrics& metrics_;
  const std::unique_ptr<JobStore> store_;
  absl::BitGen random_;
  const std::shared_ptr<Mailbox> mailbox_;
  Loop loop_;
  Schedules schedules_;
  NodeWindows node_windows_;
  ControllerService controller_;
  ScheduleService schedule_service_;
  HoldService hold_service_;
  std::vector<std::unique_ptr<DnsWatch>> watches_;
  std::unique_ptr<LoopThread> thread_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_CONTROLLER_TERM_H_
