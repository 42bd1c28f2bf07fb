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

// Campaigns on a thread of its own, and holds a term each time it is elected, until it is stopped.
class Candidacy {
 public:
  struct Duties {
    // Makes a term, ready to start.
    std::function<absl::StatusOr<std::unique_ptr<Term>>(const Leadership&)> begin;
    // Before the term starts, and before it stops.
    std::function<void(Term&)> lead;
    std::function<void()> follow;
    // No term will ever begin, whoever leads: the store cannot be used by this program. Once, at most.
    std::function<void(const absl::Status&)> give_up;
  };

  Candidacy(Election& election, Duties duties);
  // Stops.
  ~Candidacy();
  Candidacy(const Candidacy&) = delete;
  Candidacy& operator=(const Candidacy&) = delete;

  // Lays down the term and hands over at once. What is left of the term goes with the candidacy.
  void Stop();

 private:
  void Run();
  // Null: no term was to be had just now. Else it was held to its end and has stopped.
  absl::StatusOr<std::unique_ptr<Term>> Hold(Leadership& leadership);

  Election& election_;
  const Duties duties_;
  std::mutex mutex_;
  std::condition_variable stopping_;
  bool stopped_ = false;
  Leadership* leadership_ = nullptr;
  // What was held when the candidacy was stopped.
  std::unique_ptr<Leadership> last_leadership_;
  std::unique_ptr<Term> last_term_;
  std::thread thread_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_CONTROLLER_CANDIDACY_H_
