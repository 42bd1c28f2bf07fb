#include "server/etcd/client.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/support/channel_arguments.h>

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/boot_clock.h"
#include "server/base/status.h"
#include "server/etcd/etcd.grpc.pb.h"

namespace cowherd {
namespace {

namespace pb = etcdserverpb;

constexpr absl::Duration kRest = absl::Seconds(2);
// Between tries while no member answers.
constexpr absl::Duration kPause = absl::Milliseconds(100);
// A member that froze is noticed after the sum of the two.
constexpr int kKeepaliveMs = 3'000;
constexpr int kKeepaliveTimeoutMs = 1'000;
constexpr int kFirstReconnectMs = 100;
constexpr int kLastReconnectMs = 500;
constexpr int kConnectMs = 1'000;

std::shared_ptr<grpc::Channel> Connect(const std::string& address,
                                       const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kFirstReconnectMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kLastReconnectMs);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectMs);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetLoadBalancingPolicyName("round_robin");
  arguments.SetMaxReceiveMessageSize(-1);
  return grpc::CreateCustomChannel(address, credentials, arguments);
}

absl::Status FromEtcd(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  const auto code = static_cast<absl::StatusCode>(status.error_code());
  if (code == absl::StatusCode::kResourceExhausted &&
      absl::StrContains(status.error_message(), "database space exceeded")) {
    return MakeError(
        code, "STORE_FULL",
        "the quota of the etcd cluster is used up: compact and defragment it, or raise the quota, then "
        "disarm its NOSPACE alarm");
  }
  if (code == absl::StatusCode::kPermissionDenied) {
    return MakeError(code, "STORE_REFUSES",
                     absl::StrCat("etcd does not let --etcd_user do this; give it a role with read and write "
                                  "access to the prefix of --store: ",
                                  status.error_message()));
  }
  return absl::Status(code, absl::StrCat("etcd: ", status.error_message()));
}

// What etcd says of a user or password that is wrong.
absl::Status FromAuthentication(const grpc::Status& status) {
  if (status.error_code() != grpc::StatusCode::INVALID_ARGUMENT) return FromEtcd(status);
  return MakeError(absl::StatusCode::kPermissionDenied, "STORE_REFUSES",
                   absl::StrCat("etcd does not take --etcd_user or the password of --etcd_password_file: ",
                                status.error_message()));
}

}  // namespace

struct EtcdClient::Member {
  Member(const std::string& address, const std::shared_ptr<grpc::ChannelCredentials>& credentials)
      : channel(Connect(address, credentials)),
        kv(pb::KV::NewStub(channel)),
        watch(pb::Watch::NewStub(channel)),
        lease(pb::Lease::NewStub(channel)),
        auth(pb::Auth::NewStub(channel)) {}

  const std::shared_ptr<grpc::Channel> channel;
  const std::unique_ptr<pb::KV::Stub> kv;
  const std::unique_ptr<pb::Watch::Stub> watch;
  const std::unique_ptr<pb::Lease::Stub> lease;
  const std::unique_ptr<pb::Auth::Stub> auth;
};

EtcdClient::EtcdClient(Options options)
    : options_(std::move(options)), picker_(options_.members.size(), kRest) {
  for (const std::string& address : options_.members) {
    members_.push_back(std::make_unique<Member>(address, options_.credentials));
  }
}

EtcdClient::~EtcdClient() = default;

bool EtcdClient::OutcomeUnknown(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kAborted:
      return true;
    default:
      return false;
  }
}

bool EtcdClient::WorthRepeating(const absl::Status& status) {
  return OutcomeUnknown(status) || absl::IsUnauthenticated(status) ||
         (absl::IsResourceExhausted(status) && absl::StrContains(status.message(), "too many requests"));
}

absl::Status EtcdClient::Prepare(Member& member, grpc::ClientContext& context, absl::Duration at_most) {
  context.set_deadline(absl::ToChronoTime(absl::Now() + at_most));
  if (options_.user.empty()) return absl::OkStatus();
  std::string token;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    token = token_;
  }
  if (token.empty()) {
    grpc::ClientContext asking;
    asking.set_deadline(absl::ToChronoTime(absl::Now() + at_most));
    pb::AuthenticateRequest request;
    request.set_name(options_.user);
    request.set_password(options_.password);
    pb::AuthenticateResponse response;
    RETURN_IF_ERROR(FromAuthentication(member.auth->Authenticate(&asking, request, &response)));
    token = response.token();
    std::lock_guard<std::mutex> lock(mutex_);
    token_ = token;
  }
  context.AddMetadata("token", token);
  return absl::OkStatus();
}

size_t EtcdClient::NextMember() {
  std::lock_guard<std::mutex> lock(mutex_);
  return picker_.Next(SinceBoot());
}

void EtcdClient::Note(size_t member, const absl::Status& status) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (OutcomeUnknown(status)) {
    picker_.Failed(member, SinceBoot());
  } else {
    picker_.Answered(member);
  }
  // It has run out, or the cluster forgot it.
  if (absl::IsUnauthenticated(status)) token_.clear();
}

template <typename Response, typename Call>
absl::StatusOr<Response> EtcdClient::Once(const Call& call, absl::Duration at_most) {
  const size_t picked = NextMember();
  Member& member = *members_[picked];
  grpc::ClientContext context;
  Response response;
  absl::Status status = Prepare(member, context, at_most);
  if (status.ok()) status = FromEtcd(call(member, context, response));
  Note(picked, status);
  if (!status.ok()) return status;
  return response;
}

