#ifndef COWHERD_SERVER_BASE_FD_H_
#define COWHERD_SERVER_BASE_FD_H_

#include <unistd.h>

#include <utility>

namespace cowherd {

// Owns a file descriptor; closes it when it goes. Movable, not copyable. Empty after a move.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      Close();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { Close(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  // Errors of close are of no use here: nothing is written through these descriptors.
  void Close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

  int fd_ = -1;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_BASE_FD_H_
