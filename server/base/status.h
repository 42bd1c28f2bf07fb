#ifndef COWHERD_SERVER_BASE_STATUS_H_
#define COWHERD_SERVER_BASE_STATUS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

// Errors are absl::Status. What a program needs to know beyond the code travels in payloads: a reason, the
// request's field at fault, and the kernel's errno. grpc_status.h carries all three over the wire.
namespace cowherd {

// An error with a stable UPPER_SNAKE_CASE reason. `message` is one sentence for people.
absl::Status MakeError(absl::StatusCode code, absl::string_view reason, absl::string_view message);

// INVALID_ARGUMENT, reason "INVALID_ARGUMENT", of one field ("destinations[3].offset").
absl::Status FieldError(absl::string_view field, absl::string_view message);

// The kernel refused: code by the table in status.cc, reason and message from errno. `doing` says what was
// tried: "open /a/b". `error` must not be 0.
absl::Status ErrnoError(int error, absl::string_view doing);

// The same status, said to be about `field`. OK stays OK; a field already set gets `field` and a dot before
// it.
absl::Status WithField(absl::Status status, absl::string_view field);

// 0, "" where there is none.
int ErrnoOf(const absl::Status& status);
std::string ReasonOf(const absl::Status& status);
std::string FieldOf(const absl::Status& status);

// UNAVAILABLE "NOT_LEADER": this controller does not lead; the one at `leader` does. Empty: not known.
absl::Status NotLeader(absl::string_view leader);
// The same status, naming the leader; OK and "" change nothing.
absl::Status WithLeader(absl::Status status, absl::string_view leader);
// "" where there is none.
std::string LeaderOf(const absl::Status& status);

// Puts the three payloads on a status; empty and 0 are left out. Prefer the makers above.
absl::Status WithDetail(absl::Status status, absl::string_view reason, absl::string_view field, int error);

// "EXDEV"; "E<number>" for one that Linux has no name for; "" for 0.
std::string ErrnoName(int error);

// What the errno means for a dedupe and what to do, in one sentence.
std::string ErrnoSentence(int error);

}  // namespace cowherd

#define COWHERD_STATUS_CONCAT_(a, b) a##b
#define COWHERD_STATUS_NAME_(a, b) COWHERD_STATUS_CONCAT_(a, b)

#define RETURN_IF_ERROR(expr)                                       \
  do {                                                              \
    if (absl::Status status_macro_ = (expr); !status_macro_.ok()) { \
      return status_macro_;                                         \
    }                                                               \
  } while (false)

#define ASSIGN_OR_RETURN(lhs, expr) \
  ASSIGN_OR_RETURN_(COWHERD_STATUS_NAME_(statusor_macro_, __LINE__), lhs, expr)
#define ASSIGN_OR_RETURN_(tmp, lhs, expr) \
  auto tmp = (expr);                      \
  if (!tmp.ok()) return tmp.status();     \
  lhs = std::move(tmp).value()

#endif  // COWHERD_SERVER_BASE_STATUS_H_
