#ifndef COWHERD_TESTS_TESTING_LEADING_STORE_H_
#define COWHERD_TESTS_TESTING_LEADING_STORE_H_

#include <grpcpp/security/credentials.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/base/status.h"
#include "server/etcd/client.h"
#include "server/etcd/election.h"
#include "server/jobs/etcd_store.h"

namespace cowherd {

inline std::unique_ptr<EtcdClient> PlainEtcdClient(const std::vector<std::string>& members) {
  EtcdClient::Options options;
  options.members = members;
  options.credentials = grpc::InsecureChannelCredentials();
  return std::make_unique<EtcdClient>(options);
}

// A store in etcd, with the leadership over it.
struct LeadingStore {
  static absl::StatusOr<LeadingStore> Make(const std::vector<std::string>& members,
                                           const EtcdStoreOptions& options) {
    LeadingStore made;
    made.client = PlainEtcdClient(members);
    Election::Options election;
    election.key = EtcdLeaderKey(options.prefix);
    ASSIGN_OR_RETURN(made.leadership, Election(*made.client, election).Campaign());
    made.store = MakeEtcdStore(*made.client, made.leadership.get(), options);
    return made;
  }

  std::unique_ptr<EtcdClient> client;
  std::unique_ptr<Leadership> leadership;
  std::unique_ptr<JobStore> store;
};

}  // namespace cowherd

#endif  // COWHERD_TESTS_TESTING_LEADING_STORE_H_
