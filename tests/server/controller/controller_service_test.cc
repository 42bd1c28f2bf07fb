// The whole controller but for its main, against nodes that only pretend to work, over gRPC.
#include "server/controller/controller_service.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>
#include <prometheus/registry.h>
#include <unistd.h>

#include <functional>
#include <memory>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "cowherd/v1/node.grpc.pb.h"
#include "server/base/clock.h"
#include "server/base/grpc_status.h"
#include "server/base/status.h"
#include "server/controller/grpc_node_link.h"
#include "server/controller/hold_service.h"
#include "server/controller/request.h"
#include "server/controller/schedule_convert.h"
#include "server/controller/schedule_service.h"
#include "server/controller/store_pulse.h"
#include "server/controller/timed_store.h"
#include "server/controller/window_convert.h"
#include "server/jobs/sqlite_store.h"
#include "server/sched/loop_thread.h"
#include "tests/testing/fake_node.h"

namespace cowherd {
namespace {

v1::Node Facts() {
  v1::Node node;
  node.set_name("own");
  v1::Root& root = *node.add_roots();
  root.set_name("data");
  root.set_path("/srv");
  root.set_filesystem("btrfs");
  root.set_dedupe_supported(true);
  return node;
}

v1::TaskTotals Accepted(uint64_t bytes) {
  v1::TaskTotals totals;
  totals.set_bytes_accepted(bytes);
  return totals;
}

v1::TaskSummary Done(uint64_t bytes) {
  v1::TaskSummary summary;
  *summary.mutable_totals() = Accepted(bytes);
  return summary;
}

// A controller process, so to say.
class Controller {
 public:
  Controller(const std::string& store, const std::vector<Target>& nodes)
      : metrics_(registry_, "1", {}, {std::begin(kStoreOperations), std::end(kStoreOperations)}),
        store_(OpenSqliteStore(store).value(), metrics_, pulse_),
        link_(LinkOptions()),
        loop_(store_, link_, clock_, mailbox_, metrics_, ReadPlan, random_, LoopOptions()),
        schedules_(store_, loop_, clock_, MakeScheduleCodec(), metrics_, random_),
        node_windows_(store_, loop_, ReadNodeWindows),
        service_(loop_, mailbox_),
        schedule_service_(schedules_, node_windows_, clock_, mailbox_),
        hold_service_(loop_, mailbox_) {
    EXPECT_TRUE(loop_.SetTargets("static", nodes).ok());
    EXPECT_TRUE(loop_.Recover().ok());
    EXPECT_TRUE(schedules_.Recover().ok());
    EXPECT_TRUE(node_windows_.Recover().ok());
    grpc::ServerBuilder builder;
    builder.RegisterService(&service_);
    builder.RegisterService(&schedule_service_);
    builder.RegisterService(&hold_service_);
    server_ = builder.BuildAndStart();
    stub_ = v1::ControllerService::NewStub(server_->InProcessChannel(grpc::ChannelArguments()));
    holds_stub_ = v1::HoldService::NewStub(server_->InProcessChannel(grpc::ChannelArguments()));
    schedules_stub_ = v1::ScheduleService::NewStub(server_->InProcessChannel(grpc::ChannelArguments()));
    thread_ = std::make_unique<LoopThread>(loop_, schedules_, *mailbox_, clock_);
  }
  // As on SIGTERM.
  ~Controller() {
    StopLoop();
    server_->Shutdown();
  }
  void StopLoop() { thread_.reset(); }

  v1::ControllerService::Stub& stub() { return *stub_; }
  v1::HoldService::Stub& holds() { return *holds_stub_; }
  v1::ScheduleService::Stub& schedules() { return *schedules_stub_; }

 private:
  static GrpcNodeLink::Options LinkOptions() {
    GrpcNodeLink::Options options;
    options.credentials = grpc::InsecureChannelCredentials();
    return options;
  }
  static Loop::Options LoopOptions() {
    Loop::Options options;
    options.probe_interval = absl::Milliseconds(100);
    return options;
  }

