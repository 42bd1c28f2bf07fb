#include "server/jobs/job_store.h"

#include "absl/strings/str_cat.h"
#include "server/base/status.h"

namespace cowherd {

absl::Status JobUnknown(absl::string_view id) {
  return MakeError(absl::StatusCode::kNotFound, "JOB_UNKNOWN",
                   absl::StrCat("no job has the id \"", id, "\"; list the jobs to see those there are"));
}

absl::Status RequestReused(absl::string_view request_id) {
  return WithField(
      MakeError(absl::StatusCode::kAlreadyExists, "REQUEST_ID_REUSED",
                absl::StrCat("request_id \"", request_id,
                             "\" came before with another spec; choose a new one for a new job")),
      "request_id");
}

absl::Status RequestUnknown() {
  return MakeError(absl::StatusCode::kNotFound, "REQUEST_UNKNOWN", "no job was made by this request_id");
}

absl::Status JobExists(absl::string_view id) {
  return MakeError(absl::StatusCode::kAlreadyExists, "JOB_EXISTS",
                   absl::StrCat("the id ", id, " is taken; repeat the request"));
}

}  // namespace cowherd
