#ifndef COWHERD_SERVER_CONTROLLER_WINDOW_CONVERT_H_
#define COWHERD_SERVER_CONTROLLER_WINDOW_CONVERT_H_

#include <google/protobuf/repeated_ptr_field.h>

#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cowherd/v1/controller.pb.h"
#include "server/sched/node_windows.h"
#include "server/sched/window.h"

namespace cowherd {

// INVALID_ARGUMENT names the part at fault, as in "spec.windows[2].cron", where `field` is "spec.windows".
absl::StatusOr<std::vector<Window>> CheckWindows(
    absl::string_view field, const google::protobuf::RepeatedPtrField<v1::Window>& windows);

// Those that CheckWindows took. One whose zone this machine does not know any more stays closed, which is
// logged.
std::vector<Window> ReadWindows(const google::protobuf::RepeatedPtrField<v1::Window>& windows);

// The windows of a node are kept as a v1.NodeWindows.
absl::StatusOr<WindowList> CheckNodeWindows(const v1::SetNodeWindowsRequest& request);
// DATA_LOSS "STORE_CORRUPT": they are not what was kept.
absl::StatusOr<WindowList> ReadNodeWindows(absl::string_view bytes);
v1::NodeWindows ToProto(const WindowList& list, absl::Time now);

}  // namespace cowherd

#endif  // COWHERD_SERVER_CONTROLLER_WINDOW_CONVERT_H_
