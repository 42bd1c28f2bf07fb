#include "client/controller_ring.h"

#include <algorithm>

#include "absl/random/distributions.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

constexpr absl::Duration kCallFloor = absl::Milliseconds(100);
constexpr absl::Duration kCallCeiling = absl::Seconds(2);
constexpr absl::Duration kWatchFloor = absl::Milliseconds(200);
constexpr absl::Duration kWatchCeiling = absl::Seconds(10);
// At each controller. Some 70 s in all, where there is one.
constexpr size_t kWatchRounds = 12;

bool NotLeading(const absl::Status& status) { return ReasonOf(status) == "NOT_LEADER"; }

// It did nothing: another one may. STOPPING: and will do nothing more. STORE_BUSY: nor can it read now; the
// one that leads can.
bool PassesOn(const absl::Status& status) {
  return ReasonOf(status) == "STOPPING" || ReasonOf(status) == "STORE_BUSY";
}

// It leads since a moment ago, and did nothing: soon it can.
bool Beginning(const absl::Status& status) { return ReasonOf(status) == "NODES_NOT_KNOWN_YET"; }

// It may have done what it was asked; nobody says.
bool Unanswered(const absl::Status& status) {
  return absl::IsUnavailable(status) && (ReasonOf(status).empty() || ReasonOf(status) == "UNAVAILABLE");
}

// Doubled with each try, at most `ceiling`; up to a half of it left out, so that those who lost one
// controller do not all come to the next at once.
absl::Duration Backoff(absl::Duration floor, absl::Duration ceiling, size_t tries, absl::BitGenRef random) {
  const absl::Duration full = std::min(floor * (int64_t{1} << std::min(tries, size_t{20})), ceiling);
  return full * absl::Uniform(absl::IntervalClosed, random, 0.5, 1.0);
}

void Follow(absl::string_view address, const absl::Status& status, ControllerRing& ring) {
  const std::string leader = LeaderOf(status);
  if (leader.empty() || leader == address) {
    ring.Leave(address);
  } else {
    ring.GoTo(leader);
  }
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ParseControllers(absl::string_view text) {
  std::vector<std::string> addresses = absl::StrSplit(text, ',');
  for (size_t i = 0; i < addresses.size(); ++i) {
    if (addresses[i].empty()) {
      return FieldError("--controller",
                        absl::StrCat("\"", text, "\" has an empty address; give HOST:PORT,HOST:PORT"));
    }
    if (std::find(addresses.begin(), addresses.begin() + static_cast<std::ptrdiff_t>(i), addresses[i]) !=
        addresses.begin() + static_cast<std::ptrdiff_t>(i)) {
      return FieldError("--controller", absl::StrCat(addresses[i], " is given twice"));
    }
  }
  return addresses;
}

bool IsNumeric(absl::string_view address) {
  const absl::string_view host = address.substr(0, address.rfind(':'));
  return absl::StartsWith(host, "[") || host.find_first_not_of("0123456789.") == absl::string_view::npos;
}

std::string FirstName(const std::vector<std::string>& addresses) {
  for (const std::string& address : addresses) {
    if (!IsNumeric(address) && !absl::StartsWith(address, "unix:")) {
      return address.substr(0, address.rfind(':'));
    }
  }
  return "";
}

void ControllerRing::Leave(absl::string_view failed) {
  if (current() == failed) current_ = (current_ + 1) % addresses_.size();
}

void ControllerRing::GoTo(absl::string_view leader) {
  const auto found = std::find(addresses_.begin(), addresses_.end(), leader);
  current_ = static_cast<size_t>(found - addresses_.begin());
  if (found == addresses_.end()) addresses_.emplace_back(leader);
}

absl::optional<absl::Duration> CallTries::After(absl::string_view address, const absl::Status& status,
                                                bool sent, ControllerRing& ring, absl::BitGenRef random) {
  if (NotLeading(status)) {
    Follow(address, status, ring);
    silent_ = 0;
    // The first hint may be right; one that leads nowhere is old, and its cure takes time.
    if (++redirects_ == 1 && ring.current() == LeaderOf(status)) return absl::ZeroDuration();
    return Backoff(kCallFloor, kCallCeiling, redirects_ - 1, random);
  }
  if (Beginning(status)) return Backoff(kCallFloor, kCallCeiling, redirects_++, random);
  if (!PassesOn(status) && !(Unanswered(status) && (repeatable_ || !sent))) return absl::nullopt;
  ring.Leave(address);
  if (++silent_ < ring.size()) return absl::ZeroDuration();
  if (redirects_ == 0) return absl::nullopt;
  return Backoff(kCallFloor, kCallCeiling, redirects_++, random);
}

void WatchTries::Heard() {
  patient_ = true;
  tries_ = 0;
}

absl::optional<absl::Duration> WatchTries::After(absl::string_view address, const absl::Status& status,
                                                 ControllerRing& ring, absl::BitGenRef random) {
  if (NotLeading(status)) {
    patient_ = true;
    Follow(address, status, ring);
  } else if (absl::IsUnavailable(status)) {
    ring.Leave(address);
  } else {
    return absl::nullopt;
  }
  const size_t others = ring.size() - 1;
  const size_t most = patient_ ? kWatchRounds * ring.size() : others;
  if (tries_ == most) return absl::nullopt;
  // The others at once, then all of them, round by round.
  const size_t before = tries_++;
  if (before < others) return absl::ZeroDuration();
  return Backoff(kWatchFloor, kWatchCeiling, (before - others) / ring.size(), random);
}

}  // namespace cowherd
