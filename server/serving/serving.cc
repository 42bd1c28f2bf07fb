#include "server/serving/serving.h"

#include <grpc/support/log.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/impl/server_builder_option.h>
#include <grpcpp/impl/server_builder_plugin.h>
#include <prometheus/exposer.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "server/base/log.h"
#include "server/base/status.h"
#include "server/base/version.h"
#include "server/metrics/certificate_metrics.h"
#include "server/metrics/grpc_metrics.h"
#include "server/metrics/process_metrics.h"

namespace cowherd {
namespace {

// 1024 destinations with paths of 4 KiB fit.
constexpr int kMaxMessageBytes = 8 << 20;

// What one client can make the server hold in buffers: gRPC counts messages only after it has them.
constexpr size_t kBufferQuotaBytes = 64 << 20;

constexpr absl::Duration kExpiryWarning = absl::Hours(7 * 24);

sigset_t StopSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  return set;
}

// gRPC's own messages, as lines like ours.
void LogForGrpc(gpr_log_func_args* args) {
  LogLevel level = LogLevel::kDebug;
  if (args->severity == GPR_LOG_SEVERITY_INFO) level = LogLevel::kInfo;
  if (args->severity == GPR_LOG_SEVERITY_ERROR) level = LogLevel::kWarning;
  Log(level, "grpc", {{"said", args->message}, {"at", absl::StrCat(args->file, ":", args->line)}});
}

// Linking the reflection library is enough for gRPC to serve it everywhere: this takes it out again.
class NoReflection final : public grpc::ServerBuilderOption {
 public:
  void UpdateArguments(grpc::ChannelArguments*) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    plugins->erase(
        std::remove_if(plugins->begin(), plugins->end(),
                       [](const auto& plugin) { return plugin->name() == "proto_server_reflection"; }),
        plugins->end());
  }
};

void SetLimits(grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.SetResourceQuota(grpc::ResourceQuota("server").Resize(kBufferQuotaBytes));
  // A few KiB of compressed zeros would unpack to gigabytes.
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  // Another process on the same port is an error, not a partner.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 128);
  // Notice dead peers, also those of silent streams; let clients ping as often as ours do.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 20000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
}

absl::Status CannotListen(absl::string_view flag, const std::string& address) {
  return WithField(MakeError(absl::StatusCode::kUnavailable, "CANNOT_LISTEN",
                             absl::StrCat(flag, ": cannot listen on ", address,
                                          ": is the port taken or the address not this machine's?")),
                   flag);
}

absl::Status CheckExpiry(const TlsFiles& files) {
  if (!files.any()) return absl::OkStatus();
  for (const auto& [file, path] : {std::pair("cert", files.cert), std::pair("ca", files.ca)}) {
    ASSIGN_OR_RETURN(const absl::Time end, FirstExpiryIn(path, absl::StrCat("--tls_", file)));
    if (end < absl::Now() + kExpiryWarning) {
      Log(LogLevel::kWarning, "a certificate ends soon, or has ended",
          {{"file", path}, {"end", absl::FormatTime(absl::RFC3339_sec, end, absl::UTCTimeZone())}});
    }
  }
  return absl::OkStatus();
}

class GrpcServing final : public Serving {
 public:
  explicit GrpcServing(double grace_seconds) : grace_(absl::Seconds(grace_seconds)) {}

