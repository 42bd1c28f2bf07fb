#ifndef COWHERD_CLIENT_COMMANDS_TOTALS_TEXT_H_
#define COWHERD_CLIENT_COMMANDS_TOTALS_TEXT_H_

#include <ostream>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "cowherd/v1/types.pb.h"

namespace cowherd {

// "name:          value" with the values in one column.
void PrintLine(std::ostream& out, absl::string_view name, absl::string_view value);

// What a scan or job has done, a line a subject. `shares`: it is no dry run.
void PrintTotals(std::ostream& out, const v1::TaskTotals& totals, bool shares);

// A table of groups, with their nodes if those are given (as many as groups). Nothing if there are none.
void PrintGroups(std::ostream& out, absl::Span<const v1::DuplicateGroup* const> groups,
                 absl::Span<const std::string> nodes = {});

}  // namespace cowherd

#endif  // COWHERD_CLIENT_COMMANDS_TOTALS_TEXT_H_
