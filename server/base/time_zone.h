#ifndef COWHERD_SERVER_BASE_TIME_ZONE_H_
#define COWHERD_SERVER_BASE_TIME_ZONE_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace cowherd {

// A zone of the IANA database on this machine, by its name: "Europe/Berlin". "" is UTC. INVALID_ARGUMENT of
// "time_zone": no such zone here. Reads a file at the first use of a name; nothing but the names of the
// database is ever opened.
absl::StatusOr<absl::TimeZone> FindTimeZone(absl::string_view name);

}  // namespace cowherd

#endif  // COWHERD_SERVER_BASE_TIME_ZONE_H_
