#include "tests/unit/storage/temp_dir.h"

#include <check.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char dir[256];
static pid_t owner;

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    remove(path);
    return 0;
}

static void remove_all(void)
{
    if (dir[0] && getpid() == owner) /* a child the test forked leaves it alone */
        nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

void temp_dir_renew(void)
{
    if (dir[0])
        remove_all();
    dir[0] = '\0';
}

const char *temp_dir(void)
{
    if (dir[0] && getpid() == owner)
        return dir;
    static bool is_cleaning;
    const char *parent = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/ks-storage-XXXXXX", parent ? parent : "/var/tmp");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    owner = getpid();
    if (!is_cleaning)
        atexit(remove_all);
    is_cleaning = true;
    return dir;
}

const char *temp_path(const char *name)
{
    static char paths[8][512];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", temp_dir(), name);
    return path;
}
