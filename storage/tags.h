/*
 * The tags of a stream: a set that never changes, sorted by key, counted, so that all snapshots of
 * the stream share one. A change makes another set.
 *
 * Threads: any.
 */
#ifndef KS_STORAGE_TAGS_H
#define KS_STORAGE_TAGS_H

#include "base/defs.h"
#include "base/status.h"
#include "proto/limits.h"

#include <stdatomic.h>

/* Zero-terminated UTF-8. */
struct ks_tag {
    const char *key;
    const char *value;
};

/* NULL is the empty set. */
struct ks_tags {
    _Atomic uint32_t refs;
    uint32_t count;
    struct ks_tag
        items[]; /* ascending by bytes of the key; the texts are part of the set's memory */
};

struct ks_tags *ks_tags_ref(struct ks_tags *tags); /* NULL is fine */
void ks_tags_unref(struct ks_tags *tags);          /* NULL is fine */
KS_DEFINE_CLEANUP(struct ks_tags, ks_tags_unref)

/*
 * The set of from with more in it; a key that is there gets its new value, and of a key given twice
 * the last value counts. The caller owns *out. Errors: KS_LIMIT over KS_TAGS_PER_STREAM_MAX;
 * KS_NO_MEMORY.
 */
enum ks_status ks_tags_with(const struct ks_tags *from, const struct ks_tag *more, uint32_t count,
    struct ks_tags **out, struct ks_error *err) KS_MUST_USE;
/* Without some keys, which need not be there; values of without are not looked at. Errors:
 * KS_NO_MEMORY. */
enum ks_status ks_tags_without(const struct ks_tags *from, const struct ks_tag *without,
    uint32_t count, struct ks_tags **out, struct ks_error *err) KS_MUST_USE;

#endif
