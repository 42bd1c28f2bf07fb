#include "server/controller/term.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/base/status.h"
#include "server/controller/request.h"
#include "server/controller/schedule_convert.h"
#include "server/controller/window_convert.h"

namespace cowherd {
namespace {

constexpr size_t kMaxWaitingCalls = 1'000;

std::string SourceOf(const DnsName& name) { return absl::StrCat("dns ", name.host, ":", name.port); }

}  // namespace

absl::StatusOr<std::unique_ptr<Term>> Term::Begin(std::unique_ptr<JobStore> store, NodeLink& link,
                                                  const Clock& clock, ControllerMetrics& metrics,
                                                  Options options) {
  std::unique_ptr<Term> term(new Term(std::move(store), link, clock, metrics, std::move(options)));
  RETURN_IF_ERROR(term->loop_.SetTargets("static", term->options_.nodes));
  RETURN_IF_ERROR(term->loop_.Recover());
  RETURN_IF_ERROR(term->schedules_.Recover());
  RETURN_IF_ERROR(term->node_windows_.Recover());
  for (const DnsName& name : term->options_.node_dns) term->loop_.AwaitTargets(SourceOf(name));
  return term;
}

Term::Term(std::unique_ptr<JobStore> store, NodeLink& link, const Clock& clock, ControllerMetrics& metrics,
           Options options)
    : options_(std::move(options)),
      clock_(clock),
      metrics_(metrics),
      store_(std::move(store)),
      mailbox_(std::make_shared<Mailbox>(kMaxWaitingCalls, options_.holds)),
      loop_(*store_, link, clock, mailbox_, metrics, ReadPlan, random_, options_.loop),
      schedules_(*store_, loop_, clock, MakeScheduleCodec(), metrics, random_),
      node_windows_(*store_, loop_, ReadNodeWindows),
      controller_(loop_, mailbox_),
      schedule_service_(schedules_, node_windows_, clock, mailbox_),
      hold_service_(loop_, mailbox_) {}

Term::~Term() { Stop(); }

void Term::Stop() {
  thread_.reset();
  metrics_.TermEnds();
}

void Term::Start() {
  thread_ = std::make_unique<LoopThread>(loop_, schedules_, *mailbox_, clock_);
  for (const DnsName& name : options_.node_dns) {
    const std::string source = SourceOf(name);
    watches_.push_back(std::make_unique<DnsWatch>(
        name, options_.loop.probe_interval, Resolve, [this, source](std::vector<Target> targets) {
          mailbox_->PostNews([this, source, targets = std::move(targets)] {
            if (absl::Status status = loop_.SetTargets(source, targets); !status.ok()) {
              Log(LogLevel::kError, "nodes not taken over", {{"source", source}, {"error", status}});
            }
          });
        }));
  }
}

}  // namespace cowherd