  absl::Status Listen(const ServingFlags& flags, const std::vector<grpc::Service*>& services,
                      const std::shared_ptr<prometheus::Registry>& registry,
                      const std::vector<std::shared_ptr<prometheus::Collectable>>& collectables) {
    ASSIGN_OR_RETURN(std::shared_ptr<grpc::ServerCredentials> credentials, MakeServerCredentials(flags.tls));
    if (!flags.tls.any() && !IsLocalAddress(flags.listen)) {
      if (!flags.allow_remote_plaintext) {
        return FieldError("--listen",
                          absl::StrCat(flags.listen,
                                       " can be reached from other machines: give --tls_cert, --tls_key "
                                       "and --tls_ca, or say --allow_remote_plaintext"));
      }
      Log(LogLevel::kWarning,
          "serving plain text to other machines: anyone who reaches the port may command this node",
          {{"listen", flags.listen}});
    }
    RETURN_IF_ERROR(CheckExpiry(flags.tls));
    // Each call counts in the registry; the exposer holds all of them weakly.
    scraped_ = collectables;
    scraped_.push_back(registry);
    scraped_.push_back(std::make_shared<ProcessMetrics>());
    if (flags.tls.any()) scraped_.push_back(std::make_shared<CertificateMetrics>(flags.tls));
    grpc::EnableDefaultHealthCheckService(true);
    grpc::ServerBuilder builder;
    SetLimits(builder);
    if (!flags.reflection) builder.SetOption(std::make_unique<NoReflection>());
    builder.AddListeningPort(flags.listen, credentials, &port_);
    for (grpc::Service* service : services) builder.RegisterService(service);
    std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> interceptors;
    interceptors.push_back(std::make_unique<GrpcMetrics>(*registry));
    builder.experimental().SetInterceptorCreators(std::move(interceptors));
    server_ = builder.BuildAndStart();
    const bool unix_socket = flags.listen.rfind("unix:", 0) == 0;
    if (server_ == nullptr || (port_ == 0 && !unix_socket)) {
      return CannotListen("--listen", flags.listen);
    }

    if (!flags.health_listen.empty()) {
      grpc::ServerBuilder probes;
      SetLimits(probes);
      probes.SetOption(std::make_unique<NoReflection>());
      probes.AddListeningPort(flags.health_listen, grpc::InsecureServerCredentials(), &health_port_);
      // The health service alone does not make gRPC poll.
      probes.RegisterCallbackGenericService(&no_other_service_);
      health_server_ = probes.BuildAndStart();
      if (health_server_ == nullptr || health_port_ == 0) {
        return CannotListen("--health_listen", flags.health_listen);
      }
    }
    if (flags.metrics_listen != "none") {
      // prometheus-cpp tells of a bad address or a taken port by an exception.
      try {
        exposer_ = std::make_unique<prometheus::Exposer>(flags.metrics_listen, 1);
        metrics_port_ = exposer_->GetListeningPorts().front();
      } catch (const std::exception& error) {
        return CannotListen("--metrics_listen", flags.metrics_listen);
      }
      for (const auto& collectable : scraped_) exposer_->RegisterCollectable(collectable);
    }
    SetServing(kAlive, true);
    SetHealth(true);
    Log(LogLevel::kInfo, "serving",
        {{"listen", flags.listen},
         {"port", port_},
         {"metrics_port", metrics_port_},
         {"health_port", health_port_},
         {"tls", flags.tls.any()},
         {"version", kVersion}});
    return absl::OkStatus();
  }

  ~GrpcServing() override { Shutdown(); }

  void Shutdown() override {
    if (server_ == nullptr) return;
    SetHealth(false);
    server_->Shutdown(absl::ToChronoTime(absl::Now() + grace_));
    server_->Wait();
    server_.reset();
    if (health_server_ != nullptr) {
      health_server_->Shutdown(absl::ToChronoTime(absl::Now()));
      health_server_.reset();
    }
    exposer_.reset();
  }

  void SetServing(const std::string& service, bool serving) override {
    for (grpc::Server* server : {server_.get(), health_server_.get()}) {
      if (server == nullptr) continue;
      if (auto* health = server->GetHealthCheckService()) health->SetServingStatus(service, serving);
    }
  }

  int port() const override { return port_; }
  int metrics_port() const override { return metrics_port_; }
  int health_port() const override { return health_port_; }

 private:
  void SetHealth(bool serving) {
    for (grpc::Server* server : {server_.get(), health_server_.get()}) {
      if (server == nullptr) continue;
      if (auto* health = server->GetHealthCheckService()) health->SetServingStatus(serving);
    }
  }

  const absl::Duration grace_;
  std::vector<std::shared_ptr<prometheus::Collectable>> scraped_;
  grpc::CallbackGenericService no_other_service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<grpc::Server> health_server_;
  std::unique_ptr<prometheus::Exposer> exposer_;
  int port_ = 0;
  int metrics_port_ = 0;
  int health_port_ = 0;
};

}  // namespace