template <typename Response, typename Call>
absl::StatusOr<Response> EtcdClient::Repeated(const Call& call) {
  const absl::Duration end = SinceBoot() + options_.patience;
  for (;;) {
    absl::StatusOr<Response> answer = Once<Response>(call, options_.try_time);
    if (answer.ok() || !WorthRepeating(answer.status())) return answer;
    const absl::Duration now = SinceBoot();
    if (now >= end) return answer;
    bool pause = !OutcomeUnknown(answer.status());
    {
      std::lock_guard<std::mutex> lock(mutex_);
      pause = pause || picker_.AllRest(now);
    }
    if (pause) Pause();
  }
}

// Where this process has no gRPC server, connections are made only while a thread waits in gRPC: calls that
// fail at once, and a sleep between them, would never let one end in time.
void EtcdClient::Pause() {
  grpc::Channel& channel = *members_.front()->channel;
  channel.WaitForStateChange(channel.GetState(/*try_to_connect=*/false),
                             absl::ToChronoTime(absl::Now() + kPause));
}

absl::StatusOr<pb::RangeResponse> EtcdClient::Range(const pb::RangeRequest& request) {
  return Repeated<pb::RangeResponse>(
      [&request](Member& member, grpc::ClientContext& context, pb::RangeResponse& response) {
        return member.kv->Range(&context, request, &response);
      });
}

absl::StatusOr<pb::TxnResponse> EtcdClient::RepeatableTxn(const pb::TxnRequest& request) {
  return Repeated<pb::TxnResponse>(
      [&request](Member& member, grpc::ClientContext& context, pb::TxnResponse& response) {
        return member.kv->Txn(&context, request, &response);
      });
}

absl::StatusOr<pb::TxnResponse> EtcdClient::TryTxn(const pb::TxnRequest& request, absl::Duration at_most) {
  return Once<pb::TxnResponse>(
      [&request](Member& member, grpc::ClientContext& context, pb::TxnResponse& response) {
        return member.kv->Txn(&context, request, &response);
      },
      std::min(at_most, options_.try_time));
}

absl::StatusOr<pb::LeaseGrantResponse> EtcdClient::GrantLease(absl::Duration ttl) {
  pb::LeaseGrantRequest request;
  request.set_ttl(absl::ToInt64Seconds(ttl));
  return Repeated<pb::LeaseGrantResponse>(
      [&request](Member& member, grpc::ClientContext& context, pb::LeaseGrantResponse& response) {
        return member.lease->LeaseGrant(&context, request, &response);
      });
}

absl::Status EtcdClient::RevokeLease(int64_t id) {
  pb::LeaseRevokeRequest request;
  request.set_id(id);
  return Repeated<pb::LeaseRevokeResponse>(
             [&request](Member& member, grpc::ClientContext& context, pb::LeaseRevokeResponse& response) {
               return member.lease->LeaseRevoke(&context, request, &response);
             })
      .status();
}

absl::StatusOr<absl::Duration> EtcdClient::KeepAlive(int64_t id, absl::Duration at_most) {
  ASSIGN_OR_RETURN(
      const pb::LeaseKeepAliveResponse answer,
      Once<pb::LeaseKeepAliveResponse>(
          [id](Member& member, grpc::ClientContext& context, pb::LeaseKeepAliveResponse& response) {
            pb::LeaseKeepAliveRequest request;
            request.set_id(id);
            const auto stream = member.lease->LeaseKeepAlive(&context);
            const bool answered = stream->Write(request) && stream->Read(&response);
            // etcd keeps the stream open until told.
            if (answered) context.TryCancel();
            const grpc::Status end = stream->Finish();
            return answered ? grpc::Status::OK : end;
          },
          std::min(at_most, options_.try_time)));
  return absl::Seconds(answer.ttl());
}

EtcdClient::DeleteWatch::DeleteWatch(EtcdClient& client, std::string key, int64_t revision)
    : client_(client), key_(std::move(key)), revision_(revision) {}

bool EtcdClient::DeleteWatch::Wait(absl::Duration at_most) {
  const size_t picked = client_.NextMember();
  Member& member = *client_.members_[picked];
  if (absl::Status status = client_.Prepare(member, context_, at_most); !status.ok()) {
    client_.Note(picked, status);
    return false;
  }
  // A member that is cut off from the others ends the stream instead of saying nothing.
  context_.AddMetadata("hasleader", "true");
  const auto stream = member.watch->Watch(&context_);
  pb::WatchRequest request;
  request.mutable_create_request()->set_key(key_);
  request.mutable_create_request()->set_start_revision(revision_);
  bool deleted = false;
  bool broken = !stream->Write(request);
  pb::WatchResponse response;
  while (!deleted && !broken && stream->Read(&response)) {
    broken = response.canceled();
    for (const pb::Event& event : response.events()) deleted = deleted || event.type() == pb::Event::DELETE;
  }
  context_.TryCancel();
  const grpc::Status end = stream->Finish();
  if (end.error_code() == grpc::StatusCode::UNAVAILABLE) client_.Note(picked, FromEtcd(end));
  return deleted;
}

std::string EndOfPrefix(absl::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && static_cast<unsigned char>(end.back()) == 0xff) end.pop_back();
  if (end.empty()) return std::string(1, '\0');
  end.back() = static_cast<char>(static_cast<unsigned char>(end.back()) + 1);
  return end;
}

}  // namespace cowherd
