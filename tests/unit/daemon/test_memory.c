#include "base/alloc.h"
#include "daemon/memory.h"
#include "tests/unit/ks_check.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

START_TEST(memory_goes_back_once_work_has_stopped)
{
    struct ks_memory memory = {.seen = 0};
    ck_assert(!ks_memory_tick(&memory, 0, false)); /* nothing was ever done */
    ck_assert(!ks_memory_tick(&memory, 10, false));
    ck_assert(!ks_memory_tick(&memory, 20, true));
    ck_assert(!ks_memory_tick(&memory, 20, true)); /* stopped, but not flushed */
    ck_assert(ks_memory_tick(&memory, 20, false));
    ck_assert(!ks_memory_tick(&memory, 20, false)); /* once */
    ck_assert(!ks_memory_tick(&memory, 21, false));
    ck_assert(ks_memory_tick(&memory, 21, false));
}
END_TEST

/* The start, or a copy of the catalog, leaves something too and counts as no work. */
START_TEST(an_idle_broker_gives_back_now_and_then)
{
    struct ks_memory memory = {.seen = 0};
    unsigned given_back = 0;
    for (unsigned tick = 0; tick < 120; tick++)
        given_back += ks_memory_tick(&memory, 0, false);
    ck_assert_uint_eq(given_back, 2);
    for (unsigned tick = 0; tick < 120; tick++)
        ck_assert(!ks_memory_tick(&memory, 0, true));
}
END_TEST

static size_t resident_bytes(void)
{
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%*u %llu", &pages), 1);
    fclose(file);
    return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* Freed pieces stay, and are given back by the tick. Sanitizers have an allocator of their own. */
START_TEST(freed_memory_stays_until_then)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return;
#endif
    enum { PIECES = 64, PIECE_BYTES = 512 << 10 };
    static void *pieces[PIECES];
    ks_memory_init();
    size_t before = resident_bytes();
    for (size_t i = 0; i < PIECES; i++) {
        pieces[i] = ks_malloc(PIECE_BYTES);
        memset(pieces[i], 1, PIECE_BYTES);
    }
    size_t used = resident_bytes();
    ck_assert_uint_ge(used, before + (size_t)PIECES * PIECE_BYTES / 2);
    for (size_t i = 0; i < PIECES; i++)
        ks_free(pieces[i]);
    ck_assert_uint_ge(resident_bytes(), used - (used - before) / 2);
    struct ks_memory memory = {.seen = 0};
    ck_assert(!ks_memory_tick(&memory, 1, false));
    ck_assert(ks_memory_tick(&memory, 1, false));
    ck_assert_uint_le(resident_bytes(), before + (used - before) / 4);
}
END_TEST

KS_SUITE("daemon/memory")
{
    KS_TEST(an_idle_broker_gives_back_now_and_then);
    KS_TEST(memory_goes_back_once_work_has_stopped);
    KS_TEST(freed_memory_stays_until_then);
}
