// A candidate's terms, on a real member of etcd.
#include "server/controller/candidacy.h"

#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/base/boot_clock.h"
#include "server/base/clock.h"
#include "server/base/status.h"
#include "server/jobs/memory_store.h"
#include "tests/testing/etcd_cluster.h"
#include "tests/testing/fake_link.h"
#include "tests/testing/leading_store.h"

namespace cowherd {
namespace {

constexpr absl::Duration kLease = absl::Seconds(3);

// What a candidate is told to do, in order.
class Diary {
 public:
  void Add(const std::string& what) {
    std::lock_guard<std::mutex> lock(mutex_);
    lines_.push_back(what);
    changed_.notify_all();
  }
  std::vector<std::string> lines() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return lines_;
  }
  // Once it has so many lines, or after long enough.
  std::vector<std::string> WaitFor(size_t count) const {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(30), [&] { return lines_.size() >= count; });
    return lines_;
  }

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::vector<std::string> lines_;
};

class CandidacyTest : public ::testing::Test {
 protected:
  using Lines = std::vector<std::string>;

  void SetUp() override {
    absl::StatusOr<std::unique_ptr<EtcdCluster>> cluster = EtcdCluster::Start(1);
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    cluster_ = *std::move(cluster);
    client_ = PlainEtcdClient(cluster_->addresses());
    own_ = std::make_unique<Election>(*client_, Named("own:1"));
    other_ = std::make_unique<Election>(*client_, Named("other:1"));
  }

  static Election::Options Named(const std::string& address) {
    Election::Options options;
    options.key = "/t/leader";
    options.address = address;
    options.lease = kLease;
    return options;
  }

  // `begins`: why terms cannot begin, one after the other; those that come later do.
  std::unique_ptr<Candidacy> Stand(std::deque<absl::Status> begins = {}) {
    begins_ = std::move(begins);
    Candidacy::Duties duties;
    duties.begin = [this](const Leadership& leadership) -> absl::StatusOr<std::unique_ptr<Term>> {
      diary_.Add("begin");
      if (!begins_.empty()) {
        const absl::Status status = begins_.front();
        begins_.pop_front();
        return status;
      }
      Term::Options options;
      options.holds = [&leadership] { return leadership.Holds(); };
      return Term::Begin(std::make_unique<MemoryStore>(), link_, clock_, metrics_, options);
    };
    duties.lead = [this](Term&) { diary_.Add("lead"); };
    duties.follow = [this] { diary_.Add("follow"); };
    duties.give_up = [this](const absl::Status& status) { diary_.Add("give up: " + ReasonOf(status)); };
    return std::make_unique<Candidacy>(*own_, std::move(duties));
  }

  std::unique_ptr<EtcdCluster> cluster_;
  std::unique_ptr<EtcdClient> client_;
  std::unique_ptr<Election> own_;
  std::unique_ptr<Election> other_;
  prometheus::Registry registry_;
  ControllerMetrics metrics_{registry_, "1", {}, {}};
  RealClock clock_;
  FakeLink link_;
  std::deque<absl::Status> begins_;
  Diary diary_;
};

TEST_F(CandidacyTest, HandsOverAtOnce) {
  const std::unique_ptr<Candidacy> candidacy = Stand();
  EXPECT_EQ(diary_.WaitFor(2), (Lines{"begin", "lead"}));
  EXPECT_EQ(ReasonOf(other_->TryOnce().status()), "NOT_LEADER");
  const absl::Duration began = SinceBoot();
  candidacy->Stop();
  EXPECT_EQ(diary_.lines(), (Lines{"begin", "lead", "follow"}));
  const absl::StatusOr<std::unique_ptr<Leadership>> next = other_->Campaign();
  ASSERT_TRUE(next.ok()) << next.status();
  // Not when the lease has run out.
  EXPECT_LT(SinceBoot() - began, absl::Seconds(1));
}

TEST_F(CandidacyTest, StopsWhileAnotherLeads) {
  const absl::StatusOr<std::unique_ptr<Leadership>> leader = other_->Campaign();
  ASSERT_TRUE(leader.ok()) << leader.status();
  const std::unique_ptr<Candidacy> candidacy = Stand();
  while (own_->leader().empty()) absl::SleepFor(absl::Milliseconds(10));
  candidacy->Stop();
  EXPECT_EQ(diary_.lines(), Lines());
  EXPECT_TRUE((*leader)->Holds());
}

