#include "daemon/config.h"
#include "daemon/timekeeper.h"
#include "tests/unit/daemon/temp.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define BOOT_A "00000000000000000000000000000001"
#define BOOT_B "17b898fa-83af-4243-8459-c8270de177a3"

static char folder[64];
static struct ks_timekeeper keeper;
static unsigned held_events;

static void count_held(
    const struct ks_events *events, enum ks_level level, const char *name, const char *fields)
{
    (void)events, (void)level, (void)fields;
    held_events += strcmp(name, "clock.retention_held") == 0;
}

static const struct ks_events counting = {.emit = count_held};
static struct ks_config config = {
    .clock_adopt_after = 600000, .clock_hold_gap = 7 * 86400000ull, .clock_hold_time = 3600000};

static void begin(const char *boot_id, bool is_new)
{
    struct ks_error error = KS_ERROR_INIT;
    const struct ks_timekeeper_options options = {.data_dir = folder,
        .is_new_directory = is_new,
        .boot_id = boot_id,
        .config = &config,
        .events = &counting};
    held_events = 0;
    ck_assert_msg(ks_timekeeper_open(&options, &keeper, &error) == KS_OK, "%s", error.text);
}

/* Writes the bytes at offset of DIR/clock. */
static void scribble(off_t offset, const void *bytes, size_t count)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/clock", folder);
    int fd = open(path, O_WRONLY);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, bytes, count, offset), (ssize_t)count);
    close(fd);
}

START_TEST(new_directory_is_trusted_and_a_used_one_without_its_file_is_not)
{
    temp_make(folder);
    begin(BOOT_A, true);
    ck_assert_uint_eq(held_events, 0);
    ks_timekeeper_close(&keeper);
    begin(BOOT_A, false);
    ck_assert_uint_eq(held_events, 0);
    uint64_t wall = ks_clock_unix_ms(&ks_clock_system);
    ck_assert_uint_le(ks_clock_unix_ms(&keeper.clock.clock), wall + 60000);
    ck_assert_uint_ge(ks_clock_unix_ms(&keeper.clock.clock) + 60000, wall);
    ks_timekeeper_close(&keeper);
    char path[128];
    snprintf(path, sizeof(path), "%s/clock", folder);
    ck_assert_int_eq(unlink(path), 0);
    begin(BOOT_A, false);
    struct ks_broker_clock_status status;
    ks_broker_clock_status(&keeper.clock, &status);
    ck_assert_uint_eq(held_events, 1);
    if (!ks_clock_source_system.is_synchronised(&ks_clock_source_system))
        ck_assert_int_eq(status.hold, KS_CLOCK_LAST_TIME_LOST);
    ks_timekeeper_close(&keeper);
    temp_remove(folder);
}
END_TEST

START_TEST(a_torn_slot_costs_what_it_held_and_no_more)
{
    uint8_t zeros[64] = {0};
    temp_make(folder);
    begin(BOOT_A, true);
    uint64_t newest = keeper.generation;
    ks_timekeeper_close(&keeper);
    ck_assert_uint_eq(keeper.generation, newest + 1);
    scribble((off_t)(keeper.generation % 2) * 4096, zeros, 8);
    begin(BOOT_A, false);
    ck_assert_uint_eq(held_events, 0);
    /* The older slot counted, so its number goes on. */
    ck_assert_uint_eq(keeper.generation, newest + 1);
    ks_timekeeper_close(&keeper);
    scribble(0, zeros, 64);
    scribble(4096, zeros, 64);
    begin(BOOT_A, false);
    ck_assert_uint_eq(keeper.generation, 1);
    ks_timekeeper_close(&keeper);
    temp_remove(folder);
}
END_TEST

START_TEST(flipped_bits_are_noticed)
{
    temp_make(folder);
    for (off_t i = 0; i < 64; i++) {
        begin(BOOT_A, true);
        ks_timekeeper_close(&keeper);
        uint64_t newest = keeper.generation;
        char path[128];
        uint8_t byte;
        snprintf(path, sizeof(path), "%s/clock", folder);
        int fd = open(path, O_RDONLY);
        off_t at = (off_t)(newest % 2) * 4096 + i;
        ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
        close(fd);
        byte ^= 0x40;
        scribble(at, &byte, 1);
        begin(BOOT_A, false);
        ck_assert_msg(keeper.generation == newest, "byte %d was believed", (int)i);
        ks_timekeeper_close(&keeper);
    }
    temp_remove(folder);
}
END_TEST

START_TEST(names_of_boots_are_read_with_and_without_dashes)
{
    static const uint8_t expected[] = {0x17, 0xb8, 0x98, 0xfa, 0x83, 0xaf, 0x42, 0x43, 0x84, 0x59,
        0xc8, 0x27, 0x0d, 0xe1, 0x77, 0xa3};
    temp_make(folder);
    begin(BOOT_B, true);
    ck_assert_mem_eq(keeper.clock.boot_id, expected, sizeof(expected));
    ks_timekeeper_close(&keeper);
    begin("17b898fa83af42438459c8270de177a3", true);
    ck_assert_mem_eq(keeper.clock.boot_id, expected, sizeof(expected));
    ks_timekeeper_close(&keeper);
    /* Not a name: the kernel is asked, which has another one. */
    begin("17b898fa83af42438459c8270de177a3aa", true);
    ck_assert_mem_ne(keeper.clock.boot_id, expected, sizeof(expected));
    ks_timekeeper_close(&keeper);
    temp_remove(folder);
}
END_TEST

START_TEST(directory_that_cannot_be_written_is_an_error)
{
    struct ks_error error = KS_ERROR_INIT;
    const struct ks_timekeeper_options options = {
        .data_dir = "/nonexistent", .config = &config, .events = &counting};
    ck_assert_int_eq(ks_timekeeper_open(&options, &keeper, &error), KS_IO);
    ck_assert_int_eq(error.errnum, ENOENT);
    memset(&keeper, 0, sizeof(keeper));
    ks_timekeeper_close(&keeper);
}
END_TEST

KS_SUITE("daemon/timekeeper")
{
    KS_TEST(new_directory_is_trusted_and_a_used_one_without_its_file_is_not);
    KS_TEST(a_torn_slot_costs_what_it_held_and_no_more);
    KS_TEST(flipped_bits_are_noticed);
    KS_TEST(names_of_boots_are_read_with_and_without_dashes);
    KS_TEST(directory_that_cannot_be_written_is_an_error);
}
