#ifndef COWHERD_SERVER_ETCD_CLIENT_H_
#define COWHERD_SERVER_ETCD_CLIENT_H_

#include <grpcpp/client_context.h>
#include <grpcpp/security/credentials.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/etcd/etcd.pb.h"
#include "server/etcd/member_picker.h"

namespace cowherd {

// Calls an etcd cluster. Each call goes to the next member; one that does not answer is passed over for a
// while. Every try at a member has a deadline. Any thread; calls block.
//
// Errors keep etcd's codes and texts, but for RESOURCE_EXHAUSTED "STORE_FULL": the quota of the cluster is
// used up, nothing was written; and PERMISSION_DENIED "STORE_REFUSES": the cluster does not take the user or
// the password, or the user may not do this.
class EtcdClient {
 public:
  struct Options {
    // HOST:PORT each; at least one. A name may stand for several addresses.
    std::vector<std::string> members;
    std::shared_ptr<grpc::ChannelCredentials> credentials;
    // Empty: the cluster asks for none.
    std::string user;
    std::string password;
    // Of one try. An election among the members takes 1 to 2 s; calls that wait for it and end early are
    // repeated.
    absl::Duration try_time = absl::Seconds(2);
    // Of a call with all its tries.
    absl::Duration patience = absl::Seconds(6);
  };

  explicit EtcdClient(Options options);
  ~EtcdClient();
  EtcdClient(const EtcdClient&) = delete;
  EtcdClient& operator=(const EtcdClient&) = delete;

  // Linearizable. Repeated at other members while they do not answer.
  absl::StatusOr<etcdserverpb::RangeResponse> Range(const etcdserverpb::RangeRequest& request);
  // A transaction that only reads, or whose repetition does no harm.
  absl::StatusOr<etcdserverpb::TxnResponse> RepeatableTxn(const etcdserverpb::TxnRequest& request);
  // One try within `at_most`. Where OutcomeUnknown says so, it may have been carried out, or may be yet.
  absl::StatusOr<etcdserverpb::TxnResponse> TryTxn(const etcdserverpb::TxnRequest& request,
                                                   absl::Duration at_most);
  static bool OutcomeUnknown(const absl::Status& status);
  // The same call may do better, here or at another member.
  static bool WorthRepeating(const absl::Status& status);

  absl::StatusOr<etcdserverpb::LeaseGrantResponse> GrantLease(absl::Duration ttl);
  absl::Status RevokeLease(int64_t id);
  // One try within `at_most`: its time to live from now on. 0: it is gone.
  absl::StatusOr<absl::Duration> KeepAlive(int64_t id, absl::Duration at_most);

  // Waits until a key is deleted.
  class DeleteWatch {
   public:
    // Tells of deletions from `revision` on.
    DeleteWatch(EtcdClient& client, std::string key, int64_t revision);
    // True: deleted. False: `at_most` went by, or the stream broke, or was cancelled: look again.
    bool Wait(absl::Duration at_most);
    // Ends a Wait, also one that is still to come. Any thread.
    void Cancel() { context_.TryCancel(); }

   private:
    EtcdClient& client_;
    const std::string key_;
    const int64_t revision_;
    grpc::ClientContext context_;
  };

 private:
  struct Member;

  template <typename Response, typename Call>
  absl::StatusOr<Response> Once(const Call& call, absl::Duration at_most);
  template <typename Response, typename Call>
  absl::StatusOr<Response> Repeated(const Call& call);
  // With a token, where there is a user; sets the deadline.
  absl::Status Prepare(Member& member, grpc::ClientContext& context, absl::Duration at_most);
  size_t NextMember();
  void Pause();
  void Note(size_t member, const absl::Status& status);

  const Options options_;
  std::vector<std::unique_ptr<Member>> members_;
  std::mutex mutex_;
  MemberPicker picker_;
  // Empty: to be asked for.
  std::string token_;
};

// All keys that begin with it: the first key after them.
std::string EndOfPrefix(absl::string_view prefix);

}  // namespace cowherd

#endif  // COWHERD_SERVER_ETCD_CLIENT_H_
