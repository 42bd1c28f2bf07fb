#include "server/etcd/fenced_writer.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "absl/random/distributions.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "server/base/failpoint.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

namespace pb = etcdserverpb;

// Transactions in flight.
constexpr size_t kSlots = 8;
constexpr absl::Duration kAgain = absl::Milliseconds(50);

}  // namespace

FencedWriter::FencedWriter(EtcdClient& client, const Leadership& leadership, const std::string& prefix)
    : client_(client), leadership_(leadership), pool_(kSlots, kSlots) {
  for (size_t i = 0; i < kSlots; ++i) slots_.push_back({absl::StrCat(prefix, i), 0, {}});
}

absl::Status FencedWriter::LoadSlots() {
  pb::TxnRequest request;
  for (const Slot& slot : slots_) {
    request.add_success()->mutable_request_range()->set_key(slot.key);
  }
  ASSIGN_OR_RETURN(const pb::TxnResponse response, client_.RepeatableTxn(request));
  for (size_t i = 0; i < slots_.size(); ++i) {
    const pb::RangeResponse& range = response.responses(static_cast<int>(i)).response_range();
    slots_[i].revision = range.kvs_size() > 0 ? range.kvs(0).mod_revision() : 0;
  }
  loaded_ = true;
  return absl::OkStatus();
}

std::string FencedWriter::NewId() {
  return absl::StrFormat("%016x%016x", absl::Uniform<uint64_t>(random_), absl::Uniform<uint64_t>(random_));
}

bool FencedWriter::InDoubt() const {
  return std::any_of(slots_.begin(), slots_.end(), [](const Slot& slot) { return !slot.given_up.empty(); });
}

absl::Status FencedWriter::Settle() {
  for (Slot& slot : slots_) {
    if (slot.given_up.empty()) continue;
    // Once the slot has another revision no copy from before can succeed.
    RETURN_IF_ERROR(WriteOne(slot, {}, NewId()));
    slot.given_up.clear();
  }
  return absl::OkStatus();
}

absl::Status FencedWriter::Write(const std::vector<Batch>& batches) {
  if (!leadership_.Holds()) return NotLeader("");
  if (!loaded_) RETURN_IF_ERROR(LoadSlots());
  std::vector<std::string> ids;
  ids.reserve(batches.size());
  for (size_t i = 0; i < batches.size(); ++i) ids.push_back(NewId());
  if (batches.size() == 1) return WriteOne(slots_[0], batches[0], ids[0]);

  std::atomic<size_t> next{0};
  std::mutex mutex;
  std::condition_variable done;
  size_t running = std::min(slots_.size(), batches.size());
  absl::Status first;
  const size_t workers = running;
  for (size_t w = 0; w < workers; ++w) {
    auto work = [&, w] {
      absl::Status status;
      for (size_t i = next++; status.ok() && i < batches.size(); i = next++) {
        Crashpoint("etcd.batch.before");
        status = WriteOne(slots_[w], batches[i], ids[i]);
        Crashpoint("etcd.batch.after");
      }
      std::lock_guard<std::mutex> lock(mutex);
      if (!status.ok()) {
        // The others stop, too.
        next = batches.size();
        // That all is over matters more than what went wrong before.
        if (first.ok() || ReasonOf(status) == "NOT_LEADER") first = status;
      }
      if (--running == 0) done.notify_all();
    };
    // The queue has room for all: nothing else uses the pool.
    if (absl::Status status = pool_.Submit(work); !status.ok()) work();
  }
  std::unique_lock<std::mutex> lock(mutex);
  done.wait(lock, [&running] { return running == 0; });
  return first;
}

absl::Status FencedWriter::WriteOne(Slot& slot, const Batch& batch, const std::string& id) {
  pb::TxnRequest request;
  pb::Compare& leads = *request.add_compare();
  leads.set_target(pb::Compare::CREATE);
  leads.set_key(leadership_.key());
  leads.set_create_revision(leadership_.revision());
  pb::Compare& first = *request.add_compare();
  first.set_target(pb::Compare::MOD);
  first.set_key(slot.key);
  first.set_mod_revision(slot.revision);
  for (const pb::RequestOp& op : batch) *request.add_success() = op;
  pb::PutRequest& mark = *request.add_success()->mutable_request_put();
  mark.set_key(slot.key);
  mark.set_value(id);
  request.add_failure()->mutable_request_range()->set_key(leadership_.key());
  request.add_failure()->mutable_request_range()->set_key(slot.key);

  bool unanswered = false;
  for (;;) {
    // Its outcome, if it was tried, is for the next leader to see.
    const absl::Duration left = leadership_.Left();
    if (left <= absl::ZeroDuration()) return NotLeader("");
    Crashpoint("etcd.txn.before");
    absl::StatusOr<pb::TxnResponse> response = client_.TryTxn(request, left);
    if (absl::Status lost = Failpoint("etcd.txn.answer"); !lost.ok()) response = lost;
    if (!response.ok()) {
      unanswered = unanswered || EtcdClient::OutcomeUnknown(response.status());
      if (!EtcdClient::WorthRepeating(response.status())) {
        if (unanswered) slot.given_up.insert(id);
        return response.status();
      }
      absl::SleepFor(kAgain);
      continue;
    }
    if (response->succeeded()) {
      slot.revision = response->header().revision();
      return absl::OkStatus();
    }
    if (response->responses_size() != 2) return absl::InternalError("etcd: a transaction without its reads");
    const pb::RangeResponse& leader = response->responses(0).response_range();
    const pb::RangeResponse& last = response->responses(1).response_range();
    if (leader.kvs_size() == 0 || leader.kvs(0).create_revision() != leadership_.revision())
      return NotLeader("");
    if (last.kvs_size() > 0 && slot.given_up.count(last.kvs(0).value()) > 0) {
      slot.revision = last.kvs(0).mod_revision();
      request.mutable_compare(1)->set_mod_revision(slot.revision);
      continue;
    }
    if (last.kvs_size() == 0 || last.kvs(0).value() != id) {
      return absl::InternalError(absl::StrCat("etcd: ", slot.key, " was changed by another than the leader"));
    }
    // A copy of it was carried out before.
    slot.revision = last.kvs(0).mod_revision();
    return absl::OkStatus();
  }
}

}  // namespace cowherd
