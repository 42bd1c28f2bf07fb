// What is the etcd store's own; the promises of job_store.h are tested by job_store_test.
#include "server/jobs/etcd_store.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <mutex>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/status.h"
#include "server/etcd/etcd.grpc.pb.h"
#include "server/jobs/etcd_ops.h"
#include "tests/testing/etcd_cluster.h"
#include "tests/testing/leading_store.h"

namespace cowherd {
namespace {

namespace pb = etcdserverpb;

JobRecord Numbered(uint64_t n, uint32_t tasks = 1) {
  JobRecord record;
  record.job.id = absl::StrCat("j", n);
  record.spec = absl::StrCat("spec of ", n);
  for (uint32_t number = 0; number < tasks; ++number) {
    Task task;
    task.number = number;
    task.node = absl::StrCat("n", number);
    record.tasks.push_back(std::move(task));
  }
  record.job.tasks_made = tasks;
  return record;
}

// Between a store and a member: loses answers, holds requests back, and refuses others.
class Proxy final : public pb::KV::Service {
 public:
  enum Fate {
    kPass,
    // It is carried out, and the answer is lost.
    kLose,
    // No answer, and it is not carried out before Deliver.
    kHold,
    // As by a cluster whose quota is used up.
    kRefuse,
  };

  explicit Proxy(const std::string& member)
      : kv_(pb::KV::NewStub(grpc::CreateChannel(member, grpc::InsecureChannelCredentials()))) {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    address_ = absl::StrCat("127.0.0.1:", port);
  }

  const std::string& address() const { return address_; }
  // Of the next writes, in turn; those that follow pass.
  void Next(std::deque<Fate> fates) {
    std::lock_guard<std::mutex> lock(mutex_);
    fates_ = std::move(fates);
  }
  // Whether the request that was held back was carried out now.
  bool Deliver() {
    grpc::ClientContext context;
    pb::TxnResponse response;
    EXPECT_TRUE(kv_->Txn(&context, held_, &response).ok());
    return response.succeeded();
  }

  grpc::Status Range(grpc::ServerContext*, const pb::RangeRequest* request,
                     pb::RangeResponse* response) override {
    grpc::ClientContext context;
    return kv_->Range(&context, *request, response);
  }
  grpc::Status Txn(grpc::ServerContext*, const pb::TxnRequest* request, pb::TxnResponse* response) override {
    const Fate fate = request->compare_size() > 0 ? TakeFate() : kPass;
    if (fate == kRefuse) {
      return {grpc::StatusCode::RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded"};
    }
    if (fate == kHold) {
      held_ = *request;
      return {grpc::StatusCode::UNAVAILABLE, "held back"};
    }
    grpc::ClientContext context;
    const grpc::Status status = kv_->Txn(&context, *request, response);
    return fate == kLose ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "lost") : status;
  }

 private:
  Fate TakeFate() {
    std::lock_guard<std::mutex> lock(mutex_);
    if (fates_.empty()) return kPass;
    const Fate fate = fates_.front();
    fates_.pop_front();
    return fate;
  }

  const std::unique_ptr<pb::KV::Stub> kv_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
  std::mutex mutex_;
  std::deque<Fate> fates_;
  pb::TxnRequest held_;
};

class EtcdStoreTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    absl::StatusOr<std::unique_ptr<EtcdCluster>> cluster = EtcdCluster::Start(1);
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    cluster_ = cluster->release();
  }
  static void TearDownTestSuite() { delete cluster_; }

  void SetUp() override {
    static int made = 0;
    options_.prefix = absl::StrCat("/t", ++made, "/");
  }
  LeadingStore Lead() { return LeadingStore::Make(cluster_->addresses(), options_).value(); }

  // Leads by the cluster; the store calls it through the proxy.
  LeadingStore LeadThrough(const Proxy& proxy) {
    LeadingStore leading = Lead();
    leading.store.reset();
    proxied_ = PlainEtcdClient({proxy.address()});
    leading.store = MakeEtcdStore(*proxied_, leading.leadership.get(), options_);
    return leading;
  }

