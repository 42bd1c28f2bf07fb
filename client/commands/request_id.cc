#include "client/commands/request_id.h"

#include <cstdint>
#include <random>

#include "absl/strings/str_format.h"

namespace cowherd {

std::string RandomRequestId() {
  std::random_device random;
  const auto bits = [&random] { return uint64_t{random()} << 32 | random(); };
  const uint64_t high = (bits() & ~uint64_t{0xF000}) | 0x4000;
  const uint64_t low = (bits() >> 2) | (uint64_t{1} << 63);
  return absl::StrFormat("%08x-%04x-%04x-%04x-%012x", high >> 32, high >> 16 & 0xFFFF, high & 0xFFFF,
                         low >> 48, low & 0xFFFFFFFFFFFF);
}

}  // namespace cowherd
