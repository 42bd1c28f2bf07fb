#include "server/sched/probes.h"

namespace cowherd {

void Probes::Add(const std::string& address) {
  const auto [probe, is_new] = probes_.emplace(address, Probe());
  if (is_new) due_.emplace(probe->second.next, address);
}

void Probes::Forget(const std::string& address) {
  const auto found = probes_.find(address);
  due_.erase({found->second.next, address});
  probes_.erase(found);
}

std::vector<std::string> Probes::Due(absl::Time now, size_t most) const {
  std::vector<std::string> addresses;
  for (auto it = due_.begin(); it != due_.end() && it->first <= now && addresses.size() < most; ++it) {
    addresses.push_back(it->second);
  }
  return addresses;
}

absl::Time Probes::wake() const { return due_.empty() ? absl::InfiniteFuture() : due_.begin()->first; }

void Probes::Sent(const std::string& address, absl::Time next) {
  Probe& probe = probes_.at(address);
  due_.erase({probe.next, address});
  probe.in_flight = true;
  probe.next = next;
}

void Probes::Done(const std::string& address) {
  Probe& probe = probes_.at(address);
  if (!probe.in_flight) return;
  probe.in_flight = false;
  due_.emplace(probe.next, address);
}

void Probes::Hurry(const std::string& address) {
  Probe& probe = probes_.at(address);
  if (!probe.in_flight) {
    due_.erase({probe.next, address});
    due_.emplace(absl::InfinitePast(), address);
  }
  probe.next = absl::InfinitePast();
}

}  // namespace cowherd
