/*
 * MD5 of partition keys, many at a time: 16, 8 or 4 short keys side by side, as the processor
 * allows; keys over 55 bytes one by one through OpenSSL. Threads: one hasher belongs to one thread.
 */
#ifndef KS_BASE_MD5_H
#define KS_BASE_MD5_H

#include "base/bytes.h"
#include "base/status.h"
#include "base/u128.h"

struct ks_md5;

/* Errors: KS_INTERNAL when OpenSSL has no MD5 (it asks with fips=no), KS_NO_MEMORY. */
enum ks_status ks_md5_create(struct ks_md5 **out_md5, struct ks_error *err) KS_MUST_USE;
void ks_md5_destroy(struct ks_md5 *md5);
KS_DEFINE_CLEANUP(struct ks_md5, ks_md5_destroy)
/* out_hashes[i] = MD5(keys[i]) as a 128-bit big-endian number (the Kinesis hash key). Errors:
 * KS_INTERNAL. */
enum ks_status ks_md5_many(
    struct ks_md5 *md5, const struct ks_view *keys, size_t count, ks_u128 *out_hashes) KS_MUST_USE;

/* Tests only: that many keys side by side from now on. False: this processor cannot. */
bool ks_md5_use_lanes(struct ks_md5 *md5, unsigned lanes) KS_MUST_USE;

#endif
