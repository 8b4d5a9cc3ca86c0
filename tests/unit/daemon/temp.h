/* A scratch directory per test, removed with what is in it. */
#ifndef KS_TESTS_UNIT_DAEMON_TEMP_H
#define KS_TESTS_UNIT_DAEMON_TEMP_H

#include "tests/unit/ks_check.h"

#include <ftw.h>
#include <stdio.h>
#include <unistd.h>

static inline KS_UNUSED void temp_make(char path[64])
{
    strcpy(path, "/tmp/kstream-unit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(path));
}

static inline int temp_remove_one(
    const char *path, const struct stat *stat, int type, struct FTW *walk)
{
    (void)stat, (void)type, (void)walk;
    return remove(path);
}

static inline KS_UNUSED void temp_remove(const char *path)
{
    nftw(path, temp_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline KS_UNUSED void temp_write(const char *folder, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

#endif