  prometheus::Registry registry_;
  ControllerMetrics metrics_;
  StorePulse pulse_;
  TimedStore store_;
  RealClock clock_;
  absl::BitGen random_;
  std::shared_ptr<Mailbox> mailbox_ = std::make_shared<Mailbox>(100);
  GrpcNodeLink link_;
  Loop loop_;
  Schedules schedules_;
  NodeWindows node_windows_;
  ControllerService service_;
  ScheduleService schedule_service_;
  HoldService hold_service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<v1::ControllerService::Stub> stub_;
  std::unique_ptr<v1::HoldService::Stub> holds_stub_;
  std::unique_ptr<v1::ScheduleService::Stub> schedules_stub_;
  std::unique_ptr<LoopThread> thread_;
};

class ControllerServiceTest : public ::testing::Test {
 protected:
  ControllerServiceTest() { Start(); }

  void Start() {
    controller_ = std::make_unique<Controller>(path_, std::vector<Target>{{"n1", {node_.address(), ""}}});
  }
  void Restart() {
    controller_.reset();
    Start();
  }

  v1::CreateJobRequest ScanRequest() {
    v1::CreateJobRequest request;
    request.mutable_spec()->mutable_scan()->mutable_nodes()->mutable_names()->add_names("n1");
    return request;
  }
  v1::Job Create(const v1::CreateJobRequest& request) {
    grpc::ClientContext context;
    v1::Job job;
    const grpc::Status status = controller_->stub().CreateJob(&context, request, &job);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return job;
  }
  absl::Status CreateError(const v1::CreateJobRequest& request) {
    grpc::ClientContext context;
    v1::Job job;
    return FromGrpc(controller_->stub().CreateJob(&context, request, &job));
  }
  v1::Job Get(const std::string& id) {
    grpc::ClientContext context;
    v1::GetJobRequest request;
    request.set_id(id);
    v1::Job job;
    EXPECT_TRUE(controller_->stub().GetJob(&context, request, &job).ok());
    return job;
  }
  v1::Schedule CreateSchedule(const v1::CreateScheduleRequest& request) {
    grpc::ClientContext context;
    v1::Schedule schedule;
    const grpc::Status status = controller_->schedules().CreateSchedule(&context, request, &schedule);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return schedule;
  }
  v1::Schedule GetSchedule(const std::string& name) {
    grpc::ClientContext context;
    v1::GetScheduleRequest request;
    request.set_name(name);
    v1::Schedule schedule;
    EXPECT_TRUE(controller_->schedules().GetSchedule(&context, request, &schedule).ok());
    return schedule;
  }
  // Follows a job until it is as wanted or has ended; returns it as last seen.
  v1::Job WatchUntil(const std::string& id, const std::function<bool(const v1::Job&)>& wanted) {
    grpc::ClientContext context;
    v1::WatchJobRequest request;
    request.set_id(id);
    auto reader = controller_->stub().WatchJob(&context, request);
    v1::Job job;
    uint64_t revision = 0;
    while (reader->Read(&job)) {
      EXPECT_GT(job.revision(), revision);
      revision = job.revision();
      if (!wanted(job)) continue;
      context.TryCancel();
      reader->Finish();
      return job;
    }
    EXPECT_TRUE(reader->Finish().ok());
    return job;
  }
  v1::Job WatchToTheEnd(const std::string& id) {
    return WatchUntil(id, [](const v1::Job&) { return false; });
  }