  // Past the store.
  void Change(EtcdOps ops) {
    for (const FencedWriter::Batch& batch : std::move(ops).Pack()) {
      pb::TxnRequest request;
      for (const pb::RequestOp& op : batch) *request.add_success() = op;
      const absl::StatusOr<pb::TxnResponse> response = client_->RepeatableTxn(request);
      ASSERT_TRUE(response.ok()) << response.status();
    }
  }
  std::map<std::string, std::string> Below(const std::string& key) {
    pb::RangeRequest request;
    request.set_key(options_.prefix + key);
    request.set_range_end(EndOfPrefix(request.key()));
    const pb::RangeResponse response = client_->Range(request).value();
    std::map<std::string, std::string> kept;
    for (const pb::KeyValue& kv : response.kvs()) kept[kv.key()] = kv.value();
    return kept;
  }

  static EtcdCluster* cluster_;
  EtcdStoreOptions options_;
  const std::unique_ptr<EtcdClient> client_ = PlainEtcdClient(cluster_->addresses());
  std::unique_ptr<EtcdClient> proxied_;
};

EtcdCluster* EtcdStoreTest::cluster_ = nullptr;

TEST_F(EtcdStoreTest, LargeJobsAndManyTasksFit) {
  LeadingStore leading = Lead();
  JobRecord record = Numbered(1, 2'000);
  // Beyond what etcd takes at a time, each.
  record.spec = std::string(5 << 20, 's');
  for (int i = 0; i < 1'000; ++i) record.tasks[7].paths.push_back(absl::StrCat(std::string(4'000, 'p'), i));
  ASSERT_TRUE(leading.store->Create(record).ok());
  record.results[3] = std::string(3 << 20, 'r');
  record.results[4] = "";
  JobChange change{record.job, record.tasks, {1'999}, record.results};
  for (Task& task : change.put) task.attempt = 5;
  ASSERT_EQ(leading.store->Write({change}), absl::OkStatus());
  EXPECT_TRUE(Below("journal/").empty());

  const JobRecord kept = leading.store->Get("j1").value();
  EXPECT_EQ(kept.spec, record.spec);
  ASSERT_EQ(kept.tasks.size(), 1'999u);
  EXPECT_EQ(kept.tasks[1'998].attempt, 5u);
  EXPECT_EQ(kept.tasks[1'998].node, "n1998");
  EXPECT_EQ(kept.tasks[7].paths, record.tasks[7].paths);
  EXPECT_EQ(kept.results, record.results);
  // A shorter one leaves nothing of the longer behind.
  record.results = {{3, "short"}};
  ASSERT_EQ(leading.store->Write({{record.job, {}, {}, record.results}}), absl::OkStatus());
  EXPECT_EQ(leading.store->Results("j1")->at(3), "short");
  ASSERT_EQ(leading.store->Delete("j1"), absl::OkStatus());
  for (const char* what : {"job/", "id/", "task/", "paths/", "spec/", "result/"}) {
    EXPECT_TRUE(Below(what).empty()) << what;
  }
}

// As a leader leaves it that dies between the journal's commit and its end.
TEST_F(EtcdStoreTest, TheNextLeaderFinishesTheJournal) {
  const std::string& prefix = options_.prefix;
  {
    LeadingStore leading = Lead();
    ASSERT_TRUE(leading.store->Create(Numbered(1)).ok());
    EtcdOps ops;
    ops.Put(prefix + "record/k/a", "1");
    ops.Put(prefix + "record/k/b", "2");
    pb::TxnRequest first;
    pb::TxnRequest second;
    for (FencedWriter::Batch& batch : std::move(ops).Pack()) {
      *first.add_success() = batch[0];
      *second.add_success() = batch[1];
    }
    EtcdOps journal;
    journal.Put(absl::StrCat(prefix, "journal/", NumberKey(0)), first.SerializeAsString());
    journal.Put(absl::StrCat(prefix, "journal/", NumberKey(1)), second.SerializeAsString());
    journal.Put(prefix + "journal/commit", "2");
    Change(std::move(journal));
  }
  LeadingStore next = Lead();
  EXPECT_EQ(next.store->LoadActive()->size(), 1u);
  const std::map<std::string, std::string> both = {{"a", "1"}, {"b", "2"}};
  EXPECT_EQ(next.store->LoadRecords("k").value(), both);
  EXPECT_TRUE(Below("journal/").empty());
}

TEST_F(EtcdStoreTest, AJournalWithoutItsCommitNeverWas) {
  const std::string& prefix = options_.prefix;
  pb::TxnRequest batch;
  batch.add_success()->mutable_request_put()->set_key(prefix + "record/k/a");
  EtcdOps journal;
  journal.Put(absl::StrCat(prefix, "journal/", NumberKey(0)), batch.SerializeAsString());
  Change(std::move(journal));
  LeadingStore leading = Lead();
  EXPECT_TRUE(leading.store->RaiseEpoch(0).ok());
  EXPECT_TRUE(leading.store->LoadRecords("k")->empty());
  EXPECT_TRUE(Below("journal/").empty());
}

TEST_F(EtcdStoreTest, AJournalWithAHoleIsRefused) {
  EtcdOps journal;
  journal.Put(options_.prefix + "journal/commit", "2");
  Change(std::move(journal));
  LeadingStore leading = Lead();
  EXPECT_EQ(ReasonOf(leading.store->RaiseEpoch(0).status()), "STORE_CORRUPT");
}

TEST_F(EtcdStoreTest, TheNextLeaderKnowsInWhichOrderJobsEnded) {
  options_.limits.jobs = 2;
  const auto end = [](JobStore& store, uint64_t n) {
    Job job = Numbered(n).job;
    job.state = JobState::kSucceeded;
    job.ended = absl::FromUnixMicros(static_cast<int64_t>(10 - n));
    ASSERT_EQ(store.Write({{job, {}, {}, {}}}), absl::OkStatus());
  };
  {
    LeadingStore leading = Lead();
    for (uint64_t n = 1; n <= 3; ++n) ASSERT_TRUE(leading.store->Create(Numbered(n)).ok());
    end(*leading.store, 3);
    end(*leading.store, 2);
  }
  LeadingStore next = Lead();
  end(*next.store, 1);
  EXPECT_TRUE(absl::IsNotFound(next.store->Get("j3").status()));
  EXPECT_TRUE(next.store->Get("j2").ok());
  EXPECT_TRUE(next.store->Get("j1").ok());
}

// Of a job with results, too, that another leader wrote.
TEST_F(EtcdStoreTest, TheNextLeaderKnowsWhatJobsTake) {
  options_.limits.bytes = 100'000;
  const auto write = [](JobStore& store, JobState state, size_t bytes) {
    Job job = Numbered(1).job;
    job.state = state;
    ASSERT_EQ(store.Write({{job, {}, {}, {{0, std::string(bytes, 'r')}}}}), absl::OkStatus());
  };
  {
    LeadingStore leading = Lead();
    ASSERT_TRUE(leading.store->Create(Numbered(1)).ok());
    write(*leading.store, JobState::kRunning, 60'000);
  }
  {
    LeadingStore next = Lead();
    write(*next.store, JobState::kSucceeded, 50'000);
  }
  LeadingStore last = Lead();
  for (uint64_t n = 2; n <= 3; ++n) {
    JobRecord record = Numbered(n);
    record.spec = std::string(45'000, 's');
    ASSERT_TRUE(last.store->Create(record).ok());
    record.job.state = JobState::kFailed;
    ASSERT_EQ(last.store->Write({{record.job, {}, {}, {}}}), absl::OkStatus());
    EXPECT_EQ(last.store->Get("j1").ok(), n == 2);
  }
  EXPECT_EQ(Below("task/").size(), 2u);
}

// What was refused after a lost answer may have been carried out.
TEST_F(EtcdStoreTest, ALargeWriteInDoubtDoesNotComeAfterLaterOnes) {
  Proxy proxy(cluster_->addresses()[0]);
  JobRecord record = Numbered(1, 300);
  {
    LeadingStore leading = LeadThrough(proxy);
    ASSERT_TRUE(leading.store->Create(record).ok());
    for (Task& task : record.tasks) task.attempt = 1;
    // The journal; its commit twice.
    proxy.Next({Proxy::kPass, Proxy::kLose, Proxy::kRefuse});
    EXPECT_EQ(ReasonOf(leading.store->Write({{record.job, record.tasks, {}, {}}})), "STORE_FULL");
    record.tasks[0].attempt = 2;
    ASSERT_EQ(leading.store->Write({{record.job, {record.tasks[0]}, {}, {}}}), absl::OkStatus());
    EXPECT_TRUE(Below("journal/").empty());
  }
  LeadingStore next = Lead();
  EXPECT_EQ(next.store->LoadActive()->at(0).tasks[0].attempt, 2u);
  EXPECT_EQ(next.store->Get("j1")->tasks[299].attempt, 1u);
}

TEST_F(EtcdStoreTest, AJobInDoubtIsTakenAway) {
  Proxy proxy(cluster_->addresses()[0]);
  LeadingStore leading = LeadThrough(proxy);
  ASSERT_TRUE(leading.store->Create(Numbered(1)).ok());
  JobRecord refused = Numbered(2);
  refused.job.request_id = "r";
  for (const Proxy::Fate fate : {Proxy::kLose, Proxy::kHold}) {
    SCOPED_TRACE(fate);
    proxy.Next({fate, Proxy::kRefuse});
    EXPECT_EQ(ReasonOf(leading.store->Create(refused).status()), "STORE_FULL");
    // Doubt upon doubt.
    proxy.Next({Proxy::kLose, Proxy::kRefuse});
    EXPECT_EQ(ReasonOf(leading.store->PutRecord("k", "a", "1")), "STORE_FULL");

    JobRecord again = Numbered(fate == Proxy::kLose ? 3 : 4);
    again.job.request_id = absl::StrCat("r", fate);
    const uint64_t before = leading.store->List({}, 0, 1)->at(0).job.sequence;
    const absl::StatusOr<JobStore::Created> created = leading.store->Create(again);
    ASSERT_TRUE(created.ok()) << created.status();
    // A number that was given is not given again.
    EXPECT_EQ(created->record.job.sequence, before + 1);
    if (fate == Proxy::kHold) {
      EXPECT_FALSE(proxy.Deliver());
    }
    EXPECT_TRUE(absl::IsNotFound(leading.store->Get("j2").status()));
    EXPECT_TRUE(absl::IsNotFound(leading.store->FindRequest("r", refused.spec).status()));
    EXPECT_EQ(leading.store->Get(again.job.id)->spec, again.spec);
  }
  for (const char* what : {"job/", "id/", "task/", "spec/"}) EXPECT_EQ(Below(what).size(), 3u) << what;
}

TEST_F(EtcdStoreTest, WhatIsFoundOutOfAJobInDoubtStays) {
  Proxy proxy(cluster_->addresses()[0]);
  LeadingStore leading = LeadThrough(proxy);
  ASSERT_TRUE(leading.store->RaiseEpoch(0).ok());
  JobRecord refused = Numbered(1);
  refused.job.request_id = "r";
  proxy.Next({Proxy::kHold, Proxy::kRefuse});
  EXPECT_EQ(ReasonOf(leading.store->Create(refused).status()), "STORE_FULL");
  EXPECT_TRUE(absl::IsNotFound(leading.store->FindRequest("r", refused.spec).status()));
  EXPECT_FALSE(proxy.Deliver());
  EXPECT_TRUE(Below("job/").empty());
}

// Without doubt all stays as it was, also for those who read while the cluster is full.
TEST_F(EtcdStoreTest, AWriteThatWasRefusedChangesNothing) {
  Proxy proxy(cluster_->addresses()[0]);
  LeadingStore leading = LeadThrough(proxy);
  ASSERT_TRUE(leading.store->Create(Numbered(1)).ok());
  proxy.Next(std::deque<Proxy::Fate>(10, Proxy::kRefuse));
  EXPECT_EQ(ReasonOf(leading.store->Create(Numbered(2)).status()), "STORE_FULL");
  EXPECT_EQ(ReasonOf(leading.store->Create(Numbered(3, 300)).status()), "STORE_FULL");
  EXPECT_EQ(leading.store->CountByState()->at(JobState::kPending), 1u);
  EXPECT_TRUE(leading.store->Get("j1").ok());
}

TEST_F(EtcdStoreTest, NewerSchemaIsRefused) {
  EtcdOps ops;
  ops.Put(options_.prefix + "version", "2");
  Change(std::move(ops));
  LeadingStore leading = Lead();
  const std::unique_ptr<JobStore> reader = MakeEtcdStore(*client_, nullptr, options_);
  for (const absl::Status& status :
       {leading.store->RaiseEpoch(0).status(), leading.store->Create(Numbered(1)).status(),
        reader->Get("j1").status(), reader->List({}, 0, 10).status()}) {
    EXPECT_TRUE(absl::IsFailedPrecondition(status));
    EXPECT_EQ(ReasonOf(status), "STORE_NEWER");
    EXPECT_EQ(
        status.message(),
        "the store has schema 2, this version of cowherd knows up to 1; run the version that wrote it, or a "
        "later one");
  }
}

TEST_F(EtcdStoreTest, WithoutLeadershipItReads) {
  LeadingStore leading = Lead();
  JobRecord record = Numbered(1);
  ASSERT_TRUE(leading.store->Create(record).ok());
  ASSERT_EQ(leading.store->Write({{record.job, {}, {}, {{0, "r"}}}}), absl::OkStatus());
  ASSERT_EQ(leading.store->PutRecord("k", "a", "1"), absl::OkStatus());

  const std::unique_ptr<JobStore> reader = MakeEtcdStore(*client_, nullptr, options_);
  EXPECT_EQ(reader->Get("j1")->results.at(0), "r");
  EXPECT_EQ(reader->Results("j1")->at(0), "r");
  EXPECT_EQ(reader->List({}, 0, 10)->at(0).spec, "spec of 1");
  EXPECT_EQ(reader->LoadRecords("k")->at("a"), "1");
  EXPECT_TRUE(absl::IsNotFound(reader->Get("j2").status()));
  for (const absl::Status& status : {reader->RaiseEpoch(0).status(), reader->Create(Numbered(2)).status(),
                                     reader->Delete("j1"), reader->Write({{record.job, {}, {}, {}}}),
                                     reader->PutRecord("k", "a", "2"), reader->DeleteRecord("k", "a")}) {
    EXPECT_EQ(ReasonOf(status), "NOT_LEADER");
  }
  EXPECT_EQ(reader->LoadRecords("k")->at("a"), "1");
}

// Between the journal's commit and its end.
TEST_F(EtcdStoreTest, ReadersSeeNoLargeWriteInPart) {
  const std::string& prefix = options_.prefix;
  LeadingStore leading = Lead();
  JobRecord record = Numbered(1, 2);
  ASSERT_TRUE(leading.store->Create(record).ok());
  const auto put = [&](const char* value) {
    EtcdOps ops;
    for (const char* number : {"00000000", "00000001"}) {
      ops.PutPieces(absl::StrCat(prefix, "result/", SequenceKey(1), "/", number, "/"), value);
    }
    return ops;
  };
  const std::unique_ptr<JobStore> reader = MakeEtcdStore(*client_, nullptr, options_);
  EtcdOps begin = put("");
  begin.Put(prefix + "journal/commit", "2");
  Change(std::move(begin));
  std::thread writer([&] {
    absl::SleepFor(absl::Milliseconds(300));
    EtcdOps end = put("whole");
    end.Delete(prefix + "journal/commit");
    Change(std::move(end));
  });
  EXPECT_EQ(reader->Get("j1")->results.at(1), "whole");
  EXPECT_EQ(reader->Results("j1")->at(0), "whole");
  writer.join();
  EtcdOps again;
  again.Put(prefix + "journal/commit", "2");
  Change(std::move(again));
  // Of one that nobody brings to its end.
  const absl::Status status = reader->Get("j1").status();
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_EQ(ReasonOf(status), "STORE_BUSY");
  // A list has nothing of it, unless that is the job's spec.
  EXPECT_EQ(reader->List({}, 0, 10)->size(), 1u);
  EtcdOps torn;
  torn.PutPieces(absl::StrCat(prefix, "spec/", SequenceKey(1), "/"), "par");
  Change(std::move(torn));
  EXPECT_EQ(ReasonOf(reader->List({}, 0, 10).status()), "STORE_BUSY");
}

TEST_F(EtcdStoreTest, AFormerLeadersStoreChangesNothing) {
  LeadingStore former = Lead();
  ASSERT_TRUE(former.store->Create(Numbered(1, 300)).ok());
  // Its key goes; it still believes in its lease.
  EtcdOps steal;
  steal.Delete(EtcdLeaderKey(options_.prefix));
  Change(std::move(steal));
  LeadingStore leader = Lead();
  ASSERT_TRUE(former.leadership->Holds());
  const uint64_t epoch = leader.store->RaiseEpoch(0).value();
  const auto before = Below("");
  for (const absl::Status& status :
       {former.store->RaiseEpoch(1'000).status(), former.store->Create(Numbered(2)).status(),
        former.store->Write({{Numbered(1).job, Numbered(1, 300).tasks, {}, {}}}), former.store->Delete("j1"),
        former.store->PutRecord("k", "a", "1"), former.store->DeleteRecord("k", "a")}) {
    EXPECT_EQ(ReasonOf(status), "NOT_LEADER");
  }
  EXPECT_EQ(Below(""), before);
  EXPECT_EQ(leader.store->RaiseEpoch(0).value(), epoch + 1);
}

}  // namespace
}  // namespace cowherd
