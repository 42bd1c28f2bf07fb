#ifndef COWHERD_CLIENT_COMMANDS_DEDUPE_TEXT_H_
#define COWHERD_CLIENT_COMMANDS_DEDUPE_TEXT_H_

#include <ostream>

#include "cowherd/v1/types.pb.h"

namespace cowherd {

// A table of the destinations and a line with the sums. `measured`: bytes_shared was asked for.
void PrintDedupe(std::ostream& out, const v1::DedupeRangesResponse& response, bool measured);

// What to do about the errors in it: a line for each reason, once.
void PrintNextSteps(std::ostream& err, const v1::DedupeRangesResponse& response);

// Every destination is DEDUPED.
bool AllDeduped(const v1::DedupeRangesResponse& response);

}  // namespace cowherd

#endif  // COWHERD_CLIENT_COMMANDS_DEDUPE_TEXT_H_
