// Calls to several controllers, of which one leads, on loopback ports.
#include "client/job_client.h"

#include <gtest/gtest.h>

#include "absl/strings/str_join.h"
#include "server/base/status.h"
#include "tests/testing/fake_servers.h"

namespace cowherd::testing {
namespace {

v1::Job JobAt(uint64_t revision, v1::JobState state = v1::RUNNING) {
  v1::Job job;
  job.set_id("j");
  job.set_revision(revision);
  job.set_state(state);
  return job;
}

v1::CreateJobRequest CreateRequest(const std::string& request_id) {
  v1::CreateJobRequest request;
  request.set_request_id(request_id);
  return request;
}

constexpr absl::Duration kTimeout = absl::Seconds(20);
const grpc::Status kBroken(grpc::StatusCode::UNAVAILABLE, "Socket closed");

class JobClientTest : public ::testing::Test {
 protected:
  JobClientTest() {
    for (FakeController& controller : controllers_) {
      servers_.push_back(std::make_unique<FakeServer>(controller));
      addresses_.push_back(servers_.back()->address());
      controller.job = JobAt(1);
    }
  }

  JobClient Client(const std::vector<std::string>& addresses) {
    return JobClient(Controllers::Make(absl::StrJoin(addresses, ","), {}, [this](absl::Duration time) {
                       slept_ += time;
                       absl::SleepFor(absl::Milliseconds(1));
                     }).value());
  }
  JobClient Client() { return Client(addresses_); }

  // Of a watch to its end, or to its failure.
  absl::Status Watch(const JobClient& client) {
    return client.WatchJob(
        "j",
        [this](const v1::Job& job) {
          seen_.push_back(job.revision());
          return true;
        },
        [this](const absl::Status&) { ++broken_; }, kTimeout);
  }

  size_t Creates() const {
    size_t sum = 0;
    for (const FakeController& controller : controllers_) sum += controller.creates().size();
    return sum;
  }

  FakeController controllers_[3];
  std::vector<std::unique_ptr<FakeServer>> servers_;
  std::vector<std::string> addresses_;
  absl::Duration slept_;
  std::vector<uint64_t> seen_;
  int broken_ = 0;
};

TEST_F(JobClientTest, TheLeaderIsFoundWhereverACallBegins) {
  controllers_[0].job = NotLeader(addresses_[2]);
  controllers_[1].job = NotLeader(addresses_[2]);
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(Client().CancelJob("j", kTimeout)->revision(), 1u);
    EXPECT_EQ(Client().CreateJob(CreateRequest(""), kTimeout)->revision(), 1u);
  }
  EXPECT_EQ(controllers_[2].creates().size(), 10u);
  EXPECT_EQ(slept_, absl::ZeroDuration());
}

TEST_F(JobClientTest, ALeaderThatIsNotInTheListIsFollowedToo) {
  controllers_[0].job = NotLeader(addresses_[2]);
  const JobClient client = Client({addresses_[0]});
  v1::PauseJobRequest pause;
  pause.set_id("j");
  EXPECT_TRUE(client.PauseJob(pause, kTimeout).ok());
  // And asked first from then on.
  EXPECT_TRUE(client.ResumeJob("j", kTimeout).ok());
  EXPECT_EQ(controllers_[0].calls(), std::vector<std::string>{"PauseJob j"});
  EXPECT_EQ(controllers_[2].calls(), (std::vector<std::string>{"PauseJob j", "ResumeJob j"}));
}

TEST_F(JobClientTest, AnElectionIsWaitedForAsLongAsTheCallMayTake) {
  for (FakeController& controller : controllers_) controller.job = NotLeader("");
  EXPECT_EQ(ReasonOf(Client().CancelJob("j", absl::Seconds(1)).status()), "NOT_LEADER");
  EXPECT_GT(slept_, absl::ZeroDuration());
}

TEST_F(JobClientTest, ThoseThatAreGoneAreLeft) {
  servers_[0].reset();
  servers_[1].reset();
  for (int i = 0; i < 5; ++i) {
    EXPECT_TRUE(Client().GetJob("j", kTimeout).ok());
    EXPECT_TRUE(Client().DeleteJob("j", kTimeout).ok());
    EXPECT_TRUE(Client().CreateJob(CreateRequest(""), kTimeout).ok());
  }
  EXPECT_EQ(Creates(), 5u);
  servers_[2].reset();
  const absl::Status status = Client().DeleteJob("j", kTimeout);
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_EQ(ReasonOf(status), "");
  EXPECT_TRUE(absl::IsUnavailable(Client().GetJob("j", kTimeout).status()));
}

TEST_F(JobClientTest, WithoutAnAnswerACreateIsRepeatedOnlyWithARequestId) {
  for (FakeController& controller : controllers_) controller.break_with = kBroken;
  EXPECT_TRUE(absl::IsUnavailable(Client().CreateJob(CreateRequest(""), kTimeout).status()));
  EXPECT_EQ(Creates(), 1u);
  EXPECT_TRUE(absl::IsUnavailable(Client().CreateJob(CreateRequest("r"), kTimeout).status()));
  EXPECT_EQ(Creates(), 4u);
  // Neither are the others.
  EXPECT_TRUE(absl::IsUnavailable(Client().CancelJob("j", kTimeout).status()));
  size_t cancels = 0;
  for (const FakeController& controller : controllers_) cancels += controller.calls().size();
  EXPECT_EQ(cancels, 1u);
}

TEST_F(JobClientTest, AWatchGoesOnAtAnotherControllerAndNeverBack) {
  // Wherever it begins: each tells something once, then the next one's turn comes.
  const JobClient client = Client({addresses_[0]});
  controllers_[0].watches = {
      {{JobAt(3), JobAt(5)}, NotLeader(addresses_[1])},
  };
  controllers_[1].watches = {
      {{JobAt(4), JobAt(5)}, MakeError(absl::StatusCode::kUnavailable, "STOPPING", "stopping")},
      {{JobAt(6), JobAt(6), JobAt(8, v1::SUCCEEDED)}, absl::OkStatus()},
  };
  controllers_[0].watches.push_back({{JobAt(2)}, NotLeader(addresses_[1])});
  EXPECT_TRUE(Watch(client).ok());
  EXPECT_EQ(seen_, (std::vector<uint64_t>{3, 5, 6, 8}));
  EXPECT_GE(broken_, 2);
}

TEST_F(JobClientTest, AWatchOfAStoreThatWasPutBackEnds) {
  const JobClient client = Client({addresses_[0]});
  controllers_[0].watches = {
      {{JobAt(7)}, absl::UnavailableError("restart")},
      {{JobAt(4), JobAt(5, v1::SUCCEEDED)}, absl::OkStatus()},
  };
  EXPECT_EQ(ReasonOf(Watch(client)), "JOB_WENT_BACK");
  EXPECT_EQ(seen_, std::vector<uint64_t>{7});
}

TEST_F(JobClientTest, OtherErrorsEndAWatch) {
  const JobClient client = Client({addresses_[0]});
  controllers_[0].watches = {{{JobAt(7)}, MakeError(absl::StatusCode::kNotFound, "JOB_UNKNOWN", "deleted")}};
  EXPECT_EQ(ReasonOf(Watch(client)), "JOB_UNKNOWN");
  EXPECT_EQ(broken_, 0);
}

}  // namespace
}  // namespace cowherd::testing
