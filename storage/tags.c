#include "storage/tags.h"

#include "base/alloc.h"

#include <string.h>

struct ks_tags *ks_tags_ref(struct ks_tags *tags)
{
    if (tags)
        atomic_fetch_add_explicit(&tags->refs, 1, memory_order_relaxed);
    return tags;
}

void ks_tags_unref(struct ks_tags *tags)
{
    if (tags && atomic_fetch_sub_explicit(&tags->refs, 1, memory_order_acq_rel) == 1)
        ks_free(tags);
}

/* A set under construction: views of other memory. */
struct draft {
    struct ks_tag items[KS_TAGS_PER_STREAM_MAX + 1];
    uint32_t count;
};

/* The place of key, or where it would go. */
static uint32_t draft_find(const struct draft *draft, const char *key, bool *out_found)
{
    uint32_t at = 0;
    int order = 1;
    while (at < draft->count && (order = strcmp(draft->items[at].key, key)) < 0)
        at++;
    *out_found = at < draft->count && order == 0;
    return at;
}

static void draft_begin(struct draft *draft, const struct ks_tags *from)
{
    draft->count = from ? from->count : 0;
    if (draft->count > 0)
        memcpy(draft->items, from->items, draft->count * sizeof draft->items[0]);
}

/* False: there would be too many. */
static bool draft_put(struct draft *draft, const struct ks_tag *tag)
{
    bool is_found = false;
    uint32_t at = draft_find(draft, tag->key, &is_found);
    if (!is_found) {
        if (draft->count == KS_TAGS_PER_STREAM_MAX)
            return false;
        memmove(
            draft->items + at + 1, draft->items + at, (draft->count - at) * sizeof draft->items[0]);
        draft->count++;
    }
    draft->items[at] = *tag;
    return true;
}

static void draft_remove(struct draft *draft, const char *key)
{
    bool is_found = false;
    uint32_t at = draft_find(draft, key, &is_found);
    if (!is_found)
        return;
    draft->count--;
    memmove(draft->items + at, draft->items + at + 1, (draft->count - at) * sizeof draft->items[0]);
}

static const char *copy_text(char **to, const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = memcpy(*to, text, bytes);
    *to += bytes;
    return copy;
}

static enum ks_status draft_finish(
    const struct draft *draft, struct ks_tags **out, struct ks_error *err)
{
    size_t text_bytes = 0;
    *out = NULL;
    if (draft->count == 0)
        return KS_OK;
    for (uint32_t i = 0; i < draft->count; i++)
        text_bytes += strlen(draft->items[i].key) + strlen(draft->items[i].value) + 2;
    struct ks_tags *tags =
        ks_malloc(sizeof *tags + draft->count * sizeof tags->items[0] + text_bytes);
    if (!tags)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for tags");
    atomic_init(&tags->refs, 1);
    tags->count = draft->count;
    char *to = (char *)&tags->items[draft->count];
    for (uint32_t i = 0; i < draft->count; i++) {
        tags->items[i].key = copy_text(&to, draft->items[i].key);
        tags->items[i].value = copy_text(&to, draft->items[i].value);
    }
    *out = tags;
    return KS_OK;
}

enum ks_status ks_tags_with(const struct ks_tags *from, const struct ks_tag *more, uint32_t count,
    struct ks_tags **out, struct ks_error *err)
{
    struct draft draft;
    draft_begin(&draft, from);
    for (uint32_t i = 0; i < count; i++)
        if (!draft_put(&draft, &more[i]))
            return ks_fail(
                err, KS_LIMIT, 0, "a stream cannot have more than %u tags", KS_TAGS_PER_STREAM_MAX);
    return draft_finish(&draft, out, err);
}

enum ks_status ks_tags_without(const struct ks_tags *from, const struct ks_tag *without,
    uint32_t count, struct ks_tags **out, struct ks_error *err)
{
    struct draft draft;
    draft_begin(&draft, from);
    for (uint32_t i = 0; i < count; i++)
        draft_remove(&draft, without[i].key);
    return draft_finish(&draft, out, err);
}
