#ifndef COWHERD_SERVER_BASE_RANDOM_ID_H_
#define COWHERD_SERVER_BASE_RANDOM_ID_H_

#include <cstdint>
#include <string>

#include "absl/random/random.h"
#include "absl/strings/str_format.h"

namespace cowherd {

// 128 random bits in hexadecimal: no two are the same.
inline std::string RandomId() {
  absl::BitGen random;
  return absl::StrFormat("%016x%016x", absl::Uniform<uint64_t>(random), absl::Uniform<uint64_t>(random));
}

}  // namespace cowherd

#endif  // COWHERD_SERVER_BASE_RANDOM_ID_H_
