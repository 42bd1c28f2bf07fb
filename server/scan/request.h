#ifndef COWHERD_SERVER_SCAN_REQUEST_H_
#define COWHERD_SERVER_SCAN_REQUEST_H_

#include "absl/status/statusor.h"
#include "cowherd/v1/types.pb.h"
#include "server/fs/root.h"
#include "server/scan/scanner.h"

namespace cowherd {

struct RootedScan {
  const Root* root = nullptr;
  ScanRequest request;
};

// A TreeScan, checked. Pure. An error names the field. The result points into `roots`.
absl::StatusOr<RootedScan> CheckScan(const v1::TreeScan& scan, const RootTable& roots);

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_REQUEST_H_
