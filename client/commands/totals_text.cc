#include "client/commands/totals_text.h"

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
  if (shares) {
    PrintLine(out, "accepted",
              absl::StrCat(FormatSize(totals.bytes_accepted()), " of ", FormatSize(totals.bytes_requested()),
                           " requested"));
    PrintLine(out, "ranges",
              absl::StrCat(totals.ranges_deduped(), " deduped, ", totals.ranges_differ(), " differ, ",
                           totals.ranges_failed(), " failed"));
    PrintLine(out, "space won", FormatSignedSize(totals.bytes_won()));
  }
  PrintLine(
      out, "time",
      FormatSpan(absl::Seconds(totals.elapsed().seconds()) + absl::Nanoseconds(totals.elapsed().nanos())));
}

}  // namespace cowherd
