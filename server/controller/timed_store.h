#ifndef COWHERD_SERVER_CONTROLLER_TIMED_STORE_H_
#define COWHERD_SERVER_CONTROLLER_TIMED_STORE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/boot_clock.h"
#include "server/base/failpoint.h"
#include "server/base/status.h"
#include "server/controller/store_pulse.h"
#include "server/jobs/job_store.h"
#include "server/metrics/controller_metrics.h"

namespace cowherd {

inline constexpr const char* kStoreOperations[] = {
    "raise_epoch", "create", "find_request", "get",        "list",          "load",        "count",
    "results",     "write",  "delete",       "put_record", "delete_record", "load_records"};

// A store whose every operation is measured, and felt by a pulse. What answers a question, such as NOT_FOUND,
// is no error.
class TimedStore final : public JobStore {
 private:
  static const absl::Status& StatusOf(const absl::Status& status) { return status; }
  template <typename Value>
  static const absl::Status& StatusOf(const absl::StatusOr<Value>& result) {
    return result.status();
  }

  template <typename Operation>
  auto Timed(const char* name, Operation operation) {
    ControllerMetrics::StoreOperation running(metrics_, name);
    const uint64_t number = pulse_.Begin(SinceBoot());
    auto result = operation();
    pulse_.End(number);
    const absl::Status& status = StatusOf(result);
    running.Ended(status.ok() || absl::IsNotFound(status) || absl::IsAlreadyExists(status));
    return result;
  }

  // A write; a process that dies at either of the two has stored nothing, or all of it.
  template <typename Operation>
  auto Written(const char* name, const char* before, const char* after, Operation operation) {
    auto result = Timed(name, [before, &operation]() -> decltype(operation()) {
      RETURN_IF_ERROR(Failpoint(before));
      return operation();
    });
    pulse_.Wrote(StatusOf(result), SinceBoot());
    Crashpoint(after);
    return result;
  }

 public:
  TimedStore(std::unique_ptr<JobStore> store, ControllerMetrics& metrics, StorePulse& pulse)
      : store_(std::move(store)), metrics_(metrics), pulse_(pulse) {}

  absl::StatusOr<uint64_t> RaiseEpoch(uint64_t at_least) override {
    return Written("raise_epoch", "store.raise_epoch.before", "store.raise_epoch.after",
                   [&] { return store_->RaiseEpoch(at_least); });
  }
  absl::StatusOr<Created> Create(JobRecord record) override {
    return Written("create", "store.create.before", "store.create.after",
                   [&] { return store_->Create(std::move(record)); });
  }
  absl::StatusOr<JobRecord> FindRequest(absl::string_view request_id, absl::string_view spec) override {
    return Timed("find_request", [&] { return store_->FindRequest(request_id, spec); });
  }
  absl::StatusOr<JobRecord> Get(absl::string_view id) override {
    return Timed("get", [&] { return store_->Get(id); });
  }
  absl::StatusOr<std::vector<JobRecord>> List(const std::vector<JobState>& states, uint64_t before,
                                              size_t limit) override {
    return Timed("list", [&] { return store_->List(states, before, limit); });
  }
  absl::StatusOr<std::vector<JobRecord>> LoadActive() override {
    return Timed("load", [&] { return store_->LoadActive(); });
  }
  absl::StatusOr<std::map<JobState, uint64_t>> CountByState() override {
    return Timed("count", [&] { return store_->CountByState(); });
  }
  absl::StatusOr<std::map<uint32_t, std::string>> Results(absl::string_view id) override {
    return Timed("results", [&] { return store_->Results(id); });
  }
  absl::Status Write(const std::vector<JobChange>& changes) override {
    return Written("write", "store.write.before", "store.write.after",
                   [&] { return store_->Write(changes); });
  }
  absl::Status Delete(absl::string_view id) override {
    return Written("delete", "store.delete.before", "store.delete.after", [&] { return store_->Delete(id); });
  }
  absl::Status PutRecord(absl::string_view kind, absl::string_view name, absl::string_view value) override {
    return Written("put_record", "store.put_record.before", "store.put_record.after",
                   [&] { return store_->PutRecord(kind, name, value); });
  }
  absl::Status DeleteRecord(absl::string_view kind, absl::string_view name) override {
    return Written("delete_record", "store.delete_record.before", "store.delete_record.after",
                   [&] { return store_->DeleteRecord(kind, name); });
  }
  absl::StatusOr<std::map<std::string, std::string>> LoadRecords(absl::string_view kind) override {
    return Timed("load_records", [&] { return store_->LoadRecords(kind); });
  }
  // A running controller does not copy its store.
  absl::StatusOr<std::vector<std::string>> RecordKinds() override { return store_->RecordKinds(); }
  absl::StatusOr<Counters> ReadCounters() override { return store_->ReadCounters(); }
  absl::Status RestoreCounters(const Counters& counters) override {
    return store_->RestoreCounters(counters);
  }
  absl::Status Restore(const JobRecord& record) override { return store_->Restore(record); }

 private:
  const std::unique_ptr<JobStore> store_;
  ControllerMetrics& metrics_;
  StorePulse& pulse_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_CONTROLLER_TIMED_STORE_H_
