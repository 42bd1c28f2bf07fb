#include "server/sched/holds.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

const std::string* Text(const nlohmann::json& json, const char* field) {
  const auto found = json.find(field);
  return found == json.end() ? nullptr : found->get_ptr<const std::string*>();
}

}  // namespace

absl::string_view HoldName(Hold::Kind kind) { return kind == Hold::Kind::kPause ? "pause" : "drain"; }

std::string SerializeHold(const Hold& hold) {
  const nlohmann::json json = {{"kind", std::string(HoldName(hold.kind))},
                               {"by", hold.by},
                               {"reason", hold.reason},
                               {"since", absl::ToUnixMicros(hold.since)}};
  // What is not UTF-8 is shown to people only.
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

absl::StatusOr<Hold> ParseHold(const std::string& name, const std::string& value) {
  const nlohmann::json json = nlohmann::json::parse(value, nullptr, /*allow_exceptions=*/false);
  const auto since = json.find("since");
  if (json.is_object() && since != json.end() && since->is_number_integer()) {
    const std::string* kind = Text(json, "kind");
    const std::string* by = Text(json, "by");
    const std::string* reason = Text(json, "reason");
    for (const Hold::Kind known : {Hold::Kind::kPause, Hold::Kind::kDrain}) {
      if (kind == nullptr || by == nullptr || reason == nullptr || *kind != HoldName(known)) continue;
      return Hold{known, *by, *reason, absl::FromUnixMicros(since->get<int64_t>())};
    }
  }
  return MakeError(absl::StatusCode::kDataLoss, "STORE_CORRUPT",
                   absl::StrCat("the store's record of who paused ", name, " cannot be read"));
}

const Hold* Holds::Find(const std::string& name) const {
  const auto found = holds_.find(name);
  return found == holds_.end() ? nullptr : &found->second;
}

const Hold* Holds::OfNode(const std::string& node) const {
  const Hold* own = Find(Node(node));
  const Hold* all = Find(Cluster());
  if (own == nullptr || all == nullptr) return own != nullptr ? own : all;
  return own->kind == Hold::Kind::kPause ? own : all;
}

}  // namespace cowherd
