#include "server/controller/candidacy.h"

#include <chrono>
#include <utility>

#include "server/base/log.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

// After a term that could not begin; another may do better meanwhile.
constexpr std::chrono::seconds kPause(1);

// A store that this program cannot use, or nodes that it cannot have: what we found ourselves, with a reason.
// All else may pass: members that do not answer, or that answered something else once, a full disk, a lost
// lease, rights that etcd does not give yet.
bool NeverPasses(const absl::Status& status) {
  const bool by_us = !ReasonOf(status).empty();
  return by_us &&
         (absl::IsFailedPrecondition(status) || absl::IsDataLoss(status) || absl::IsInvalidArgument(status));
}

}  // namespace

Candidacy::Candidacy(Election& election, Duties duties)
    : election_(election), duties_(std::move(duties)), thread_([this] { Run(); }) {}

Candidacy::~Candidacy() { Stop(); }

void Candidacy::Stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopped_ = true;
    if (leadership_ != nullptr) leadership_->Interrupt();
  }
  stopping_.notify_all();
  election_.Stop();
  if (thread_.joinable()) thread_.join();
}

absl::StatusOr<std::unique_ptr<Term>> Candidacy::Hold(Leadership& leadership) {
  absl::StatusOr<std::unique_ptr<Term>> term = duties_.begin(leadership);
  if (!term.ok()) {
    Log(LogLevel::kError, "the term cannot begin", {{"error", term.status()}});
    if (NeverPasses(term.status())) return term.status();
    leadership.Resign();
    std::unique_lock<std::mutex> lock(mutex_);
    stopping_.wait_for(lock, kPause, [this] { return stopped_; });
    return nullptr;
  }
  Log(LogLevel::kInfo, "leading");
  duties_.lead(**term);
  (*term)->Start();
  leadership.WaitUntilOver();
  duties_.follow();
  (*term)->Stop();
  // Another leads while this one still hangs up on its nodes.
  leadership.Resign();
  Log(LogLevel::kInfo, "no longer leading");
  return term;
}

void Candidacy::Run() {
  for (;;) {
    absl::StatusOr<std::unique_ptr<Leadership>> won = election_.Campaign();
    if (absl::IsCancelled(won.status())) return;
    if (!won.ok()) return duties_.give_up(won.status());
    {
      std::unique_lock<std::mutex> lock(mutex_);
      if (stopped_) {
        lock.unlock();
        return (*won)->Resign();
      }
      leadership_ = won->get();
    }
    absl::StatusOr<std::unique_ptr<Term>> held = Hold(**won);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      leadership_ = nullptr;
      if (stopped_ && held.ok()) {
        last_leadership_ = *std::move(won);
        last_term_ = *std::move(held);
        return;
      }
    }
    if (!held.ok()) return duties_.give_up(held.status());
    // It speaks of the leadership.
    held->reset();
  }
}

}  // namespace cowherd
