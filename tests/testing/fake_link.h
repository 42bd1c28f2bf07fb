#ifndef COWHERD_TESTS_TESTING_FAKE_LINK_H_
#define COWHERD_TESTS_TESTING_FAKE_LINK_H_

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "server/sched/node_link.h"

namespace cowherd {

// Records what is asked, answers when the test says so.
class FakeLink final : public NodeLink {
 public:
  struct Stream {
    std::string address;
    RunOrder order;
    RunEvents events;
    bool dropped = false;
    int asked = 1;
  };
  struct Cancel {
    std::string address;
    std::string task_id;
    uint64_t epoch;
    CancelDone done;
  };

  void Probe(const Endpoint& endpoint, ProbeDone done) override {
    ++probes;
    const auto found = nodes.find(endpoint.address);
    if (found == nodes.end()) return done(absl::UnavailableError("connection refused"));
    done(found->second);
  }
  std::unique_ptr<Run> RunTask(const Endpoint& endpoint, const RunOrder& order, RunEvents events) override {
    streams.push_back(std::make_shared<Stream>(Stream{endpoint.address, order, std::move(events)}));
    return std::make_unique<FakeRun>(streams.back());
  }
  void CancelTask(const Endpoint& endpoint, const std::string& task_id, uint64_t epoch,
                  CancelDone done) override {
    cancels.push_back({endpoint.address, task_id, epoch, std::move(done)});
  }
  void Forget(const std::string& address) override { forgotten.push_back(address); }

  int probes = 0;
  std::map<std::string, NodeFacts> nodes;
  std::vector<std::shared_ptr<Stream>> streams;
  std::vector<Cancel> cancels;
  std::vector<std::string> forgotten;

 private:
  class FakeRun final : public Run {
   public:
    explicit FakeRun(std::shared_ptr<Stream> stream) : stream_(std::move(stream)) {}
    ~FakeRun() override { stream_->dropped = true; }
    void Next() override { ++stream_->asked; }

   private:
    const std::shared_ptr<Stream> stream_;
  };
};

}  // namespace cowherd

#endif  // COWHERD_TESTS_TESTING_FAKE_LINK_H_
