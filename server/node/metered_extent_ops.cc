#include "server/node/metered_extent_ops.h"

#include <chrono>

#include "server/base/failpoint.h"
#include "server/base/status.h"

namespace cowherd {

absl::StatusOr<std::vector<DedupeAnswer>> MeteredExtentOps::Dedupe(int source, uint64_t offset,
                                                                   uint64_t length,
                                                                   absl::Span<const DedupeTarget> targets) {
  RETURN_IF_ERROR(Failpoint("node.dedupe.before"));
  const auto begin = std::chrono::steady_clock::now();
  absl::StatusOr<std::vector<DedupeAnswer>> answers = ops_.Dedupe(source, offset, length, targets);
  Crashpoint("node.dedupe.after");
  metrics_.DedupeCall(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  if (!answers.ok()) {
    metrics_.DedupeError(ErrnoName(ErrnoOf(answers.status())));
    return answers;
  }
  for (const DedupeAnswer& answer : *answers) {
    if (answer.kind == DedupeAnswer::Kind::kError) metrics_.DedupeError(ErrnoName(answer.error));
  }
  return answers;
}

}  // namespace cowherd
