#include "client/commands/scan_flags.h"

#include "client/size.h"
#include "server/base/status.h"

namespace cowherd {

void AddScanFlags(CLI::App& command, ScanFlags& flags) {
  command
      .add_option(
          "--include", flags.include,
          "Only files that match this glob; * also matches /, and a glob without / is matched with the "
          "name alone. May be repeated")
      ->allow_extra_args(false)
      ->type_name("GLOB");
  command
      .add_option("--exclude", flags.exclude, "Leave out what matches; wins over --include. May be repeated")
      ->allow_extra_args(false)
      ->type_name("GLOB");
  command
      .add_option("--min_extent_length", flags.min_extent_length,
                  "Leave shorter equal runs alone (default 16k)")
      ->type_name("SIZE");
  command
      .add_option("--min_freed_per_moved", flags.min_freed_per_moved,
                  "btrfs frees an extent only as a whole, so the few unique blocks in it are copied "
                  "elsewhere: only where N bytes are given up for each byte copied (default 4; 1: wherever "
                  "anything is won)")
      ->check(CLI::Range(1U, UINT32_MAX))
      ->type_name("N");
  command
      .add_option("--max_extents_per_file", flags.max_extents_per_file,
                  "Never split a file into more extents than this; what would is left alone (default 65536)")
      ->check(CLI::Range(1U, UINT32_MAX))
      ->type_name("N");
  command.add_option("--min_file_size", flags.min_file_size, "Skip smaller files (default 4k)")
      ->type_name("SIZE");
  command
      .add_option("--bytes_per_second", flags.bytes_per_second,
                  "Read and compare no faster than this, each task, cached data included (default: no limit)")
      ->type_name("SIZE");
  command.add_option("--workers", flags.workers, "Threads that share side by side, 1 to 64 (default 2)")
      ->check(CLI::Range(1, 64))
      ->type_name("N");
}

absl::StatusOr<v1::ScanOptions> MakeScanOptions(const ScanFlags& flags) {
  v1::ScanOptions options;
  for (const std::string& glob : flags.include) options.add_include(glob);
  for (const std::string& glob : flags.exclude) options.add_exclude(glob);
  if (!flags.min_extent_length.empty()) {
    ASSIGN_OR_RETURN(const uint64_t bytes, ParseSize("--min_extent_length", flags.min_extent_length));
    options.set_min_extent_length(bytes);
  }
  if (!flags.min_file_size.empty()) {
    ASSIGN_OR_RETURN(const uint64_t bytes, ParseSize("--min_file_size", flags.min_file_size));
    options.set_min_file_size(bytes);
  }
  if (!flags.bytes_per_second.empty()) {
    ASSIGN_OR_RETURN(const uint64_t bytes, ParseSize("--bytes_per_second", flags.bytes_per_second));
    options.set_bytes_per_second(bytes);
  }
  options.set_workers(flags.workers);
  options.set_min_freed_per_moved(flags.min_freed_per_moved);
  options.set_max_extents_per_file(flags.max_extents_per_file);
  return options;
}

}  // namespace cowherd
