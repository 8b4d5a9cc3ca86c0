#include "proto/arena.h"

#include "base/alloc.h"
#include "proto/wire.h"

struct ks_arena_chunk {
    struct ks_arena_chunk *next;
    size_t capacity;
    size_t used;
    _Alignas(max_align_t) uint8_t bytes[];
};

#define CHUNK_BYTES_MIN (4096 - sizeof(struct ks_arena_chunk))
#define CHUNK_BYTES_MAX (256u << 10) /* larger ones are made for a single allocation */

static void *arena_allocate(void *arena, size_t bytes)
{
    return ks_arena_alloc(arena, bytes);
}

static void arena_free(void *arena KS_UNUSED, void *block KS_UNUSED)
{
}

void ks_arena_init(struct ks_arena *arena, size_t bytes_max)
{
    *arena = (struct ks_arena){
        .allocator = {.alloc = arena_allocate, .free = arena_free, .allocator_data = arena},
        .bytes_max = bytes_max};
}

void ks_arena_fini(struct ks_arena *arena)
{
    while (arena->chunks) {
        struct ks_arena_chunk *next = arena->chunks->next;
        ks_free(arena->chunks);
        arena->chunks = next;
    }
    arena->bytes_held = 0;
}

void ks_arena_reset(struct ks_arena *arena)
{
    struct ks_arena_chunk *kept = NULL;
    while (arena->chunks) {
        struct ks_arena_chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        if (!kept && chunk->capacity == CHUNK_BYTES_MIN)
            kept = chunk;
        else
            ks_free(chunk);
    }
    arena->chunks = kept;
    arena->was_refused = false;
    arena->bytes_held = 0;
    if (kept) {
        kept->next = NULL;
        kept->used = 0;
        arena->bytes_held = kept->capacity;
    }
}

/* Room for bytes in a new chunk in front; doubles, so that a large message needs few. */
static bool arena_grow(struct ks_arena *arena, size_t bytes)
{
    size_t capacity = arena->chunks ? arena->chunks->capacity * 2 : CHUNK_BYTES_MIN;
    capacity = KS_MIN(capacity, CHUNK_BYTES_MAX);
    capacity = KS_MAX(capacity, bytes);
    size_t left = arena->bytes_max - arena->bytes_held;
    if (capacity > left)
        capacity = bytes;
    if (capacity > left)
        return false;
    struct ks_arena_chunk *chunk = ks_malloc(sizeof *chunk + capacity);
    if (!chunk)
        return false;
    *chunk = (struct ks_arena_chunk){.next = arena->chunks, .capacity = capacity};
    arena->chunks = chunk;
    arena->bytes_held += capacity;
    return true;
}

void *ks_arena_alloc(struct ks_arena *arena, size_t bytes)
{
    if (bytes > arena->bytes_max) {
        arena->was_refused = true;
        return NULL;
    }
    size_t rounded = (size_t)ks_round_up(KS_MAX(bytes, (size_t)1), _Alignof(max_align_t));
    struct ks_arena_chunk *chunk = arena->chunks;
    if (!chunk || chunk->capacity - chunk->used < rounded) {
        if (!arena_grow(arena, rounded)) {
            arena->was_refused = true;
            return NULL;
        }
        chunk = arena->chunks;
    }
    void *block = chunk->bytes + chunk->used;
    chunk->used += rounded;
    return block;
}

void *ks_arena_zalloc(struct ks_arena *arena, size_t bytes)
{
    void *block = ks_arena_alloc(arena, bytes);
    return block ? memset(block, 0, bytes) : NULL;
}

char *ks_arena_text(struct ks_arena *arena, struct ks_view text)
{
    char *copy = ks_arena_alloc(arena, text.bytes + 1);
    if (!copy)
        return NULL;
    if (text.bytes > 0)
        memcpy(copy, text.data, text.bytes);
    copy[text.bytes] = '\0';
    return copy;
}

char *ks_arena_strdup(struct ks_arena *arena, const char *text)
{
    return ks_arena_text(arena, ks_view_of_text(text));
}

/*
 * protobuf-c hands out C strings and checks no encoding: a text with a zero inside would be cut,
 * that is altered, without a word. So such a text is refused before.
 */
/* NOLINTNEXTLINE(misc-no-recursion): as deep as the schema, which has no cycles */
static bool texts_are_whole(
    const ProtobufCMessageDescriptor *descriptor, struct ks_view packed, unsigned depth)
{
    KS_ASSERT(depth < 16);
    struct ks_cursor c = ks_cursor_over(packed.data, packed.bytes);
    struct ks_wire_field field;
    while (ks_wire_next(&c, &field)) {
        const ProtobufCFieldDescriptor *known =
            field.type == KS_WIRE_BYTES
                ? protobuf_c_message_descriptor_get_field(descriptor, field.number)
                : NULL;
        if (!known)
            continue;
        if (known->type == PROTOBUF_C_TYPE_STRING &&
            (memchr(field.bytes.data, 0, field.bytes.bytes) || !ks_view_is_utf8(field.bytes)))
            return false;
        if (known->type == PROTOBUF_C_TYPE_MESSAGE &&
            !texts_are_whole(known->descriptor, field.bytes, depth + 1))
            return false;
    }
    return ks_cursor_left(&c) == 0;
}

ProtobufCMessage *ks_arena_unpack(
    struct ks_arena *arena, const ProtobufCMessageDescriptor *descriptor, struct ks_view packed)
{
    static const uint8_t nothing[1] = {0};
    if (!texts_are_whole(descriptor, packed, 0))
        return NULL;
    return protobuf_c_message_unpack(
        descriptor, &arena->allocator, packed.bytes, packed.bytes ? packed.data : nothing);
}