TEST_F(CandidacyTest, TriesAgainAfterWhatPasses) {
  const std::unique_ptr<Candidacy> candidacy =
      Stand({absl::UnavailableError("no member answers"), absl::ResourceExhaustedError("disk full")});
  EXPECT_EQ(diary_.WaitFor(4), (Lines{"begin", "begin", "begin", "lead"}));
}

// None of these tells of the store: most of them, what became of a call is not known.
TEST_F(CandidacyTest, TriesAgainWhateverEtcdSaysOnce) {
  const std::deque<absl::Status> passes = {
      absl::UnknownError("etcd: ?"),
      absl::InternalError("etcd: a stream broke"),
      absl::OutOfRangeError("etcd: compacted"),
      WithDetail(absl::PermissionDeniedError("no role yet"), "STORE_REFUSES", "", 0),
      absl::FailedPreconditionError("etcd: authentication is not enabled"),
      absl::DataLossError("etcd: a member is corrupt"),
  };
  const std::unique_ptr<Candidacy> candidacy = Stand(passes);
  Lines lines(passes.size() + 1, "begin");
  lines.push_back("lead");
  EXPECT_EQ(diary_.WaitFor(lines.size()), lines);
}

// It gives the key up in between: whoever stands too may do better.
TEST_F(CandidacyTest, LetsAnotherTryAfterWhatPasses) {
  const std::unique_ptr<Candidacy> candidacy = Stand({absl::UnavailableError("no member answers")});
  EXPECT_EQ(diary_.WaitFor(1), Lines{"begin"});
  absl::StatusOr<std::unique_ptr<Leadership>> other = other_->Campaign();
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_EQ(diary_.lines(), Lines{"begin"});
  (*other)->Resign();
  EXPECT_EQ(diary_.WaitFor(3), (Lines{"begin", "begin", "lead"}));
}

TEST_F(CandidacyTest, GivesUpWhereNoTermCanEverBegin) {
  const std::unique_ptr<Candidacy> candidacy =
      Stand({WithDetail(absl::FailedPreconditionError("newer"), "SCHEMA_TOO_NEW", "", 0)});
  EXPECT_EQ(diary_.WaitFor(2), (Lines{"begin", "give up: SCHEMA_TOO_NEW"}));
  // Its key is free at once.
  const absl::StatusOr<std::unique_ptr<Leadership>> next = other_->Campaign();
  ASSERT_TRUE(next.ok()) << next.status();
  candidacy->Stop();
  EXPECT_EQ(diary_.lines(), (Lines{"begin", "give up: SCHEMA_TOO_NEW"}));
}

TEST_F(CandidacyTest, GivesUpADamagedStore) {
  const std::unique_ptr<Candidacy> candidacy =
      Stand({WithDetail(absl::DataLossError("damaged"), "STORE_CORRUPT", "", 0)});
  EXPECT_EQ(diary_.WaitFor(2), (Lines{"begin", "give up: STORE_CORRUPT"}));
}

TEST_F(CandidacyTest, GivesUpNodesThatItCannotHave) {
  const std::unique_ptr<Candidacy> candidacy = Stand({FieldError("--node", "twice")});
  EXPECT_EQ(diary_.WaitFor(2), (Lines{"begin", "give up: INVALID_ARGUMENT"}));
}

TEST_F(CandidacyTest, LeadsAgainAfterItsLeadershipWasLost) {
  const std::unique_ptr<Candidacy> candidacy = Stand();
  EXPECT_EQ(diary_.WaitFor(2), (Lines{"begin", "lead"}));
  ASSERT_EQ(cluster_->Freeze(0), absl::OkStatus());
  const absl::Duration began = SinceBoot();
  EXPECT_EQ(diary_.WaitFor(3), (Lines{"begin", "lead", "follow"}));
  EXPECT_LT(SinceBoot() - began, kLease);
  ASSERT_EQ(cluster_->Thaw(0), absl::OkStatus());
  EXPECT_EQ(diary_.WaitFor(5), (Lines{"begin", "lead", "follow", "begin", "lead"}));
}

}  // namespace
}  // namespace cowherd
