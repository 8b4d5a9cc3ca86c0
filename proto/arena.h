/*
 * Memory of one request: protobuf-c unpacks into it, operations build answers in it, and one reset
 * drops it all. It has a ceiling, so that a message cannot blow up past what its frame was charged
 * for. Threads: one arena belongs to one thread at a time.
 */
#ifndef KS_PROTO_ARENA_H
#define KS_PROTO_ARENA_H

#include "base/bytes.h"

#include <protobuf-c/protobuf-c.h>

struct ks_arena_chunk;

struct ks_arena {
    ProtobufCAllocator allocator;  /* for <message>__unpack; its free does nothing */
    struct ks_arena_chunk *chunks; /* the newest first */
    size_t bytes_held;             /* of all chunks */
    size_t bytes_max;
    bool was_refused; /* an allocation, for memory or the ceiling, since init or reset */
};

/* Holds no memory until the first allocation. The arena must not move while in use. */
void ks_arena_init(struct ks_arena *arena, size_t bytes_max);
void ks_arena_fini(struct ks_arena *arena);
/* Forgets everything allocated; keeps one chunk of the smallest size for the next request. */
void ks_arena_reset(struct ks_arena *arena);
/* Aligned for any type, not zeroed. NULL: out of memory or over the ceiling. bytes may be 0. */
void *ks_arena_alloc(struct ks_arena *arena, size_t bytes) KS_MUST_USE;
void *ks_arena_zalloc(struct ks_arena *arena, size_t bytes) KS_MUST_USE;
char *ks_arena_strdup(struct ks_arena *arena, const char *text) KS_MUST_USE;
/* A zero-terminated copy. */
char *ks_arena_text(struct ks_arena *arena, struct ks_view text) KS_MUST_USE;

/* NULL: malformed, a required member is missing, out of memory or over the ceiling (was_refused
 * tells). Dropped by the arena's reset. */
ProtobufCMessage *ks_arena_unpack(struct ks_arena *arena,
    const ProtobufCMessageDescriptor *descriptor, struct ks_view packed) KS_MUST_USE;

#endif
