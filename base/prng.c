#include "base/prng.h"

#include <errno.h>
#include <sys/random.h>

static uint64_t rotate_left(uint64_t value, unsigned bits)
{
    return value << bits | value >> (64 - bits);
}

/* Blackman and Vigna advise splitmix64 to spread a seed over the state: it never yields four zeros
 * in a row. */
static uint64_t splitmix64(uint64_t *state)
{
    uint64_t mixed = *state += 0x9e3779b97f4a7c15;
    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111eb;
    return mixed ^ mixed >> 31;
}

void ks_prng_seed(struct ks_prng *prng, uint64_t seed)
{
    for (size_t i = 0; i < KS_COUNT_OF(prng->state); i++)
        prng->state[i] = splitmix64(&seed);
}

uint64_t ks_prng_u64(struct ks_prng *prng)
{
    uint64_t *state = prng->state;
    uint64_t result = rotate_left(state[1] * 5, 7) * 9;
    uint64_t shifted = state[1] << 17;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= shifted;
    state[3] = rotate_left(state[3], 45);
    return result;
}

uint64_t ks_prng_below(struct ks_prng *prng, uint64_t bound)
{
    KS_ASSERT(bound > 0);
    /* The lowest 2^64 mod bound values would make small results likelier: draw again. */
    uint64_t unfair = (0 - bound) % bound;
    uint64_t value;
    do {
        value = ks_prng_u64(prng);
    } while (value < unfair);
    return value % bound;
}

bool ks_prng_chance(struct ks_prng *prng, uint64_t numerator, uint64_t denominator)
{
    return ks_prng_below(prng, denominator) < numerator;
}

enum ks_status ks_random_bytes(void *to, size_t bytes, struct ks_error *err)
{
    uint8_t *next = to;
    while (bytes > 0) {
        ssize_t got = getrandom(next, bytes, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return ks_fail(err, KS_INTERNAL, errno, "cannot get random bytes from the kernel");
        next += got;
        bytes -= (size_t)got;
    }
    return KS_OK;
}
