#include "daemon/datadir.h"
#include "tests/unit/daemon/temp.h"

#include <errno.h>
#include <limits.h>
#include <sys/syscall.h>

/* ---- fsync as the directory's code calls it ---- */

static char synced[32][PATH_MAX];
static size_t synced_count;
static const char *must_fail; /* the path whose sync fails */

int fsync(int fd)
{
    char link[64];
    char *path = synced[synced_count];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_MAX - 1);
    ck_assert_int_gt(n, 0);
    path[n] = '\0';
    ck_assert_uint_lt(++synced_count, KS_COUNT_OF(synced));
    if (must_fail && strcmp(path, must_fail) == 0) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}

static bool was_synced(const char *path)
{
    for (size_t i = 0; i < synced_count; i++)
        if (strcmp(synced[i], path) == 0)
            return true;
    return false;
}

/* ---- tests ---- */

static char root[64];
static char deep[3][128]; /* root/a, root/a/b, root/a/b/c */
static struct ks_datadir dir;

static void set_up(void)
{
    temp_make(root);
    snprintf(deep[0], sizeof(deep[0]), "%s/a", root);
    snprintf(deep[1], sizeof(deep[1]), "%s/a/b", root);
    snprintf(deep[2], sizeof(deep[2]), "%s/a/b/c", root);
    synced_count = 0;
    must_fail = NULL;
}

static enum ks_status open_it(const char *path, struct ks_error *err)
{
    const struct ks_datadir_options options = {
        .path = path, .is_unsafe_fs_allowed = true, .events = &ks_events_ignore};
    synced_count = 0;
    return ks_datadir_open(&options, &dir, err);
}

START_TEST(every_folder_that_is_made_is_made_durable)
{
    set_up();
    ck_assert_int_eq(open_it(deep[2], NULL), KS_OK);
    ck_assert(was_synced(root) && was_synced(deep[0]) && was_synced(deep[1]));
    ks_datadir_close(&dir);
    /* Once is enough. */
    ck_assert_int_eq(open_it(deep[2], NULL), KS_OK);
    ck_assert(!was_synced(root) && !was_synced(deep[0]) && !was_synced(deep[1]));
    ks_datadir_close(&dir);
    temp_remove(root);
}
END_TEST

/* Killed between mkdir and fsync, a broker leaves a folder that is there and not durable. */
START_TEST(a_first_start_syncs_for_the_one_before_it)
{
    set_up();
    ck_assert_int_eq(mkdir(deep[0], 0755), 0);
    ck_assert_int_eq(mkdir(deep[1], 0755), 0);
    ck_assert_int_eq(open_it(deep[1], NULL), KS_OK);
    ck_assert(was_synced(root) && was_synced(deep[0]));
    ks_datadir_close(&dir);
    temp_remove(root);
}
END_TEST

START_TEST(a_folder_that_cannot_be_made_durable_is_not_used)
{
    set_up();
    for (int i = 0; i < 2; i++) {
        struct ks_error error = KS_ERROR_INIT;
        must_fail = i == 0 ? root : deep[0];
        ck_assert_int_eq(open_it(deep[1], &error), KS_IO);
        ck_assert_ptr_nonnull(strstr(error.text, must_fail));
        temp_remove(deep[0]);
    }
    temp_remove(root);
}
END_TEST

START_TEST(the_directory_is_for_us_alone_however_it_is_written)
{
    char path[160];
    struct stat about;
    set_up();
    snprintf(path, sizeof(path), "%s//", deep[0]);
    ck_assert_int_eq(open_it(path, NULL), KS_OK);
    ck_assert_int_eq(stat(deep[0], &about), 0);
    ck_assert_uint_eq(about.st_mode & 0777, 0700);
    ks_datadir_close(&dir);
    temp_remove(root);
}
END_TEST

KS_SUITE("daemon/datadir")
{
    KS_TEST(every_folder_that_is_made_is_made_durable);
    KS_TEST(a_first_start_syncs_for_the_one_before_it);
    KS_TEST(a_folder_that_cannot_be_made_durable_is_not_used);
    KS_TEST(the_directory_is_for_us_alone_however_it_is_written);
}
