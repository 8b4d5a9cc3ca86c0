#include "base/md5.h"

#include "base/alloc.h"

#include <openssl/evp.h>

#define MD5_A 0x67452301u
#define MD5_B 0xefcdab89u
#define MD5_C 0x98badcfeu
#define MD5_D 0x10325476u

#define MD5_LANES 4
#define MD5_NAME md5_of_4
#define MD5_TARGET
#include "base/md5_lanes.h"

#if defined(__x86_64__)
#define MD5_LANES 8
#define MD5_NAME md5_of_8
#define MD5_TARGET __attribute__((target("avx2")))
#include "base/md5_lanes.h"

#define MD5_LANES 16
#define MD5_NAME md5_of_16
#define MD5_TARGET __attribute__((target("avx512f")))
#include "base/md5_lanes.h"
#endif

#define LANES_MAX 16u
#define BLOCK_WORDS 16u
/* Longer ones take a second block: OpenSSL hashes them, one at a time. */
#define SHORT_KEY_BYTES_MAX 55u

struct ks_md5 {
    EVP_MD *method;      /* fetched once: an implicit fetch for each key costs more than the hash */
    EVP_MD_CTX *context; /* reused */
    void (*lanes_run)(const uint32_t *words, uint32_t *digests);
    unsigned lanes;
    unsigned filled; /* lanes that hold a key */
    ks_u128 *out[LANES_MAX];
    uint32_t words[BLOCK_WORDS * LANES_MAX]; /* zero but for the keys in it */
    uint32_t digests[4 * LANES_MAX];
};

bool ks_md5_use_lanes(struct ks_md5 *md5, unsigned lanes)
{
    KS_ASSERT(md5->filled == 0);
    if (lanes == 4)
        md5->lanes_run = md5_of_4;
#if defined(__x86_64__)
    else if (lanes == 8 && __builtin_cpu_supports("avx2"))
        md5->lanes_run = md5_of_8;
    else if (lanes == 16 && __builtin_cpu_supports("avx512f"))
        md5->lanes_run = md5_of_16;
#endif
    else
        return false;
    md5->lanes = lanes;
    return true;
}

enum ks_status ks_md5_create(struct ks_md5 **out_md5, struct ks_error *err)
{
    KS_CLEANUP(ks_md5_destroyp) struct ks_md5 *md5 = ks_zalloc(sizeof *md5);
    if (!md5)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot set up MD5");
    for (unsigned lanes = LANES_MAX; !md5->lanes_run; lanes /= 2)
        KS_IGNORE(ks_md5_use_lanes(md5, lanes), "4 lanes run everywhere");
    /* MD5 only places keys here, it protects nothing: a host in FIPS mode may still use it. */
    md5->method = EVP_MD_fetch(NULL, "MD5", "fips=no");
    if (!md5->method)
        return ks_fail(err, KS_INTERNAL, 0, "cannot set up MD5: OpenSSL does not offer it");
    md5->context = EVP_MD_CTX_new();
    if (!md5->context)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot set up MD5");
    *out_md5 = KS_TAKE(md5);
    return KS_OK;
}

void ks_md5_destroy(struct ks_md5 *md5)
{
    if (!md5)
        return;
    EVP_MD_CTX_free(md5->context);
    EVP_MD_free(md5->method);
    ks_free(md5);
}

static bool hash_one(struct ks_md5 *md5, struct ks_view key, ks_u128 *out)
{
    uint8_t digest[16];
    unsigned digest_bytes = 0;
    if (EVP_DigestInit_ex2(md5->context, md5->method, NULL) != 1 ||
        EVP_DigestUpdate(md5->context, key.data, key.bytes) != 1 ||
        EVP_DigestFinal_ex(md5->context, digest, &digest_bytes) != 1 ||
        digest_bytes != sizeof digest)
        return false;
    *out = ks_u128_load_be(digest);
    return true;
}

/* Key, the bit behind it, and its length in bits: one block of RFC 1321, as words of a lane. */
static void lane_fill(struct ks_md5 *md5, struct ks_view key)
{
    uint32_t *lane = md5->words + md5->filled;
    uint8_t last[4] = {0};
    size_t whole = key.bytes / 4;
    for (size_t i = 0; i < whole; i++)
        lane[i * md5->lanes] = ks_load_u32le(key.data + 4 * i);
    for (size_t i = 4 * whole; i < key.bytes; i++)
        last[i % 4] = key.data[i];
    last[key.bytes % 4] = 0x80;
    lane[whole * md5->lanes] = ks_load_u32le(last);
    lane[(size_t)14 * md5->lanes] = (uint32_t)key.bytes * 8;
}

static void lanes_flush(struct ks_md5 *md5)
{
    if (md5->filled == 0)
        return;
    const uint32_t *d = md5->digests;
    unsigned lanes = md5->lanes;
    md5->lanes_run(md5->words, md5->digests);
    for (unsigned i = 0; i < md5->filled; i++) {
        uint64_t high = (uint64_t)__builtin_bswap32(d[i]) << 32 | __builtin_bswap32(d[lanes + i]);
        uint64_t low = (uint64_t)__builtin_bswap32(d[2 * lanes + i]) << 32 |
                       __builtin_bswap32(d[3 * lanes + i]);
        *md5->out[i] = (ks_u128)high << 64 | low;
    }
    md5->filled = 0;
    memset(md5->words, 0, sizeof(uint32_t) * BLOCK_WORDS * lanes);
}

enum ks_status ks_md5_many(
    struct ks_md5 *md5, const struct ks_view *keys, size_t count, ks_u128 *out_hashes)
{
    enum ks_status st = KS_OK;
    for (size_t i = 0; i < count; i++) {
        if (keys[i].bytes > SHORT_KEY_BYTES_MAX) {
            if (!hash_one(md5, keys[i], &out_hashes[i]))
                st = KS_INTERNAL;
            continue;
        }
        lane_fill(md5, keys[i]);
        md5->out[md5->filled++] = &out_hashes[i];
        if (md5->filled == md5->lanes)
            lanes_flush(md5);
    }
    lanes_flush(md5);
    return st;
}
