#include "server/controller/request.h"

#include <gtest/gtest.h>

#include <functional>

#include "absl/strings/str_cat.h"
#include "server/base/status.h"
#include "server/base/totals_proto.h"
#include "server/controller/convert.h"

namespace cowherd {
namespace {

v1::CreateJobRequest Scan() {
  v1::CreateJobRequest request;
  request.mutable_spec()->mutable_scan()->mutable_nodes()->set_all(true);
  return request;
}

v1::CreateJobRequest Ranges() {
  v1::CreateJobRequest request;
  v1::NodeRanges& node = *request.mutable_spec()->mutable_ranges()->add_nodes();
  node.set_node("n1");
  v1::DedupeRangesRequest& ranges = *node.mutable_ranges()->add_requests();
  ranges.mutable_source()->set_path("/a");
  ranges.set_length(4096);
  ranges.add_destinations()->set_path("/b");
  return request;
}

// As long as a path may be, 4095 bytes.
std::string LongPath() {
  std::string path;
  for (int i = 0; i < 16; ++i) path += "/" + std::string(255, 'x');
  return path.substr(0, 4095);
}

TEST(CheckCreateJob, EachFieldAtFaultIsNamed) {
  struct Case {
    std::string field;
    std::function<void(v1::CreateJobRequest&)> spoil;
  };
  const auto scan = [](v1::CreateJobRequest& r) { return r.mutable_spec()->mutable_scan(); };
  const Case scans[] = {
      {"spec.work", [](auto& r) { r.mutable_spec()->clear_scan(); }},
      {"request_id", [](auto& r) { r.set_request_id(std::string(101, 'x')); }},
      {"request_id", [](auto& r) { r.set_request_id("schedule/x"); }},
      {"spec.display_name", [](auto& r) { r.mutable_spec()->set_display_name(std::string(201, 'x')); }},
      {"spec.scan.nodes", [&](auto& r) { scan(r)->clear_nodes(); }},
      {"spec.scan.nodes.all", [&](auto& r) { scan(r)->mutable_nodes()->set_all(false); }},
      {"spec.scan.nodes.names.names", [&](auto& r) { scan(r)->mutable_nodes()->mutable_names(); }},
      {"spec.scan.nodes.names.names[1]",
       [&](auto& r) {
         scan(r)->mutable_nodes()->mutable_names()->add_names("a");
         scan(r)->mutable_nodes()->mutable_names()->add_names("a");
       }},
      {"spec.scan.nodes.labels.labels", [&](auto& r) { scan(r)->mutable_nodes()->mutable_labels(); }},
      {"spec.scan.roots[0]", [&](auto& r) { scan(r)->add_roots(""); }},
      {"spec.scan.paths[0]", [&](auto& r) { scan(r)->add_paths("rel"); }},
      {"spec.scan.paths[1]",
       [&](auto& r) {
         scan(r)->add_paths("/ok");
         scan(r)->add_paths("/a/../b");
       }},
      {"spec.scan.paths[0]", [&](auto& r) { scan(r)->add_paths(std::string("/a\0b", 4)); }},
      {"spec.scan.paths[0]", [&](auto& r) { scan(r)->add_paths(LongPath() + "/x"); }},
      {"spec.scan.paths[0]", [&](auto& r) { scan(r)->add_paths("/" + std::string(256, 'x')); }},
      {"spec.scan.paths[0]", [&](auto& r) { scan(r)->add_paths("/a/"); }},
      {"spec.scan.paths[0]", [&](auto& r) { scan(r)->add_paths("/a//b"); }},
      {"spec.scan.paths[1]",
       [&](auto& r) {
         scan(r)->add_paths("/");
         scan(r)->add_paths("//");
       }},
      {"spec.scan.paths",
       [&](auto& r) {
         for (int i = 0; i < 1001; ++i) scan(r)->add_paths("/x");
       }},
      {"spec.scan.options.include[0]", [&](auto& r) { scan(r)->mutable_options()->add_include(""); }},
      {"spec.scan.options.min_extent_length",
       [&](auto& r) { scan(r)->mutable_options()->set_min_extent_length((uint64_t{1} << 40) + 1); }},
      {"spec.scan.options.workers", [&](auto& r) { scan(r)->mutable_options()->set_workers(65); }},
      {"spec",
       [&](auto& r) {
         for (int i = 0; i < 1000; ++i) scan(r)->add_paths(LongPath());
       }},
  };
  for (const Case& test : scans) {
    v1::CreateJobRequest request = Scan();
    ASSERT_TRUE(CheckCreateJob(request).ok());
    test.spoil(request);
    const absl::Status status = CheckCreateJob(request).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << test.field;
    EXPECT_EQ(FieldOf(status), test.field);
  }
  const auto node = [](v1::CreateJobRequest& r) {
    return r.mutable_spec()->mutable_ranges()->mutable_nodes(0);
  };
  const auto first = [&](v1::CreateJobRequest& r) { return node(r)->mutable_ranges()->mutable_requests(0); };
  const std::string at = "spec.ranges.nodes[0].ranges.requests[0]";
  const Case ranges[] = {
      {"spec.ranges.nodes", [](auto& r) { r.mutable_spec()->mutable_ranges()->clear_nodes(); }},
      {"spec.ranges.nodes[0].node", [&](auto& r) { node(r)->clear_node(); }},
      {"spec.ranges.nodes[1].node",
       [&](auto& r) {
         const v1::NodeRanges copy = *node(r);
         *r.mutable_spec()->mutable_ranges()->add_nodes() = copy;
       }},
      {"spec.ranges.nodes[0].ranges.requests", [&](auto& r) { node(r)->clear_ranges(); }},
      {at + ".source.path", [&](auto& r) { first(r)->clear_source(); }},
      {at + ".length", [&](auto& r) { first(r)->set_length(0); }},
      {at + ".destinations", [&](auto& r) { first(r)->clear_destinations(); }},
      {at + ".destinations[0].path", [&](auto& r) { first(r)->mutable_destinations(0)->set_path("x"); }},
      {at + ".source.offset",
       [&](auto& r) { first(r)->mutable_source()->set_offset((uint64_t{1} << 63) - 4096); }},
      {at + ".destinations[0].offset",
       [&](auto& r) { first(r)->mutable_destinations(0)->set_offset(uint64_t{1} << 63); }},
      {"spec.ranges.nodes[0].ranges.requests",
       [&](auto& r) {
         for (int i = 0; i < 1023; ++i) *first(r)->add_destinations() = first(r)->destinations(0);
         const v1::DedupeRangesRequest full = *first(r);
         for (int i = 0; i < 16; ++i) *node(r)->mutable_ranges()->add_requests() = full;
       }},
      {at + ".max_bytes_per_call", [&](auto& r) { first(r)->set_max_bytes_per_call(1); }},
  };
  for (const Case& test : ranges) {
    v1::CreateJobRequest request = Ranges();
    ASSERT_TRUE(CheckCreateJob(request).ok());
    test.spoil(request);
    EXPECT_EQ(FieldOf(CheckCreateJob(request).status()), test.field);
  }
}

TEST(CheckCreateJob, PlanSurvivesTheStore) {
  v1::CreateJobRequest request = Scan();
  v1::TreeScanJob& scan = *request.mutable_spec()->mutable_scan();
  for (char c = 'a'; c < 'k'; ++c) {
    (*scan.mutable_nodes()->mutable_labels()->mutable_labels())[std::string(1, c)] = "v";
  }
  scan.add_roots("data");
  scan.add_paths("/x\xff");
  const CheckedJob job = CheckCreateJob(request).value();
  const JobPlan plan = ReadPlan(job.spec).value();
  EXPECT_FALSE(plan.StartsOver());
  v1::CreateJobRequest dry_run = request;
  dry_run.mutable_spec()->mutable_scan()->mutable_options()->set_dry_run(true);
  EXPECT_TRUE(ReadPlan(CheckCreateJob(dry_run)->spec)->StartsOver());
  EXPECT_EQ(plan.select, JobPlan::Select::kLabels);
  EXPECT_EQ(plan.labels.size(), 10u);
  EXPECT_EQ(plan.roots, job.plan.roots);
  EXPECT_EQ(plan.paths, std::vector<std::string>{"/x\xff"});
  // Equal specs are equal bytes, whatever the order labels were given in.
  v1::CreateJobRequest other = request;
  other.mutable_spec()->mutable_scan()->mutable_nodes()->clear_labels();
  for (char c = 'j'; c >= 'a'; --c) {
    (*other.mutable_spec()->mutable_scan()->mutable_nodes()->mutable_labels()->mutable_labels())[std::string(
        1, c)] = "v";
  }
  EXPECT_EQ(CheckCreateJob(other)->spec, job.spec);
  EXPECT_EQ(ReadPlan(CheckCreateJob(Ranges())->spec)->nodes, std::vector<std::string>{"n1"});
  EXPECT_TRUE(absl::IsDataLoss(ReadPlan("\xff").status()));
  EXPECT_TRUE(absl::IsDataLoss(ReadPlan("").status()));
}

TEST(CheckListJobs, PagesAndStates) {
  v1::ListJobsRequest request;
  EXPECT_EQ(CheckListJobs(request)->page_size, 100u);
  EXPECT_EQ(CheckListJobs(request)->before, 0u);
  request.set_page_token(PageToken(77));
  request.add_states(v1::JOB_FAILED);
  EXPECT_EQ(CheckListJobs(request)->before, 77u);
  EXPECT_EQ(CheckListJobs(request)->states, std::vector<JobState>{JobState::kFailed});
  request.set_page_token("x");
  EXPECT_EQ(FieldOf(CheckListJobs(request).status()), "page_token");
  request.clear_page_token();
  request.set_page_size(1001);
  EXPECT_EQ(FieldOf(CheckListJobs(request).status()), "page_size");
  request.set_page_size(1);
  request.add_states(v1::JOB_STATE_UNSPECIFIED);
  EXPECT_EQ(FieldOf(CheckListJobs(request).status()), "states");
}

TEST(Convert, TotalsThereAndBack) {
  Totals totals;
  uint64_t n = 0;
  for (const TotalsCounter& counter : TotalsCounters()) totals.*counter.value = ++n;
  totals.bytes_won = -10;
  totals.elapsed = absl::Milliseconds(14'015);
  EXPECT_EQ(FromProto(ToProto(totals)), totals);
}

TEST(Convert, OrderCarriesItsNodesWork) {
  RunOrder order;
  order.task_id = "t";
  order.attempt = 2;
  order.epoch = 3;
  order.node = "n1";
  order.spec = CheckCreateJob(Ranges())->spec;
  EXPECT_EQ(ToProto(order)->ranges().requests(0).source().path(), "/a");
  order.node = "n2";
  EXPECT_TRUE(absl::IsDataLoss(ToProto(order).status()));
  v1::CreateJobRequest scan = Scan();
  scan.mutable_spec()->mutable_scan()->mutable_options()->set_dry_run(true);
  order.spec = CheckCreateJob(scan)->spec;
  order.root = "data";
  order.paths = {"/p"};
  const v1::RunTaskRequest request = ToProto(order).value();
  EXPECT_EQ(request.scan().root(), "data");
  EXPECT_EQ(request.scan().paths(0), "/p");
  EXPECT_TRUE(request.scan().options().dry_run());
  EXPECT_EQ(request.attempt(), 2u);
  EXPECT_EQ(request.epoch(), 3u);
  EXPECT_FALSE(request.has_work_for());
  order.work_for = absl::Seconds(90) + absl::Milliseconds(1);
  EXPECT_EQ(ToProto(order)->work_for().seconds(), 90);
  EXPECT_EQ(ToProto(order)->work_for().nanos(), 1'000'000);
}

TEST(CheckCreateJob, LostNodePolicy) {
  v1::CreateJobRequest request = Scan();
  EXPECT_FALSE(CheckCreateJob(request)->plan.give_up_lost);
  request.mutable_spec()->set_on_lost_node(v1::LOST_NODE_GIVE_UP);
  EXPECT_TRUE(CheckCreateJob(request)->plan.give_up_lost);
  EXPECT_TRUE(ReadPlan(CheckCreateJob(request)->spec)->give_up_lost);
  request.mutable_spec()->set_on_lost_node(static_cast<v1::LostNodePolicy>(7));
  EXPECT_EQ(FieldOf(CheckCreateJob(request).status()), "spec.on_lost_node");
}

TEST(CheckCreateJob, PriorityAndCanary) {
  v1::CreateJobRequest request = Scan();
  for (int priority : {-1'001, 1'001}) {
    request.mutable_spec()->set_priority(priority);
    EXPECT_EQ(FieldOf(CheckCreateJob(request).status()), "spec.priority");
  }
  request.mutable_spec()->set_priority(-1'000);
  EXPECT_EQ(CheckCreateJob(request)->plan.priority, -1'000);
  EXPECT_EQ(CheckCreateJob(request)->plan.canary.nodes, 0u);
  request.mutable_spec()->mutable_canary();
  EXPECT_EQ(FieldOf(CheckCreateJob(request).status()), "spec.canary.nodes");
  request.mutable_spec()->mutable_canary()->set_nodes(3);
  EXPECT_EQ(CheckCreateJob(request)->plan.canary.nodes, 3u);
  EXPECT_EQ(CheckCreateJob(request)->plan.canary.max_failures, 1u);
  request.mutable_spec()->mutable_canary()->set_max_failures(2);
  EXPECT_EQ(CheckCreateJob(request)->plan.canary.max_failures, 2u);
}

TEST(Order, TakesTheLowerOfTwoRates) {
  struct Row {
    uint64_t own;
    uint64_t share;
    uint64_t rate;
  };
  for (const Row& row : {Row{0, 0, 0}, Row{5, 0, 5}, Row{0, 7, 7}, Row{5, 7, 5}, Row{9, 7, 7}}) {
    SCOPED_TRACE(absl::StrCat(row.own, " and ", row.share));
    RunOrder order;
    order.bytes_per_second = row.share;
    order.node = "a";
    v1::JobSpec scan;
    scan.mutable_scan()->mutable_options()->set_bytes_per_second(row.own);
    order.spec = scan.SerializeAsString();
    EXPECT_EQ(ToProto(order)->scan().options().bytes_per_second(), row.rate);
    v1::JobSpec ranges;
    v1::NodeRanges& of_a = *ranges.mutable_ranges()->add_nodes();
    of_a.set_node("a");
    of_a.mutable_ranges()->set_bytes_per_second(row.own);
    order.spec = ranges.SerializeAsString();
    EXPECT_EQ(ToProto(order)->ranges().bytes_per_second(), row.rate);
  }
}

}  // namespace
}  // namespace cowherd
