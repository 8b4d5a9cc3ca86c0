/*
 * Which shards and which keys take the load: a sample of the records that are put. A loop looks at
 * one of n records of its puts, at random distances, n such that there are a few hundred samples a
 * second at most, and keeps the last ones in a ring, and the heaviest keys in a table
 * (Space-Saving: a new key takes the place, and the count, of the lightest one, so no key's count
 * is too small, and by error at most too large). Counts of keys are halved every minute.
 *
 * Bounded: KS_HEAT_SAMPLES and KS_HEAT_KEYS a loop, whatever comes.
 *
 * Threads: ks_heat_put by the loop alone; the others any.
 */
#ifndef KS_DAEMON_HEAT_H
#define KS_DAEMON_HEAT_H

#include "base/bytes.h"
#include "base/md5.h"
#include "base/mutex.h"
#include "base/prng.h"
#include "base/status.h"
#include "base/u128.h"

#define KS_HEAT_SAMPLES 8192u
#define KS_HEAT_KEYS 512u
#define KS_HEAT_KEY_BYTES 64u /* a longer key is cut, but never taken for another */

struct ks_heat_sample {
    uint64_t stream_number;
    uint64_t mono_ms;
    uint64_t hash_top; /* the upper half of the hash key */
    uint64_t key_id;   /* of the key's MD5 */
    uint32_t shard_index;
    uint32_t weight; /* records that it stands for */
    uint32_t bytes;  /* of the record */
};

struct ks_heat_key {
    uint64_t stream_number;
    uint64_t key_id;
    uint64_t count; /* records, about; 0: a free place */
    uint64_t error; /* count may be so much too large */
    uint32_t shard_index;
    uint8_t key_bytes;
    bool is_cut;
    char key[KS_HEAT_KEY_BYTES];
};

/* Of one loop. */
struct ks_heat {
    struct ks_mutex mu;             /* KS_RANK_HEAT */
    struct ks_heat_sample *samples; /* [mu] a ring */
    struct ks_heat_key *keys;       /* [mu] */
    uint64_t sample_count;          /* [mu] ever */
    uint64_t halved_mono_ms;        /* [mu] */
    struct ks_prng prng;            /* [loop] */
    uint32_t interval;              /* [loop] of so many records one is looked at */
    uint32_t skip;                  /* [loop] records before the next one */
    uint32_t window_samples;        /* [loop] */
    uint64_t window_mono_ms;        /* [loop] */
};

/* Errors: KS_NO_MEMORY. */
enum ks_status ks_heat_create(
    unsigned count, struct ks_heat **out_heats, struct ks_error *err) KS_MUST_USE;
void ks_heat_destroy(struct ks_heat *heats, unsigned count); /* NULL is fine */

/* Records that were taken by a shard: validated, as they are stored. */
struct ks_heat_put {
    uint64_t stream_number;
    uint32_t shard_index;
    uint32_t record_count;
    struct ks_view records;
};
void ks_heat_put(
    struct ks_heat *heat, struct ks_md5 *md5, const struct ks_heat_put *put, uint64_t mono_ms);

#endif
