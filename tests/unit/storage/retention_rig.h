/* What the tests of retention share: one world, a clock that runs by days, a look at where reading
 * begins. */
#ifndef KS_TESTS_UNIT_STORAGE_RETENTION_RIG_H
#define KS_TESTS_UNIT_STORAGE_RETENTION_RIG_H

#include "storage/retention.h"
#include "tests/unit/storage/store_world.h"

#define HOUR_MS 3600000u
#define DAY_MS (24 * HOUR_MS)
#define MINUTE_MS 60000u

extern struct world world;

/* Small segments, and a stream "orders" of two shards. */
void setup(void);
void advance(uint64_t ms);
/* One batch of a record, durable. */
void put(struct ks_log *log, uint32_t bytes);
/* A record a minute, count of them, all in segments. */
void put_minutely(struct ks_log *log, uint32_t count, uint32_t bytes);
/* Four seconds of the compactor's work, which is limited per second. */
void compact(void);
/* The first record that a reader from the start is given; 0: none. */
uint64_t first_read(struct ks_log *log);
uint64_t first_bound(struct ks_log *log);
uint64_t time_of_zero(struct ks_log *log); /* the first record of any time */
uint64_t counter(enum ks_counter which);
void fail_next_commit(void); /* no room */

#endif
