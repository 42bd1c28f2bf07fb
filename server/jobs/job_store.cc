#include "server/jobs/job_store.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

constexpr size_t kMaxRecordKind = 32;

}  // namespace

absl::Status CheckRecord(absl::string_view kind, absl::string_view name, absl::string_view value) {
  const bool plain =
      std::all_of(kind.begin(), kind.end(), [](char c) { return absl::ascii_islower(c) || c == '_'; });
  if (kind.empty() || kind.size() > kMaxRecordKind || !plain) {
    return FieldError("kind", absl::StrCat("must be 1 to ", kMaxRecordKind, " of a-z and _"));
  }
  if (name.empty() || name.size() > kMaxRecordName || name.find('\0') != absl::string_view::npos) {
    return FieldError("name", absl::StrCat("must have 1 to ", kMaxRecordName, " bytes, none of them NUL"));
  }
  if (value.size() > kMaxRecordBytes) {
    return FieldError("value",
                      absl::StrCat("has ", value.size(), " bytes; at most ", kMaxRecordBytes, " fit"));
  }
  return absl::OkStatus();
}

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

absl::Status StoreIncomplete() {
  return MakeError(absl::StatusCode::kFailedPrecondition, "STORE_INCOMPLETE",
                   "a restore into the store has not come to its end; restore into a new file or prefix, and "
                   "delete this one");
}

absl::Status StoreCorrupt(absl::string_view what) {
  return MakeError(
      absl::StatusCode::kDataLoss, "STORE_CORRUPT",
      absl::StrCat("the store is damaged (", what, "); put back a copy of it, or start with a new one"));
}

}  // namespace cowherd
