#include "client/commands/dedupe_text.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/commands/error_text.h"
#include "client/format.h"

namespace cowherd {
namespace {

std::string Note(const v1::DestinationResult& result) {
  if (result.has_error()) return ErrorLine(result.error());
  if (result.outcome() == v1::DATA_DIFFERS) {
    return absl::StrCat("bytes differ in the comparison that starts ", result.bytes_accepted(),
                        " bytes into the range");
  }
  return "";
}

}  // namespace

bool AllDeduped(const v1::DedupeRangesResponse& response) {
  return std::all_of(response.results().begin(), response.results().end(),
                     [](const v1::DestinationResult& result) { return result.outcome() == v1::DEDUPED; });
}

void PrintDedupe(std::ostream& out, const v1::DedupeRangesResponse& response, bool measured) {
  std::vector<Table::Column> columns = {{"DESTINATION"}, {"OFFSET", true}, {"OUTCOME"}, {"ACCEPTED", true}};
  if (measured) columns.push_back({"SHARED", true});
  columns.push_back({"NOTE"});
  Table table(std::move(columns));
  int deduped = 0;
  for (const v1::DestinationResult& result : response.results()) {
    if (result.outcome() == v1::DEDUPED) ++deduped;
    std::vector<std::string> cells = {
        EscapeName(result.destination().path()), absl::StrCat(result.destination().offset()),
        v1::DedupeOutcome_Name(result.outcome()), FormatSize(result.bytes_accepted())};
    if (measured) cells.push_back(FormatSize(result.bytes_shared()));
    cells.push_back(Note(result));
    table.Add(std::move(cells));
  }
  table.Flush(out);
  out << deduped << " of " << response.results_size()
      << " destinations deduped: " << FormatSize(response.bytes_accepted()) << " of "
      << FormatSize(response.bytes_requested()) << " accepted";
  if (measured) out << ", " << FormatSize(response.bytes_shared()) << " on shared storage";
  out << '\n';
}

void PrintNextSteps(std::ostream& err, const v1::DedupeRangesResponse& response) {
  std::set<std::string> seen;
  for (const v1::DestinationResult& result : response.results()) {
    if (!result.has_error()) continue;
    std::string reason = result.error().reason();
    std::string next = NextStep(reason);
    if (next.empty()) {
      reason = result.error().errno_name();
      next = NextStep(reason);
    }
    if (!next.empty() && seen.insert(reason).second) {
      err << EscapeName(reason) << ": next: " << next << '\n';
    }
  }
}

}  // namespace cowherd
