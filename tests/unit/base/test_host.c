#include "base/host.h"
#include "tests/unit/ks_check.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The longest mount point that holds the directory is its mount; of two at one place the later. */
START_TEST(the_mount_of_a_directory)
{
    static const char *const lines[] = {
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro\n",
        "40 22 8:2 / /data\\040one rw,noatime shared:7 master:2 - xfs /dev/sda2 rw,nobarrier\n",
        "41 22 8:3 / /data rw - tmpfs none rw\n",
        "42 22 8:3 / /dat rw - btrfs none rw\n",
    };
    struct ks_host_facts facts;
    memset(&facts, 0, sizeof facts);
    for (size_t i = 0; i < 4; i++)
        ks_host_mount_line(lines[i], "/data one/kstream", &facts);
    ck_assert_str_eq(facts.fs_type, "xfs");
    ck_assert_str_eq(facts.mount_point, "/data one");
    ck_assert_str_eq(facts.mount_source, "/dev/sda2");
    ck_assert_str_eq(facts.mount_options, "rw,noatime,rw,nobarrier");
    memset(&facts, 0, sizeof facts);
    ck_assert(ks_host_mount_line(lines[0], "/elsewhere", &facts));
    ck_assert(ks_host_mount_line("43 22 8:9 / / rw - xfs /dev/b rw\n", "/elsewhere", &facts));
    ck_assert_str_eq(facts.fs_type, "xfs");
}
END_TEST

START_TEST(malformed_mount_lines_are_passed_over)
{
    static const char *const lines[] = {"", "\n", "22 1 8:1 / / rw\n", "22 1 8:1 / / rw - ext4\n",
        "22 1 8:1 / / rw - ext4 /dev/sda1\n", "- - - - - - -\n"};
    struct ks_host_facts facts;
    memset(&facts, 0, sizeof facts);
    for (size_t i = 0; i < 6; i++)
        ck_assert(!ks_host_mount_line(lines[i], "/", &facts));
    ck_assert_str_eq(facts.fs_type, "");
}
END_TEST

START_TEST(a_look_leaves_nothing_behind)
{
    char directory[] = "/var/tmp/kstream-host-XXXXXX";
    struct ks_host_facts facts;
    ck_assert_ptr_nonnull(mkdtemp(directory));
    ks_host_look(directory, true, &facts);
    ck_assert(facts.is_directory && facts.is_writable);
    ck_assert_uint_eq(facts.mode, 0700);
    ck_assert_uint_eq(facts.owner, geteuid());
    ck_assert_uint_gt(facts.total_bytes, 0);
    ck_assert(facts.sync.is_tried);
    ck_assert_int_eq(facts.sync.errnum, 0);
    ck_assert_int_eq(rmdir(directory), 0); /* it is empty */
    ks_host_look(directory, true, &facts);
    ck_assert(!facts.is_directory && !facts.sync.is_tried);
}
END_TEST

static char crowded[] = "/var/tmp/kstream-host-XXXXXX";

static void *look_again_and_again(void *arg)
{
    struct ks_host_facts facts;
    int *failed = arg;
    for (int i = 0; i < 20; i++) {
        ks_host_look(crowded, true, &facts);
        if (facts.sync.errnum)
            *failed = facts.sync.errnum;
    }
    return NULL;
}

START_TEST(many_look_at_once)
{
    pthread_t threads[4];
    int failed[4] = {0};
    ck_assert_ptr_nonnull(mkdtemp(crowded));
    for (size_t i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, look_again_and_again, &failed[i]), 0);
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_int_eq(failed[i], 0);
    }
    ck_assert_int_eq(rmdir(crowded), 0);
}
END_TEST

KS_SUITE("base/host")
{
    KS_TEST(the_mount_of_a_directory);
    KS_TEST(malformed_mount_lines_are_passed_over);
    KS_TEST(many_look_at_once);
    KS_TEST(a_look_leaves_nothing_behind);
}
