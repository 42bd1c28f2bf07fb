#ifndef COWHERD_TESTS_TESTING_ETCD_CLUSTER_H_
#define COWHERD_TESTS_TESTING_ETCD_CLUSTER_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace cowherd {

// An etcd cluster on loopback: Debian's etcd-server, free ports, data in a temporary directory that goes with
// it. One thread.
class EtcdCluster {
 public:
  // Members that have found each other, or the one.
  static absl::StatusOr<std::unique_ptr<EtcdCluster>> Start(size_t members,
                                                            std::vector<std::string> more_flags = {});
  ~EtcdCluster();
  EtcdCluster(const EtcdCluster&) = delete;
  EtcdCluster& operator=(const EtcdCluster&) = delete;

  // host:port of each.
  const std::vector<std::string>& addresses() const { return addresses_; }
  absl::Status Kill(size_t member);
  // After Kill; does not wait for it to answer.
  absl::Status Restart(size_t member);
  // SIGSTOP, SIGCONT.
  absl::Status Freeze(size_t member);
  absl::Status Thaw(size_t member);

 private:
  EtcdCluster(std::string directory, std::vector<std::string> more_flags);
  absl::Status Signal(size_t member, int signal);

  const std::string directory_;
  const std::vector<std::string> more_flags_;
  std::vector<std::string> addresses_;
  std::vector<std::string> peers_;
  // 0: not running.
  std::vector<pid_t> pids_;
};

}  // namespace cowherd

#endif  // COWHERD_TESTS_TESTING_ETCD_CLUSTER_H_
