#ifndef COWHERD_SERVER_SCHED_DISCOVERY_H_
#define COWHERD_SERVER_SCHED_DISCOVERY_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/base/repeating_thread.h"
#include "server/sched/node_registry.h"

// How nodes are found: named one by one, or by a DNS name that is resolved again and again.
namespace cowherd {

// "NAME=HOST:PORT", "HOST:PORT" (its name is the address), or either with "unix:PATH". INVALID_ARGUMENT of
// --node.
absl::StatusOr<Target> ParseNode(absl::string_view text);

struct DnsName {
  std::string host;
  std::string port;
};

// "HOST:PORT". INVALID_ARGUMENT of --node_dns.
absl::StatusOr<DnsName> ParseDnsName(absl::string_view text);

// All stream addresses of a name as "a.b.c.d:port" or "[v6]:port", sorted, each once. Blocks on the resolver.
absl::StatusOr<std::vector<std::string>> Resolve(const DnsName& name);

// Resolves a name at once and then every interval, on its own thread, until it goes. Its destructor waits for
// a resolution under way.
class DnsWatch {
 public:
  using Resolver = std::function<absl::StatusOr<std::vector<std::string>>(const DnsName&)>;
  // Called on the watch's thread after each resolution that worked. One that failed is logged and changes
  // nothing.
  using OnTargets = std::function<void(std::vector<Target>)>;

  DnsWatch(DnsName name, absl::Duration interval, Resolver resolver, OnTargets on_targets);

 private:
  void ResolveOnce() const;

  const DnsName name_;
  const Resolver resolver_;
  const OnTargets on_targets_;
  RepeatingThread thread_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_DISCOVERY_H_
