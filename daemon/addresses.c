#include "daemon/addresses.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void ks_addresses_text(const struct ks_addresses *addresses, char *text, size_t bytes)
{
    const struct {
        const char *name;
        const char *value;
    } lines[] = {
        {"native", addresses->native},
        {"http", addresses->http},
        {"unix", addresses->unix_path},
    };
    size_t at = 0;
    text[0] = '\0';
    for (size_t i = 0; i < KS_COUNT_OF(lines); i++) {
        if (!lines[i].value[0])
            continue;
        int n = snprintf(text + at, bytes - at, "%s=%s\n", lines[i].name, lines[i].value);
        KS_ASSERT(n > 0 && (size_t)n < bytes - at);
        at += (size_t)n;
    }
}

static bool path_in(char path[PATH_MAX], const char *data_dir, const char *name)
{
    int n = snprintf(path, PATH_MAX, "%s/%s", data_dir, name);
    return n > 0 && n < PATH_MAX;
}

enum ks_status ks_addresses_write(
    const char *data_dir, const struct ks_addresses *addresses, struct ks_error *err)
{
    char text[KS_ADDRESSES_TEXT_BYTES];
    char path[PATH_MAX];
    char fresh[PATH_MAX];
    ks_addresses_text(addresses, text, sizeof(text));
    if (!path_in(path, data_dir, "addresses") || !path_in(fresh, data_dir, "addresses.new"))
        return ks_fail(err, KS_IO, ENAMETOOLONG, "cannot write 'addresses'");
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return ks_fail(
            err, errno == ENOSPC ? KS_STORAGE_FULL : KS_IO, errno, "cannot write '%s'", fresh);
    ssize_t written = write(fd, text, strlen(text));
    int write_errno = errno;
    close(fd);
    if (written != (ssize_t)strlen(text)) {
        unlink(fresh);
        return ks_fail(err, write_errno == ENOSPC ? KS_STORAGE_FULL : KS_IO, write_errno,
            "cannot write '%s'", fresh);
    }
    if (rename(fresh, path) == 0)
        return KS_OK;
    int errnum = errno; /* xfs may want a block for the name */
    unlink(fresh);
    return ks_fail(
        err, errnum == ENOSPC ? KS_STORAGE_FULL : KS_IO, errnum, "cannot rename '%s'", fresh);
}

void ks_addresses_remove(const char *data_dir)
{
    char path[PATH_MAX];
    if (path_in(path, data_dir, "addresses"))
        unlink(path);
}
