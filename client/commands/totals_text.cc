#include "client/commands/totals_text.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "client/format.h"

namespace cowherd {

void PrintLine(std::ostream& out, absl::string_view name, absl::string_view value) {
  out << absl::StrFormat("%-13s%s\n", absl::StrCat(name, ":"), value);
}

void PrintTotals(std::ostream& out, const v1::TaskTotals& totals, bool shares) {
  PrintLine(out, "files",
            absl::StrCat(totals.files_scanned(), " scanned, ", totals.files_skipped(), " skipped, ",
                         totals.files_failed(), " failed"));
  PrintLine(
      out, "scanned",
      absl::StrCat(FormatSize(totals.bytes_scanned()), " of ", FormatSize(totals.bytes_found()), " found"));
  PrintLine(out, "duplicates",
            absl::StrCat(FormatSize(totals.duplicate_bytes()), " in ", totals.duplicate_ranges(), " ranges"));
  // A list of ranges has no plan.
  if (!shares || totals.bytes_freeable() + totals.bytes_read() > 0) {
    PrintLine(out, shares ? "planned" : "would free",
              absl::StrCat(FormatSize(totals.bytes_freeable()), shares ? " to go free; " : "; ",
                           FormatSize(totals.bytes_moved()), " to be moved, ",
                           FormatSize(totals.bytes_read()), " to be read"));
  }
  if (totals.bytes_held() + totals.bytes_unprofitable() > 0) {
    PrintLine(out, "left",
              absl::StrCat(FormatSize(totals.bytes_held()), " held by files outside the scan, ",
                           FormatSize(totals.bytes_unprofitable()), " that would not pay"));
  }
  if (shares) {
    PrintLine(out, "accepted",
              absl::StrCat(FormatSize(totals.bytes_accepted()), " of ", FormatSize(totals.bytes_requested()),
                           " requested"));
    PrintLine(out, "ranges",
              absl::StrCat(totals.ranges_deduped(), " deduped, ", totals.ranges_differ(), " differ, ",
                           totals.ranges_failed(), " failed"));
    PrintLine(out, "space won", FormatSignedSize(totals.bytes_won()));
  }
  if (totals.rate_wait_ns() + totals.pressure_wait_ns() >= 1'000'000'000) {
    PrintLine(out, "held back",
              absl::StrCat(FormatSpan(absl::Nanoseconds(totals.rate_wait_ns())), " by the rate, ",
                           FormatSpan(absl::Nanoseconds(totals.pressure_wait_ns())),
                           " by I/O pressure (all threads added up)"));
  }
  PrintLine(
      out, "time",
      FormatSpan(absl::Seconds(totals.elapsed().seconds()) + absl::Nanoseconds(totals.elapsed().nanos())));
}

void PrintGroups(std::ostream& out, absl::Span<const v1::DuplicateGroup* const> groups,
                 absl::Span<const std::string> nodes) {
  if (groups.empty()) return;
  std::vector<Table::Column> columns = {
      {"LARGEST GROUPS: FREES", true}, {"COPIES", true}, {"LENGTH", true}, {"OFFSET", true}, {"SOURCE"}};
  if (!nodes.empty()) columns.push_back({"NODE"});
  Table table(columns);
  for (size_t i = 0; i < groups.size(); ++i) {
    const v1::DuplicateGroup& group = *groups[i];
    std::vector<std::string> row = {FormatSize(group.bytes_freeable()), absl::StrCat(group.copies()),
                                    FormatSize(group.length()), absl::StrCat(group.source().offset()),
                                    EscapeName(group.source().path())};
    if (!nodes.empty()) row.push_back(EscapeName(nodes[i]));
    table.Add(std::move(row));
  }
  out << '\n';
  table.Flush(out);
}

}  // namespace cowherd
