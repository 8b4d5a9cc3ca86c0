/* The verbs about tags. */
#include "tools/ctl_tags.h"

#include "tools/ctl_dry_run.h"
#include "tools/ctl_param.h"

static enum kstream_status fail_memory(struct kstream_error *err)
{
    return ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
}

/* ---- what is typed ---- */

enum kstream_status ctl_tags_read(
    const struct ctl *ctl, struct ctl_tags *out, struct kstream_error *err)
{
    struct ks_error inner = KS_ERROR_INIT;
    const char *option = ctl_option_name(CTL_TAGS);
    enum ks_status st = ctl_param_structure(option, ctl_text(ctl, CTL_TAGS), &out->owner, &inner);
    if (st)
        return ctl_fail_from(err, st, &inner);
    if (!json_is_object(out->owner))
        return ctl_fail(err, KSTREAM_USAGE, "'--tags': KEY=VALUE,KEY=VALUE or an object is needed");
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(out->owner, key, value)
    {
        if (!json_is_string(value))
            return ctl_fail(
                err, KSTREAM_USAGE, "'--tags': the value of '%.60s' is to be a text", key);
        if (out->count == KS_TAGS_PER_CALL_MAX)
            return ctl_fail(err, KSTREAM_USAGE, "'--tags': %u at most", KS_TAGS_PER_CALL_MAX);
        out->list[out->count++] = (struct kstream_tag){key, json_string_value(value)};
    }
    return KSTREAM_OK;
}

void ctl_tags_fini(struct ctl_tags *tags)
{
    json_decref(tags->owner);
}

static enum kstream_status add_word(
    struct ctl_words *words, enum ctl_option_id option, const char *word, struct kstream_error *err)
{
    if (!word || words->count == KS_COUNT_OF(words->list))
        return ctl_fail(err, KSTREAM_USAGE,
            word ? "'--%s': %u at most" : "'--%s': texts are needed", ctl_option_name(option),
            KS_TAGS_PER_CALL_MAX);
    words->list[words->count++] = word;
    return KSTREAM_OK;
}

enum kstream_status ctl_words_read(const struct ctl *ctl, enum ctl_option_id option,
    struct ctl_words *out, struct kstream_error *err)
{
    const char *first = ctl_args_item(&ctl->args, option, 0);
    enum kstream_status st = KSTREAM_OK;
    if (first && first[0] == '[') {
        struct ks_error inner = KS_ERROR_INIT;
        enum ks_status parsed = ctl_param_json(ctl_option_name(option), first, &out->owner, &inner);
        if (parsed)
            return ctl_fail_from(err, parsed, &inner);
        for (size_t i = 0; !st && i < json_array_size(out->owner); i++)
            st = add_word(out, option, json_string_value(json_array_get(out->owner, i)), err);
        return st;
    }
    for (size_t i = 0; !st && ctl_args_item(&ctl->args, option, i); i++)
        st = add_word(out, option, ctl_args_item(&ctl->args, option, i), err);
    return st;
}

void ctl_words_fini(struct ctl_words *words)
{
    json_decref(words->owner);
}

enum kstream_status ctl_setting_begin(
    struct ctl *ctl, struct kstream_setting_options *out, struct kstream_error *err)
{
    *out = (struct kstream_setting_options)KSTREAM_SETTING_OPTIONS_INIT;
    out->timeout_ms = ctl->timeout_ms;
    out->dry_run = ctl_is_dry_run(ctl);
    return ctl_connect(ctl, err);
}

/* ---- adding and removing ---- */

/* The answer of all that change tags. */
static enum kstream_status give_done(struct ctl *ctl, enum kstream_status st, const char *what,
    size_t count, struct kstream_error *err)
{
    bool is_of_stream = ctl->stream != NULL;
    const char *name = is_of_stream ? ctl->stream_name : ctl_text(ctl, CTL_RESOURCE_ARN);
    if (ctl_is_dry_run(ctl))
        return st ? ctl_would_not(ctl, st)
                  : ctl_would(ctl, err, "%s %zu tag%s of '%.300s'", what, count,
                        count == 1 ? "" : "s", name);
    if (st)
        return st;
    ctl->result = json_pack(
        "{s:s, s:I}", is_of_stream ? "StreamName" : "ResourceARN", name, "Tags", (json_int_t)count);
    return ctl->result ? KSTREAM_OK : fail_memory(err);
}

enum kstream_status ctl_run_add_tags(struct ctl *ctl, struct kstream_error *err)
{
    KS_CLEANUP(ctl_tags_fini) struct ctl_tags tags = {.count = 0};
    struct kstream_setting_options options;
    enum kstream_status st = ctl_tags_read(ctl, &tags, err);
    if (!st)
        st = ctl_setting_begin(ctl, &options, err);
    if (st)
        return st;
    st = kstream_add_tags(ctl->client, ctl->stream, tags.list, tags.count, &options, err);
    return give_done(ctl, st, "set", tags.count, err);
}

