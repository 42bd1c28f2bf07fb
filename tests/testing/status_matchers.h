#ifndef COWHERD_TESTS_TESTING_STATUS_MATCHERS_H_
#define COWHERD_TESTS_TESTING_STATUS_MATCHERS_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/status.h"

// Matchers for absl::Status and absl::StatusOr alike.
namespace cowherd::testing {

inline absl::Status GetStatus(const absl::Status& status) { return status; }
template <typename T>
absl::Status GetStatus(const absl::StatusOr<T>& result) {
  return result.status();
}

MATCHER(IsOk, negation ? "is an error" : "is OK") {
  *result_listener << GetStatus(arg);
  return arg.ok();
}

MATCHER_P(StatusIs, code, "has the code " + absl::StatusCodeToString(code)) {
  *result_listener << GetStatus(arg);
  return GetStatus(arg).code() == code;
}

MATCHER_P(HasReason, reason, std::string("has the reason ") + reason) {
  *result_listener << GetStatus(arg) << ", reason \"" << ReasonOf(GetStatus(arg)) << "\"";
  return ReasonOf(GetStatus(arg)) == reason;
}

MATCHER_P(HasField, field, std::string("is about the field ") + field) {
  *result_listener << GetStatus(arg) << ", field \"" << FieldOf(GetStatus(arg)) << "\"";
  return FieldOf(GetStatus(arg)) == field;
}

MATCHER_P(HasErrno, error, "has the errno " + ErrnoName(error)) {
  *result_listener << GetStatus(arg) << ", errno " << ErrnoOf(GetStatus(arg));
  return ErrnoOf(GetStatus(arg)) == error;
}

}  // namespace cowherd::testing

#endif  // COWHERD_TESTS_TESTING_STATUS_MATCHERS_H_