void AddServingFlags(CLI::App& app, ServingFlags& flags) {
  app.set_version_flag("--version", kVersion);
  app.set_config("--config", "",
                 "Read flags from this INI or TOML file; the command line and environment win");
  app.allow_config_extras(CLI::config_extras_mode::error);
  app.add_option("--listen", flags.listen, "gRPC address: HOST:PORT or unix:PATH; port 0 picks a free one")
      ->capture_default_str();
  app.add_option("--metrics_listen", flags.metrics_listen, "HOST:PORT of /metrics for Prometheus, or none")
      ->capture_default_str();
  app.add_option("--health_listen", flags.health_listen,
                 "HOST:PORT that serves only the gRPC health service, in plain text, for probes");
  app.add_option("--tls_cert", flags.tls.cert, "PEM file: this server's certificate chain");
  app.add_option("--tls_key", flags.tls.key, "PEM file: its private key");
  app.add_option("--tls_ca", flags.tls.ca,
                 "PEM file: the authority that signed the certificates of our peers");
  app.add_flag("--allow_remote_plaintext", flags.allow_remote_plaintext,
               "Without TLS, allow addresses other than loopback and unix sockets. Anyone who can reach them "
               "is obeyed");
  app.add_flag("--reflection", flags.reflection, "Serve gRPC reflection, for grpcurl and its like");
  app.add_option("--log_level", flags.log_level, "debug, info, warning or error")->capture_default_str();
  app.add_option("--grace_seconds", flags.grace_seconds, "On SIGTERM, how long running calls may take to end")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 3600.0));
}

int ParseFlags(CLI::App& app, int argc, char** argv) {
  // CLI11 by itself lets the config file win over the environment, and does not look for --config there. So
  // what the environment says goes before the command line, unless that says it too.
  std::vector<std::string> args;
  for (CLI::Option* option : app.get_options()) {
    const std::string name = option->get_name();
    if (name.rfind("--", 0) != 0 || name == "--help" || name == "--version") continue;
    const std::string variable =
        absl::StrCat("COWHERD_", absl::AsciiStrToUpper(absl::StrReplaceAll(name.substr(2), {{"-", "_"}})));
    option->envname(variable);  // for --help
    const bool given = std::any_of(argv + 1, argv + argc, [&](absl::string_view arg) {
      return absl::ConsumePrefix(&arg, name) && (arg.empty() || arg.front() == '=');
    });
    const char* const value = std::getenv(variable.c_str());
    if (!given && value != nullptr && *value != '\0') args.push_back(absl::StrCat(name, "=", value));
  }
  args.insert(args.end(), argv + 1, argv + argc);
  std::reverse(args.begin(), args.end());  // as parse wants them
  try {
    app.parse(std::move(args));
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return -1;
}

void Serving::BlockSignals() {
  const sigset_t signals = StopSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  // Writing to a peer that has gone is an error of that call, not the end of the process.
  std::signal(SIGPIPE, SIG_IGN);
}

void Serving::WaitForSignal() {
  const sigset_t signals = StopSignals();
  int signal = 0;
  sigwait(&signals, &signal);
  Log(LogLevel::kInfo, "stopping", {{"signal", signal}});
}

absl::StatusOr<std::unique_ptr<Serving>> Serving::Start(
    const ServingFlags& flags, const std::vector<grpc::Service*>& services,
    const std::shared_ptr<prometheus::Registry>& registry,
    const std::vector<std::shared_ptr<prometheus::Collectable>>& collectables) {
  gpr_set_log_function(LogForGrpc);
  // Debian's Abseil looks for cycles at every lock, and gRPC takes many for each call.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  auto serving = std::make_unique<GrpcServing>(flags.grace_seconds);
  RETURN_IF_ERROR(serving->Listen(flags, services, registry, collectables));
  return absl::StatusOr<std::unique_ptr<Serving>>(std::move(serving));
}

}  // namespace cowherd
