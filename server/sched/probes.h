#ifndef COWHERD_SERVER_SCHED_PROBES_H_
#define COWHERD_SERVER_SCHED_PROBES_H_

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"

namespace cowherd {

// Which addresses are to be probed when. Pure state.
class Probes {
 public:
  // Due at once, unless it is known.
  void Add(const std::string& address);
  // Those that `keep` does not hold go. Returns them.
  template <typename Map>
  std::vector<std::string> Retain(const Map& keep);
  bool Known(const std::string& address) const { return probes_.count(address) > 0; }

  // Addresses to probe now, at most `most`; none of them has a probe under way.
  std::vector<std::string> Due(absl::Time now, size_t most) const;
  absl::Time wake() const;

  // A probe is under way; the next one is at `next`, once it has ended.
  void Sent(const std::string& address, absl::Time next);
  void Done(const std::string& address);
  // Due at once, or as soon as the probe under way has ended.
  void Hurry(const std::string& address);

 private:
  struct Probe {
    bool in_flight = false;
    absl::Time next = absl::InfinitePast();
  };
  void Forget(const std::string& address);

  std::map<std::string, Probe> probes_;
  // Without those under way.
  std::set<std::pair<absl::Time, std::string>> due_;
};

template <typename Map>
std::vector<std::string> Probes::Retain(const Map& keep) {
  std::vector<std::string> gone;
  for (const auto& [address, probe] : probes_) {
    if (keep.count(address) == 0) gone.push_back(address);
  }
  for (const std::string& address : gone) Forget(address);
  return gone;
}

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_PROBES_H_
