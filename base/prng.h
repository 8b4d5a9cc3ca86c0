/* Repeatable random numbers from a seed (for the simulation and jitter) and true ones from the
 * kernel (for ids). */
#ifndef KS_BASE_PRNG_H
#define KS_BASE_PRNG_H

#include "base/status.h"

struct ks_prng {
    uint64_t state[4]; /* xoshiro256**, seeded through splitmix64 (Blackman and Vigna, 2018) */
};

void ks_prng_seed(struct ks_prng *prng, uint64_t seed);
uint64_t ks_prng_u64(struct ks_prng *prng);
uint64_t ks_prng_below(struct ks_prng *prng, uint64_t bound); /* 0..bound-1; bound > 0 */
bool ks_prng_chance(struct ks_prng *prng, uint64_t numerator, uint64_t denominator);

/* Bytes from getrandom(2). Errors: KS_INTERNAL. */
enum ks_status ks_random_bytes(void *to, size_t bytes, struct ks_error *err) KS_MUST_USE;

#endif