enum kstream_status ctl_run_remove_tags(struct ctl *ctl, struct kstream_error *err)
{
    KS_CLEANUP(ctl_words_fini) struct ctl_words keys = {.count = 0};
    struct kstream_setting_options options;
    enum kstream_status st = ctl_words_read(ctl, CTL_TAG_KEYS, &keys, err);
    if (!st)
        st = ctl_setting_begin(ctl, &options, err);
    if (st)
        return st;
    st = kstream_remove_tags(ctl->client, ctl->stream, keys.list, keys.count, &options, err);
    return give_done(ctl, st, "remove", keys.count, err);
}

enum kstream_status ctl_run_tag_resource(struct ctl *ctl, struct kstream_error *err)
{
    KS_CLEANUP(ctl_tags_fini) struct ctl_tags tags = {.count = 0};
    struct kstream_setting_options options;
    enum kstream_status st = ctl_tags_read(ctl, &tags, err);
    if (!st)
        st = ctl_setting_begin(ctl, &options, err);
    if (st)
        return st;
    st = kstream_tag_resource(
        ctl->client, ctl_text(ctl, CTL_RESOURCE_ARN), tags.list, tags.count, &options, err);
    return give_done(ctl, st, "set", tags.count, err);
}

enum kstream_status ctl_run_untag_resource(struct ctl *ctl, struct kstream_error *err)
{
    KS_CLEANUP(ctl_words_fini) struct ctl_words keys = {.count = 0};
    struct kstream_setting_options options;
    enum kstream_status st = ctl_words_read(ctl, CTL_TAG_KEYS, &keys, err);
    if (!st)
        st = ctl_setting_begin(ctl, &options, err);
    if (st)
        return st;
    st = kstream_untag_resource(
        ctl->client, ctl_text(ctl, CTL_RESOURCE_ARN), keys.list, keys.count, &options, err);
    return give_done(ctl, st, "remove", keys.count, err);
}

/* ---- listing ---- */

/* Takes list. */
static enum kstream_status give_list(
    struct ctl *ctl, struct kstream_tag_list *list, bool has_paging, struct kstream_error *err)
{
    json_t *array = json_array();
    bool is_fine = array != NULL;
    for (size_t i = 0; is_fine && i < list->tag_count; i++) {
        json_t *tag = json_object();
        is_fine = ctl_json_add(tag, "Key", ctl_json_text(list->tags[i].key)) &&
                  ctl_json_add(tag, "Value", ctl_json_text(list->tags[i].value));
        is_fine = json_array_append_new(array, tag) == 0 && is_fine;
    }
    ctl->result = json_object();
    ctl->list_member = "Tags";
    is_fine = ctl_json_add(ctl->result, "Tags", array) && is_fine;
    if (is_fine && has_paging)
        is_fine = ctl_json_add(ctl->result, "HasMoreTags", json_boolean(list->has_more));
    kstream_tag_list_free(list);
    return is_fine ? KSTREAM_OK : fail_memory(err);
}

enum kstream_status ctl_run_list_tags(struct ctl *ctl, struct kstream_error *err)
{
    struct kstream_list_tags_options options = KSTREAM_LIST_TAGS_OPTIONS_INIT;
    struct kstream_tag_list *list = NULL;
    uint64_t limit = 0;
    enum kstream_status st =
        ctl_number(ctl, CTL_LIMIT, (struct ctl_range){1, KS_TAGS_PER_STREAM_MAX, 0}, &limit, err);
    if (!st)
        st = ctl_connect(ctl, err);
    if (st)
        return st;
    options.timeout_ms = ctl->timeout_ms;
    options.limit = (uint32_t)limit;
    options.exclusive_start_tag_key = ctl_text(ctl, CTL_EXCLUSIVE_START_TAG);
    st = kstream_list_tags(ctl->client, ctl->stream, &options, &list, err);
    return st ? st : give_list(ctl, list, true, err);
}

enum kstream_status ctl_run_list_tags_of_resource(struct ctl *ctl, struct kstream_error *err)
{
    struct kstream_call_options options = KSTREAM_CALL_OPTIONS_INIT;
    struct kstream_tag_list *list = NULL;
    enum kstream_status st = ctl_connect(ctl, err);
    if (st)
        return st;
    options.timeout_ms = ctl->timeout_ms;
    st = kstream_list_tags_of_resource(
        ctl->client, ctl_text(ctl, CTL_RESOURCE_ARN), &options, &list, err);
    return st ? st : give_list(ctl, list, false, err);
}
