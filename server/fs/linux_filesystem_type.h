#ifndef COWHERD_SERVER_FS_LINUX_FILESYSTEM_TYPE_H_
#define COWHERD_SERVER_FS_LINUX_FILESYSTEM_TYPE_H_

#include <linux/magic.h>
#include <sys/statfs.h>

namespace cowherd {

// Whether the open file lies on this type of filesystem, one of linux/magic.h. False also if it cannot be
// told.
inline bool IsOn(int fd, decltype(statfs::f_type) type) {
  struct statfs fs;
  return ::fstatfs(fd, &fs) == 0 && fs.f_type == type;
}

}  // namespace cowherd

#endif  // COWHERD_SERVER_FS_LINUX_FILESYSTEM_TYPE_H_
