/*
 * The system calls of io_posix.c whose rare answers (EINTR, short, "not supported", full) no test
 * can provoke on a healthy disk. Tests of this folder put their own in their place.
 */
#ifndef KS_STORAGE_IO_POSIX_PRIV_H
#define KS_STORAGE_IO_POSIX_PRIV_H

#include "base/defs.h"

#include <sys/types.h>
#include <sys/uio.h>

struct ks_posix_calls {
    int (*openat)(int dir_fd, const char *path, int flags, mode_t mode);
    ssize_t (*pwritev2)(int fd, const struct iovec *iov, int iov_count, off_t offset, int flags);
    ssize_t (*pread)(int fd, void *to, size_t bytes, off_t offset);
    int (*fdatasync)(int fd);
    int (*fallocate)(int fd, int mode, off_t offset, off_t bytes);
};

/* Process-wide, read at every call; changed only while no call is under way. */
extern struct ks_posix_calls ks_posix_calls;

#endif