  const std::string path_ =
      absl::StrCat(::testing::TempDir(), "/", ::testing::UnitTest::GetInstance()->current_test_info()->name(),
                   "-", ::getpid());
  FakeNode node_{Facts()};
  std::unique_ptr<Controller> controller_;
};

TEST_F(ControllerServiceTest, RunsAJob) {
  v1::CreateJobRequest request = ScanRequest();
  request.mutable_spec()->set_display_name("nightly");
  const v1::Job made = Create(request);
  EXPECT_EQ(made.state(), v1::PENDING);
  const v1::RunTaskRequest run = node_.WaitForRun();
  EXPECT_EQ(run.scan().root(), "data");
  EXPECT_EQ(run.job_id(), made.id());
  EXPECT_EQ(run.attempt(), 1u);
  EXPECT_GT(run.epoch(), 0u);
  node_.Progress(run.task_id(), Accepted(3));
  const v1::Job midway =
      WatchUntil(made.id(), [](const v1::Job& job) { return job.totals().bytes_accepted() == 3; });
  EXPECT_EQ(midway.state(), v1::RUNNING);
  EXPECT_EQ(midway.tasks(0).state(), v1::TASK_RUNNING);
  node_.End(run.task_id(), Done(5));
  const v1::Job done = WatchToTheEnd(made.id());
  EXPECT_EQ(done.state(), v1::SUCCEEDED);
  EXPECT_EQ(done.totals().bytes_accepted(), 5u);
  EXPECT_EQ(done.spec().display_name(), "nightly");
  EXPECT_TRUE(done.has_started() && done.has_ended());
  EXPECT_EQ(Get(made.id()).SerializeAsString(), done.SerializeAsString());
}

TEST_F(ControllerServiceTest, RangeResultsComeBack) {
  v1::CreateJobRequest request;
  v1::NodeRanges& node = *request.mutable_spec()->mutable_ranges()->add_nodes();
  node.set_node("n1");
  v1::DedupeRangesRequest& ranges = *node.mutable_ranges()->add_requests();
  ranges.mutable_source()->set_path("/srv/a\xff");
  ranges.set_length(4096);
  ranges.add_destinations()->set_path("/srv/b");
  const v1::Job made = Create(request);
  const v1::RunTaskRequest run = node_.WaitForRun();
  EXPECT_EQ(run.ranges().requests(0).source().path(), "/srv/a\xff");
  v1::TaskSummary summary = Done(4096);
  summary.add_ranges()->mutable_response()->set_bytes_accepted(4096);
  node_.End(run.task_id(), summary);
  const v1::Job done = WatchToTheEnd(made.id());
  ASSERT_EQ(done.tasks(0).ranges_size(), 1);
  EXPECT_EQ(done.tasks(0).ranges(0).response().bytes_accepted(), 4096u);
}

TEST_F(ControllerServiceTest, LargestGroupsOfAScanAreKept) {
  const v1::Job made = Create(ScanRequest());
  const v1::RunTaskRequest run = node_.WaitForRun();
  v1::TaskSummary summary = Done(3);
  v1::DuplicateGroup& group = *summary.mutable_largest()->add_groups();
  group.mutable_source()->set_path("/srv/a\xff");
  group.set_copies(7);
  node_.End(run.task_id(), summary);
  const v1::Job done = WatchToTheEnd(made.id());
  ASSERT_EQ(done.tasks(0).largest().groups_size(), 1);
  EXPECT_EQ(done.tasks(0).largest().groups(0).source().path(), "/srv/a\xff");
  EXPECT_EQ(done.tasks(0).largest().groups(0).copies(), 7u);
  EXPECT_EQ(done.tasks(0).ranges_size(), 0);
}

TEST_F(ControllerServiceTest, CancelReachesTheNode) {
  const v1::Job made = Create(ScanRequest());
  const v1::RunTaskRequest run = node_.WaitForRun();
  node_.Progress(run.task_id(), Accepted(3));
  grpc::ClientContext context;
  v1::CancelJobRequest request;
  request.set_id(made.id());
  v1::Job job;
  const absl::Time begin = absl::Now();
  ASSERT_TRUE(controller_->stub().CancelJob(&context, request, &job).ok());
  const v1::Job done = WatchToTheEnd(made.id());
  EXPECT_LT(absl::Now() - begin, absl::Seconds(2));
  EXPECT_EQ(done.state(), v1::CANCELLED);
  EXPECT_EQ(done.totals().bytes_accepted(), 3u);
}

TEST_F(ControllerServiceTest, ARunOfAJobThatEndedIsStopped) {
  const v1::Job made = Create(ScanRequest());
  v1::RunTaskRequest request = node_.WaitForRun();
  node_.End(request.task_id(), Done(9));
  EXPECT_EQ(WatchToTheEnd(made.id()).state(), v1::SUCCEEDED);
  request.set_attempt(request.attempt() + 1);
  const auto stub =
      v1::NodeService::NewStub(grpc::CreateChannel(node_.address(), grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  const auto reader = stub->RunTask(&context, request);
  v1::RunTaskResponse last;
  while (reader->Read(&last)) {
  }
  EXPECT_EQ(last.summary().error().reason(), "CANCELLED");
}

TEST_F(ControllerServiceTest, PauseAndResume) {
  const v1::Job made = Create(ScanRequest());
  const v1::RunTaskRequest first = node_.WaitForRun();
  node_.Progress(first.task_id(), Accepted(3));
  v1::Job job;
  {
    grpc::ClientContext context;
    v1::PauseJobRequest request;
    request.set_id(made.id());
    ASSERT_TRUE(controller_->stub().PauseJob(&context, request, &job).ok());
    EXPECT_EQ(job.state(), v1::PAUSED);
  }
  const v1::Job paused =
      WatchUntil(made.id(), [](const v1::Job& now) { return now.tasks(0).state() == v1::TASK_WAITING; });
  EXPECT_EQ(paused.state(), v1::PAUSED);
  {
    grpc::ClientContext context;
    v1::ResumeJobRequest request;
    request.set_id(made.id());
    ASSERT_TRUE(controller_->stub().ResumeJob(&context, request, &job).ok());
  }
  const v1::RunTaskRequest second = node_.WaitForRun();
  EXPECT_EQ(second.task_id(), first.task_id());
  EXPECT_EQ(second.attempt(), 2u);
  node_.End(second.task_id(), Done(4));
  const v1::Job done = WatchToTheEnd(made.id());
  EXPECT_EQ(done.state(), v1::SUCCEEDED);
  EXPECT_EQ(done.totals().bytes_accepted(), 7u);
}

TEST_F(ControllerServiceTest, RestartAttaches) {
  const v1::Job made = Create(ScanRequest());
  const v1::RunTaskRequest run = node_.WaitForRun();
  node_.Progress(run.task_id(), Accepted(3));
  WatchUntil(made.id(), [](const v1::Job& job) { return job.totals().bytes_accepted() == 3; });
  Restart();
  node_.Progress(run.task_id(), Accepted(4));
  WatchUntil(made.id(), [](const v1::Job& job) { return job.totals().bytes_accepted() == 4; });
  node_.End(run.task_id(), Done(5));
  const v1::Job done = WatchToTheEnd(made.id());
  EXPECT_EQ(done.state(), v1::SUCCEEDED);
  EXPECT_EQ(done.totals().bytes_accepted(), 5u);
  EXPECT_EQ(done.tasks(0).attempt(), 1u);
}

TEST_F(ControllerServiceTest, NodeComesAndGoes) {
  const v1::Job made = Create(ScanRequest());
  const v1::RunTaskRequest run = node_.WaitForRun();
  node_.GoDown();
  const v1::Job waiting =
      WatchUntil(made.id(), [](const v1::Job& job) { return job.tasks(0).state() == v1::TASK_WAITING; });
  EXPECT_TRUE(waiting.tasks(0).has_error());
  v1::ListNodesResponse nodes;
  do {
    grpc::ClientContext context;
    ASSERT_TRUE(controller_->stub().ListNodes(&context, {}, &nodes).ok());
    ASSERT_EQ(nodes.nodes_size(), 1);
  } while (nodes.nodes(0).state() != v1::NODE_DOWN);
  EXPECT_EQ(nodes.nodes(0).name(), "n1");
  EXPECT_EQ(nodes.nodes(0).node().roots(0).name(), "data");
  EXPECT_FALSE(nodes.nodes(0).error().reason().empty());
  EXPECT_TRUE(nodes.nodes(0).has_last_seen());
  node_.ComeBack();
  node_.End(run.task_id(), Done(5));
  EXPECT_EQ(WatchToTheEnd(made.id()).totals().bytes_accepted(), 5u);
}

TEST_F(ControllerServiceTest, RequestIdIsIdempotent) {
  v1::CreateJobRequest request = ScanRequest();
  request.set_request_id("r1");
  const v1::Job made = Create(request);
  EXPECT_EQ(Create(request).id(), made.id());
  request.mutable_spec()->set_display_name("other");
  const absl::Status status = CreateError(request);
  EXPECT_TRUE(absl::IsAlreadyExists(status));
  EXPECT_EQ(ReasonOf(status), "REQUEST_ID_REUSED");
  Restart();
  request.mutable_spec()->clear_display_name();
  EXPECT_EQ(Create(request).id(), made.id());
}

TEST_F(ControllerServiceTest, ErrorsNameTheField) {
  v1::CreateJobRequest request = ScanRequest();
  request.mutable_spec()->mutable_scan()->mutable_nodes()->mutable_names()->add_names("nobody");
  EXPECT_EQ(FieldOf(CreateError(request)), "spec.scan.nodes.names.names[1]");
  EXPECT_EQ(FieldOf(CreateError({})), "spec.work");
  grpc::ClientContext context;
  v1::WatchJobRequest watch;
  watch.set_id("none");
  auto reader = controller_->stub().WatchJob(&context, watch);
  v1::Job job;
  EXPECT_FALSE(reader->Read(&job));
  EXPECT_EQ(ReasonOf(FromGrpc(reader->Finish())), "JOB_UNKNOWN");
}

TEST_F(ControllerServiceTest, ListsInPagesAndDeletes) {
  std::vector<std::string> ids;
  ids.reserve(5);
  for (int i = 0; i < 5; ++i) ids.push_back(Create(ScanRequest()).id());
  std::vector<std::string> listed;
  v1::ListJobsRequest request;
  request.set_page_size(2);
  int pages = 0;
  do {
    grpc::ClientContext context;
    v1::ListJobsResponse response;
    ASSERT_TRUE(controller_->stub().ListJobs(&context, request, &response).ok());
    for (const v1::Job& job : response.jobs()) {
      listed.push_back(job.id());
      EXPECT_EQ(job.tasks_size(), 0);
      EXPECT_TRUE(job.spec().has_scan());
    }
    request.set_page_token(response.next_page_token());
    ++pages;
  } while (!request.page_token().empty());
  EXPECT_EQ(pages, 3);
  EXPECT_EQ(listed, std::vector<std::string>(ids.rbegin(), ids.rend()));

  v1::DeleteJobRequest remove;
  remove.set_id(ids[0]);
  google::protobuf::Empty empty;
  {
    grpc::ClientContext context;
    EXPECT_EQ(ReasonOf(FromGrpc(controller_->stub().DeleteJob(&context, remove, &empty))), "JOB_ACTIVE");
  }
  node_.End(node_.WaitForRun().task_id(), Done(1));
  EXPECT_EQ(WatchToTheEnd(ids[0]).state(), v1::SUCCEEDED);
  {
    grpc::ClientContext context;
    EXPECT_TRUE(controller_->stub().DeleteJob(&context, remove, &empty).ok());
  }
  {
    grpc::ClientContext context;
    EXPECT_EQ(ReasonOf(FromGrpc(controller_->stub().DeleteJob(&context, remove, &empty))), "JOB_UNKNOWN");
  }
}

v1::CreateScheduleRequest Hourly() {
  v1::CreateScheduleRequest request;
  request.set_name("hourly");
  request.mutable_spec()->mutable_job()->mutable_scan()->mutable_nodes()->set_all(true);
  request.mutable_spec()->set_cron("0 * * * *");
  return request;
}

TEST_F(ControllerServiceTest, Schedules) {
  const v1::Schedule made = CreateSchedule(Hourly());
  EXPECT_EQ(made.revision(), 1u);
  EXPECT_EQ(made.next_run().seconds() % 3600, 0);
  EXPECT_GT(absl::FromUnixSeconds(made.next_run().seconds()), absl::Now() - absl::Seconds(5));
  EXPECT_EQ(GetSchedule("hourly").SerializeAsString(), made.SerializeAsString());

  v1::Schedule updated;
  {
    v1::UpdateScheduleRequest request;
    request.set_name("hourly");
    *request.mutable_spec() = made.spec();
    request.mutable_spec()->set_suspended(true);
    request.set_revision(made.revision());
    grpc::ClientContext context;
    ASSERT_TRUE(controller_->schedules().UpdateSchedule(&context, request, &updated).ok());
    EXPECT_FALSE(updated.has_next_run());
    request.mutable_spec()->set_cron("* * * *");
    grpc::ClientContext again;
    const absl::Status status = FromGrpc(controller_->schedules().UpdateSchedule(&again, request, &updated));
    EXPECT_EQ(FieldOf(status), "spec.cron");
    request.mutable_spec()->set_cron("0 4 * * *");
    grpc::ClientContext stale;
    EXPECT_EQ(ReasonOf(FromGrpc(controller_->schedules().UpdateSchedule(&stale, request, &updated))),
              "SCHEDULE_CHANGED");
  }

  v1::RunScheduleNowRequest now;
  now.set_name("hourly");
  now.set_request_id("once");
  v1::Job job;
  {
    grpc::ClientContext context;
    ASSERT_TRUE(controller_->schedules().RunScheduleNow(&context, now, &job).ok());
  }
  EXPECT_EQ(job.schedule(), "hourly");
  EXPECT_TRUE(job.has_scheduled());
  const v1::RunTaskRequest run = node_.WaitForRun();
  EXPECT_EQ(run.job_id(), job.id());
  node_.Progress(run.task_id(), Accepted(3));
  WatchUntil(job.id(), [](const v1::Job& seen) { return seen.totals().bytes_accepted() == 3; });
  EXPECT_EQ(GetSchedule("hourly").runs(0).state(), v1::RUN_ACTIVE);
  // The same after a restart, when the job ends; a repeat of the call makes no other job.
  Restart();
  node_.Progress(run.task_id(), Accepted(4));
  WatchUntil(job.id(), [](const v1::Job& seen) { return seen.totals().bytes_accepted() == 4; });
  node_.End(run.task_id(), Done(5));
  EXPECT_EQ(WatchToTheEnd(job.id()).state(), v1::SUCCEEDED);
  {
    v1::Job repeat;
    grpc::ClientContext context;
    ASSERT_TRUE(controller_->schedules().RunScheduleNow(&context, now, &repeat).ok());
    EXPECT_EQ(repeat.id(), job.id());
  }
  const v1::Schedule after = GetSchedule("hourly");
  ASSERT_EQ(after.runs_size(), 1);
  EXPECT_EQ(after.runs(0).state(), v1::RUN_SUCCEEDED);
  EXPECT_EQ(after.runs(0).job_id(), job.id());
  EXPECT_EQ(after.runs(0).request_id(), "once");

  v1::DeleteScheduleRequest remove;
  remove.set_name("hourly");
  google::protobuf::Empty empty;
  grpc::ClientContext context;
  EXPECT_TRUE(controller_->schedules().DeleteSchedule(&context, remove, &empty).ok());
  grpc::ClientContext gone;
  EXPECT_EQ(ReasonOf(FromGrpc(controller_->schedules().DeleteSchedule(&gone, remove, &empty))),
            "SCHEDULE_UNKNOWN");
  EXPECT_EQ(Get(job.id()).schedule(), "hourly");
}

TEST_F(ControllerServiceTest, ARunMissedWhileNoControllerWasThere) {
  CreateSchedule(Hourly());
  controller_.reset();
  const absl::Time hour = absl::FromUnixSeconds(absl::ToUnixSeconds(absl::Now()) / 3600 * 3600);
  {
    // As if it had gone five hours ago.
    std::unique_ptr<JobStore> store = OpenSqliteStore(path_).value();
    v1::Schedule schedule;
    ASSERT_TRUE(schedule.ParseFromString(store->LoadRecords("schedule")->at("hourly")));
    schedule.mutable_decided()->set_seconds(absl::ToUnixSeconds(hour - absl::Hours(5)));
    ASSERT_TRUE(store->PutRecord("schedule", "hourly", schedule.SerializeAsString()).ok());
  }
  Start();
  const v1::RunTaskRequest run = node_.WaitForRun();
  const v1::Job job = Get(run.job_id());
  EXPECT_EQ(job.schedule(), "hourly");
  // The full hour may have passed meanwhile.
  EXPECT_GE(absl::FromUnixSeconds(job.scheduled().seconds()), hour);
  EXPECT_EQ(GetSchedule("hourly").runs_size(), 1);
}

TEST_F(ControllerServiceTest, ListsSchedulesInPages) {
  for (const char* name : {"c", "a", "b"}) {
    v1::CreateScheduleRequest request = Hourly();
    request.set_name(name);
    CreateSchedule(request);
  }
  std::string names;
  v1::ListSchedulesRequest request;
  request.set_page_size(2);
  do {
    grpc::ClientContext context;
    v1::ListSchedulesResponse response;
    ASSERT_TRUE(controller_->schedules().ListSchedules(&context, request, &response).ok());
    for (const v1::Schedule& schedule : response.schedules()) names += schedule.name();
    names += " ";
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_EQ(names, "ab c ");
}

// A window that is closed for the next hours.
v1::Window Closed() {
  v1::Window window;
  const absl::CivilHour hour(absl::ToCivilSecond(absl::Now() + absl::Hours(5), absl::UTCTimeZone()));
  window.set_cron(absl::StrCat("0 ", hour.hour(), " * * *"));
  window.mutable_duration()->set_seconds(3600);
  return window;
}

TEST_F(ControllerServiceTest, ANodePausesWhileItsWindowsAreClosed) {
  const v1::Job made = Create(ScanRequest());
  const v1::RunTaskRequest first = node_.WaitForRun();
  node_.Progress(first.task_id(), Accepted(3));
  v1::SetNodeWindowsRequest request;
  request.set_node("n1");
  *request.add_windows() = Closed();
  v1::NodeWindows windows;
  {
    grpc::ClientContext context;
    ASSERT_TRUE(controller_->schedules().SetNodeWindows(&context, request, &windows).ok());
  }
  EXPECT_FALSE(windows.open());
  const v1::Job waiting = WatchUntil(
      made.id(), [](const v1::Job& job) { return job.tasks(0).error().reason() == "WINDOW_CLOSED"; });
  EXPECT_EQ(waiting.tasks(0).state(), v1::TASK_WAITING);
  // Also for the next process.
  Restart();
  {
    grpc::ClientContext context;
    v1::ListNodeWindowsResponse response;
    ASSERT_TRUE(controller_->schedules().ListNodeWindows(&context, {}, &response).ok());
    ASSERT_EQ(response.nodes_size(), 1);
    EXPECT_EQ(response.nodes(0).node(), "n1");
    EXPECT_FALSE(response.nodes(0).open());
  }
  EXPECT_EQ(Get(made.id()).tasks(0).state(), v1::TASK_WAITING);
  request.clear_windows();
  {
    grpc::ClientContext context;
    ASSERT_TRUE(controller_->schedules().SetNodeWindows(&context, request, &windows).ok());
  }
  EXPECT_TRUE(windows.open());
  const v1::RunTaskRequest second = node_.WaitForRun();
  EXPECT_EQ(second.attempt(), 2u);
  node_.End(second.task_id(), Done(4));
  const v1::Job done = WatchToTheEnd(made.id());
  EXPECT_EQ(done.state(), v1::SUCCEEDED);
}

TEST_F(ControllerServiceTest, AJobWaitsForItsWindow) {
  v1::CreateJobRequest request = ScanRequest();
  *request.mutable_spec()->add_windows() = Closed();
  const v1::Job made = Create(request);
  EXPECT_EQ(made.state(), v1::PENDING);
  EXPECT_EQ(made.spec().windows_size(), 1);
  WatchUntil(made.id(), [](const v1::Job& job) { return job.tasks(0).error().reason() == "WINDOW_CLOSED"; });
  request.mutable_spec()->mutable_windows(0)->set_cron("");
  EXPECT_EQ(FieldOf(CreateError(request)), "spec.windows[0].cron");
}

TEST_F(ControllerServiceTest, NodesClusterAndJobsRestAndGoOn) {
  v1::PauseNodeRequest pause;
  pause.set_node("none");
  v1::NodeHold node;
  {
    grpc::ClientContext context;
    EXPECT_EQ(ReasonOf(FromGrpc(controller_->holds().PauseNode(&context, pause, &node))), "NODE_UNKNOWN");
  }
  pause.set_node("n1");
  pause.set_by("ann");
  pause.set_reason(std::string(1'001, 'x'));
  {
    grpc::ClientContext context;
    EXPECT_EQ(FieldOf(FromGrpc(controller_->holds().PauseNode(&context, pause, &node))), "reason");
  }
  pause.set_reason("new disk");
  {
    grpc::ClientContext context;
    ASSERT_TRUE(controller_->holds().PauseNode(&context, pause, &node).ok());
  }
  EXPECT_EQ(node.hold().kind(), v1::HOLD_PAUSE);
  EXPECT_EQ(node.hold().by(), "ann");
  {
    grpc::ClientContext context;
    v1::DrainClusterRequest request;
    v1::ClusterHold cluster;
    ASSERT_TRUE(controller_->holds().DrainCluster(&context, request, &cluster).ok());
    EXPECT_EQ(cluster.hold().kind(), v1::HOLD_DRAIN);
  }
  Restart();
  {
    grpc::ClientContext context;
    v1::ListNodesResponse nodes;
    ASSERT_TRUE(controller_->stub().ListNodes(&context, v1::ListNodesRequest(), &nodes).ok());
    EXPECT_EQ(nodes.cluster_hold().kind(), v1::HOLD_DRAIN);
    ASSERT_EQ(nodes.nodes_size(), 1);
    EXPECT_EQ(nodes.nodes(0).hold().reason(), "new disk");
    EXPECT_GT(nodes.nodes(0).hold().since().seconds(), 1'700'000'000);
  }
  const v1::Job made = Create(ScanRequest());
  WatchUntil(made.id(), [](const v1::Job& job) { return job.tasks(0).error().reason() == "HELD"; });
  {
    grpc::ClientContext context;
    v1::PauseJobRequest request;
    request.set_id(made.id());
    request.set_by("bob");
    v1::Job paused;
    ASSERT_TRUE(controller_->stub().PauseJob(&context, request, &paused).ok());
    EXPECT_EQ(paused.hold().by(), "bob");
    grpc::ClientContext again;
    v1::ResumeJobRequest resume;
    resume.set_id(made.id());
    v1::Job resumed;
    ASSERT_TRUE(controller_->stub().ResumeJob(&again, resume, &resumed).ok());
    EXPECT_FALSE(resumed.has_hold());
  }
  {
    grpc::ClientContext context;
    v1::ResumeNodeRequest request;
    request.set_node("n1");
    ASSERT_TRUE(controller_->holds().ResumeNode(&context, request, &node).ok());
    EXPECT_FALSE(node.has_hold());
    grpc::ClientContext again;
    v1::ClusterHold cluster;
    ASSERT_TRUE(controller_->holds().ResumeCluster(&again, v1::ResumeClusterRequest(), &cluster).ok());
  }
  node_.WaitForRun();
}

TEST_F(ControllerServiceTest, StopEndsWatches) {
  const v1::Job made = Create(ScanRequest());
  node_.WaitForRun();
  grpc::ClientContext context;
  v1::WatchJobRequest request;
  request.set_id(made.id());
  auto reader = controller_->stub().WatchJob(&context, request);
  v1::Job job;
  ASSERT_TRUE(reader->Read(&job));
  controller_->StopLoop();
  while (reader->Read(&job)) {
  }
  const absl::Status status = FromGrpc(reader->Finish());
  EXPECT_EQ(ReasonOf(status), "STOPPING") << status;
}

TEST(GrpcNodeLink, RemotePlaintextIsNotDialled) {
  GrpcNodeLink::Options options;
  options.credentials = grpc::InsecureChannelCredentials();
  GrpcNodeLink link(options);
  absl::Status status;
  link.Probe({"192.0.2.1:7400", ""},
             [&](const absl::StatusOr<NodeFacts>& facts) { status = facts.status(); });
  EXPECT_EQ(ReasonOf(status), "PLAINTEXT_REFUSED");
}

}  // namespace
}  // namespace cowherd
