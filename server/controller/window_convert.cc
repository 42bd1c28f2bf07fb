#include "server/controller/window_convert.h"

#include <google/protobuf/util/time_util.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/base/log.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

using google::protobuf::util::TimeUtil;

constexpr int kMaxWindows = 20;
constexpr size_t kMaxName = 255;

absl::Duration DurationOf(const v1::Window& window) {
  return absl::Seconds(window.duration().seconds()) + absl::Nanoseconds(window.duration().nanos());
}

}  // namespace

absl::StatusOr<std::vector<Window>> CheckWindows(
    absl::string_view field, const google::protobuf::RepeatedPtrField<v1::Window>& windows) {
  if (windows.size() > kMaxWindows) {
    return FieldError(field, absl::StrCat(windows.size(), " given, at most ", kMaxWindows, " allowed"));
  }
  std::vector<Window> checked;
  for (int i = 0; i < windows.size(); ++i) {
    absl::StatusOr<Window> window =
        MakeWindow(windows[i].cron(), windows[i].time_zone(), DurationOf(windows[i]));
    if (!window.ok()) {
      const std::string part = FieldOf(window.status());
      absl::string_view message = window.status().message();
      absl::ConsumePrefix(&message, absl::StrCat(part, ": "));
      return FieldError(absl::StrCat(field, "[", i, "].", part), message);
    }
    checked.push_back(*std::move(window));
  }
  return checked;
}

std::vector<Window> ReadWindows(const google::protobuf::RepeatedPtrField<v1::Window>& windows) {
  std::vector<Window> read;
  for (const v1::Window& window : windows) {
    absl::StatusOr<Window> made = MakeWindow(window.cron(), window.time_zone(), DurationOf(window));
    if (!made.ok() && FieldOf(made.status()) == "time_zone") {
      Log(LogLevel::kError, "a window's time zone is not known any more: it stays closed",
          {{"cron", window.cron()}, {"error", made.status()}});
      made = MakeWindow(window.cron(), "", DurationOf(window));
      if (made.ok()) made->unknown_zone = window.time_zone();
    }
    if (made.ok()) read.push_back(*std::move(made));
  }
  return read;
}

absl::StatusOr<WindowList> CheckNodeWindows(const v1::SetNodeWindowsRequest& request) {
  if (request.node().empty() || request.node().size() > kMaxName) {
    return FieldError("node", absl::StrCat("must be a name of at most ", kMaxName, " bytes"));
  }
  WindowList list;
  ASSIGN_OR_RETURN(list.windows, CheckWindows("windows", request.windows()));
  v1::NodeWindows kept;
  kept.set_node(request.node());
  *kept.mutable_windows() = request.windows();
  list.bytes = kept.SerializeAsString();
  return list;
}

absl::StatusOr<WindowList> ReadNodeWindows(absl::string_view bytes) {
  v1::NodeWindows kept;
  WindowList list{std::string(bytes), {}};
  if (kept.ParseFromString(list.bytes)) list.windows = ReadWindows(kept.windows());
  if (list.windows.empty() || static_cast<int>(list.windows.size()) != kept.windows_size()) {
    return MakeError(absl::StatusCode::kDataLoss, "STORE_CORRUPT",
                     "the windows of a node in the store cannot be read");
  }
  return list;
}

v1::NodeWindows ToProto(const WindowList& list, absl::Time now) {
  v1::NodeWindows proto;
  proto.ParseFromString(list.bytes);
  const WindowState state = StateAt(list.windows, now);
  proto.set_open(state.open);
  if (state.until != absl::InfiniteFuture()) {
    *proto.mutable_until() = TimeUtil::MicrosecondsToTimestamp(absl::ToUnixMicros(state.until));
  }
  return proto;
}

}  // namespace cowherd
