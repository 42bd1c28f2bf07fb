#ifndef COWHERD_SERVER_CONTROLLER_CANDIDACY_H_
#define COWHERD_SERVER_CONTROLLER_CANDIDACY_H_

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/controller/term.h"
#include "server/etcd/election.h"

namespace cowherd {

// Campaigns on a thread of its own, and holds a term each time it is elected, until it goes: then it lays
// down the term and hands over at once.
class Candidacy {
 public:
  struct Duties {
    // Makes a term, ready to start.
    std::function<absl::StatusOr<std::unique_ptr<Term>>(const Leadership&)> begin;
    // Before the term starts, and before it goes.
    std::function<void(Term&)> lead;
    std::function<void()> follow;
    // No term will ever begin, whoever leads: the store cannot be used by this program. Once, at most.
    std::function<void(const absl::Status&)> give_up;
  };

  Candidacy(Election& election, Duties duties);
  ~Candidacy();
  Candidacy(const Candidacy&) = delete;
  Candidacy& operator=(const Candidacy&) = delete;

 private:
  void Run();
  // OK: the term was held to its end, or none was to be had just now.
  absl::Status Hold(Leadership& leadership);

  Election& election_;
  const Duties duties_;
  std::mutex mutex_;
  std::condition_variable stopping_;
  bool stopped_ = false;
  Leadership* leadership_ = nullptr;
  std::thread thread_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_CONTROLLER_CANDIDACY_H_
