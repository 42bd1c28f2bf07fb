#include "tests/testing/etcd_cluster.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/base/fd.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

constexpr absl::Duration kStartWithin = absl::Seconds(20);

// On loopback, an address of this process's own, so that tests side by side never take the same port. By
// chance: in a sandbox process numbers are not unique.
const std::string& OwnHost() {
  static const std::string* const host = [] {
    std::random_device random;
    return new std::string(
        absl::StrCat("127.", 128 + random() % 64, ".", random() % 256, ".", 1 + random() % 254));
  }();
  return *host;
}

sockaddr_in SocketAddress(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  ::inet_pton(AF_INET, OwnHost().c_str(), &address.sin_addr);
  address.sin_port = htons(port);
  return address;
}

// Ports that nobody has, by asking for all of them at a time.
absl::StatusOr<std::vector<std::string>> FreeAddresses(size_t count) {
  std::vector<Fd> sockets;
  std::vector<std::string> addresses;
  for (size_t i = 0; i < count; ++i) {
    Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address = SocketAddress(0);
    socklen_t size = sizeof(address);
    auto* raw = reinterpret_cast<sockaddr*>(&address);
    if (::bind(socket.get(), raw, size) != 0 || ::getsockname(socket.get(), raw, &size) != 0) {
      return ErrnoError(errno, "find a free port");
    }
    addresses.push_back(absl::StrCat(OwnHost(), ":", ntohs(address.sin_port)));
    sockets.push_back(std::move(socket));
  }
  return addresses;
}

bool Accepts(const std::string& address) {
  const Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto port = static_cast<uint16_t>(std::atoi(address.substr(address.find(':') + 1).c_str()));
  const sockaddr_in to = SocketAddress(port);
  return ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&to), sizeof(to)) == 0;
}

}  // namespace

absl::StatusOr<std::unique_ptr<EtcdCluster>> EtcdCluster::Start(size_t members,
                                                                std::vector<std::string> more_flags) {
  const char* parent = std::getenv("TEST_TMPDIR");
  std::string directory = absl::StrCat(parent != nullptr ? parent : "/var/tmp", "/etcd-XXXXXX");
  if (::mkdtemp(&directory[0]) == nullptr) return ErrnoError(errno, absl::StrCat("make ", directory));
  std::unique_ptr<EtcdCluster> cluster(new EtcdCluster(directory, std::move(more_flags)));
  ASSIGN_OR_RETURN(std::vector<std::string> addresses, FreeAddresses(members * 2));
  cluster->addresses_.assign(addresses.begin(), addresses.begin() + static_cast<ptrdiff_t>(members));
  cluster->peers_.assign(addresses.begin() + static_cast<ptrdiff_t>(members), addresses.end());
  cluster->pids_.resize(members, 0);
  for (size_t i = 0; i < members; ++i) RETURN_IF_ERROR(cluster->Restart(i));
  // A member listens for clients once it has joined the others.
  const absl::Time end = absl::Now() + kStartWithin;
  for (const std::string& address : cluster->addresses_) {
    while (!Accepts(address)) {
      if (absl::Now() > end) return absl::UnavailableError(absl::StrCat("etcd does not listen on ", address));
      absl::SleepFor(absl::Milliseconds(20));
    }
  }
  return cluster;
}

EtcdCluster::EtcdCluster(std::string directory, std::vector<std::string> more_flags)
    : directory_(std::move(directory)), more_flags_(std::move(more_flags)) {}

EtcdCluster::~EtcdCluster() {
  for (size_t i = 0; i < pids_.size(); ++i) Kill(i).IgnoreError();
  std::error_code error;
  std::filesystem::remove_all(directory_, error);
  if (error) std::fprintf(stderr, "%s is left: %s\n", directory_.c_str(), error.message().c_str());
}

absl::Status EtcdCluster::Restart(size_t member) {
  std::vector<std::string> cluster;
  for (size_t i = 0; i < peers_.size(); ++i) cluster.push_back(absl::StrCat("m", i, "=http://", peers_[i]));
  std::vector<std::string> words = {"etcd",
                                    "--name",
                                    absl::StrCat("m", member),
                                    "--data-dir",
                                    absl::StrCat(directory_, "/m", member),
                                    "--listen-client-urls",
                                    "http://" + addresses_[member],
                                    "--advertise-client-urls",
                                    "http://" + addresses_[member],
                                    "--listen-peer-urls",
                                    "http://" + peers_[member],
                                    "--initial-advertise-peer-urls",
                                    "http://" + peers_[member],
                                    "--initial-cluster",
                                    absl::StrJoin(cluster, ","),
                                    "--logger",
                                    "zap"};
  words.insert(words.end(), more_flags_.begin(), more_flags_.end());
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (std::string& word : words) arguments.push_back(&word[0]);
  arguments.push_back(nullptr);
  const std::string log = absl::StrCat(directory_, "/m", member, ".log");
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return ErrnoError(errno, "fork");
  if (pid == 0) {
    // Ends with the test, however that ends.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
    const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    ::dup2(out, 1);
    ::dup2(out, 2);
    ::execvp(arguments[0], arguments.data());
    ::_exit(127);
  }
  pids_[member] = pid;
  return absl::OkStatus();
}

absl::Status EtcdCluster::Signal(size_t member, int signal) {
  if (pids_[member] == 0) return absl::FailedPreconditionError("the member does not run");
  if (::kill(pids_[member], signal) != 0) return ErrnoError(errno, "kill");
  return absl::OkStatus();
}

absl::Status EtcdCluster::Kill(size_t member) {
  RETURN_IF_ERROR(Signal(member, SIGKILL));
  if (::waitpid(std::exchange(pids_[member], 0), nullptr, 0) < 0) return ErrnoError(errno, "waitpid");
  return absl::OkStatus();
}

absl::Status EtcdCluster::Freeze(size_t member) { return Signal(member, SIGSTOP); }
absl::Status EtcdCluster::Thaw(size_t member) { return Signal(member, SIGCONT); }

}  // namespace cowherd
