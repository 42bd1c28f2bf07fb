#ifndef COWHERD_SERVER_SERVING_SERVING_H_
#define COWHERD_SERVER_SERVING_SERVING_H_

#include <grpcpp/impl/service_type.h>
#include <prometheus/collectable.h>
#include <prometheus/registry.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/base/credentials.h"

// What both servers do alike: flags, TLS, limits, health, reflection, /metrics, signals and a graceful stop.
namespace cowherd {

struct ServingFlags {
  std::string listen;          // host:port or unix:path; port 0 picks one
  std::string metrics_listen;  // host:port of /metrics, or "none"
  std::string health_listen;   // host:port of a plaintext server with the health service only; empty: none
  TlsFiles tls;
  bool allow_remote_plaintext = false;
  bool reflection = false;
  std::string log_level = "info";
  double grace_seconds = 20;
};

// Adds the flags above, --version and --config (an INI or TOML file of the same flags); every flag can also
// come from the environment as COWHERD_<NAME>. Order of precedence: command line, environment, file.
void AddServingFlags(CLI::App& app, ServingFlags& flags);

// Parses; on --help, --version or an error prints and returns the exit code: 0, or 2 for bad usage. -1: go
// on.
int ParseFlags(CLI::App& app, int argc, char** argv);

// A running server. Not thread-safe, but for SetServing.
class Serving {
 public:
  static constexpr char kAlive[] = "alive";

  // Blocks SIGTERM and SIGINT in the calling thread and so in those it starts from now on. Call first in
  // main.
  static void BlockSignals();

  // Serves `services`, which must live until Shutdown has returned. Counts every call in `registry` as
  // grpc_server_{started,handled}_total and grpc_server_handling_seconds; `collectables` are scraped beside
  // it. An error names the flag at fault.
  static absl::StatusOr<std::unique_ptr<Serving>> Start(
      const ServingFlags& flags, const std::vector<grpc::Service*>& services,
      const std::shared_ptr<prometheus::Registry>& registry,
      const std::vector<std::shared_ptr<prometheus::Collectable>>& collectables = {});
  virtual ~Serving() = default;

  // Waits for SIGTERM or SIGINT. Needs BlockSignals.
  static void WaitForSignal();

  // What the health service says of one name: "", for the server as a whole, and kAlive, which says no more
  // than that the process is at work, are SERVING from the start; a gRPC service, by its full name, is not
  // known until it is told.
  virtual void SetServing(const std::string& service, bool serving) = 0;

  // Health turns NOT_SERVING, no new calls, running ones get the grace period, then are cancelled.
  virtual void Shutdown() = 0;

  // As bound.
  virtual int port() const = 0;
  virtual int metrics_port() const = 0;
  virtual int health_port() const = 0;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SERVING_SERVING_H_
