#include "proto/rules.h"

#include "proto/api.pb-c.h"
#include "proto/limits.h"

#include <stdio.h>

const struct ks_rule ks_rules[] = {
#define KS_RULE(message, field, required, min, max, pattern, values)                               \
    {&kstream__##message##__descriptor, field, required, pattern, min, max, values},
#include "proto/rules.def"
#undef KS_RULE
};

const size_t ks_rules_count = KS_COUNT_OF(ks_rules);

bool ks_rule_is_of_items(const struct ks_rule *rule)
{
    size_t bytes = strlen(rule->field);
    return bytes > 2 && strcmp(rule->field + bytes - 2, "[]") == 0;
}

const ProtobufCFieldDescriptor *ks_rule_field(const struct ks_rule *rule)
{
    char name[KS_MEMBER_NAME_BYTES_MAX];
    size_t bytes = strlen(rule->field) - (ks_rule_is_of_items(rule) ? 2 : 0);
    KS_ASSERT(bytes < sizeof name);
    memcpy(name, rule->field, bytes);
    name[bytes] = '\0';
    return protobuf_c_message_descriptor_get_field_by_name(rule->message, name);
}

/* Words that are not just a capital and small letters. */
static const struct {
    const char *word;
    const char *name;
} special_words[] = {{"arn", "ARN"}, {"kib", "KiB"}, {"mibps", "MiBps"}};

void ks_member_name(const char *field, char name[KS_MEMBER_NAME_BYTES_MAX])
{
    static const char time_suffix[] = "_unix_ms";
    size_t bytes = strlen(field);
    size_t suffix_bytes = sizeof time_suffix - 1;
    if (bytes > suffix_bytes && strcmp(field + bytes - suffix_bytes, time_suffix) == 0)
        bytes -= suffix_bytes;
    KS_ASSERT(bytes < KS_MEMBER_NAME_BYTES_MAX);
    size_t at = 0;
    for (size_t start = 0; start < bytes;) {
        const char *underscore = memchr(field + start, '_', bytes - start);
        size_t end = underscore ? (size_t)(underscore - field) : bytes;
        size_t word_at = at;
        KS_ASSERT(end > start);
        for (size_t i = start; i < end; i++)
            name[at++] = field[i];
        if (name[word_at] >= 'a' && name[word_at] <= 'z')
            name[word_at] = (char)(name[word_at] - 'a' + 'A');
        for (size_t i = 0; i < KS_COUNT_OF(special_words); i++)
            if (strlen(special_words[i].word) == end - start &&
                memcmp(special_words[i].word, field + start, end - start) == 0)
                memcpy(name + word_at, special_words[i].name, end - start);
        start = end + 1;
    }
    name[at] = '\0';
}

/* ---- one member ---- */

struct member {
    const ProtobufCFieldDescriptor *field;
    const void *at;  /* the member inside its message */
    size_t count;    /* of a list */
    bool is_present; /* lists: not empty, the wire cannot tell an empty one from none */
};

struct checker {
    struct ks_buf *text;
    unsigned errors;
    bool is_full; /* no room for the text */
    char path[256];
};

static struct member member_of(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *f)
{
    const uint8_t *base = (const uint8_t *)message;
    struct member m = {.field = f, .at = base + f->offset};
    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        memcpy(&m.count, base + f->quantifier_offset, sizeof m.count);
        m.is_present = m.count > 0;
    } else if (f->type == PROTOBUF_C_TYPE_STRING || f->type == PROTOBUF_C_TYPE_MESSAGE) {
        const void *pointer = NULL;
        memcpy(&pointer, m.at, sizeof pointer);
        m.is_present = pointer != NULL;
    } else if (f->label == PROTOBUF_C_LABEL_OPTIONAL) {
        protobuf_c_boolean has = 0;
        memcpy(&has, base + f->quantifier_offset, sizeof has);
        m.is_present = has != 0;
    } else {
        m.is_present = true;
    }
    return m;
}

static struct ks_view member_text(const struct member *m)
{
    const char *text = NULL;
    memcpy(&text, m->at, sizeof text);
    return ks_view_of_text(text);
}

static size_t member_blob_bytes(const struct member *m)
{
    ProtobufCBinaryData blob;
    memcpy(&blob, m->at, sizeof blob);
    return blob.len;
}

static int64_t member_number(const struct member *m)
{
    int32_t number32 = 0;
    uint32_t unsigned32 = 0;
    int64_t number64 = 0;
    if (m->field->type == PROTOBUF_C_TYPE_INT32) {
        memcpy(&number32, m->at, sizeof number32);
        return number32;
    }
    if (m->field->type == PROTOBUF_C_TYPE_UINT32) {
        memcpy(&unsigned32, m->at, sizeof unsigned32);
        return unsigned32;
    }
    memcpy(&number64, m->at, sizeof number64);
    return number64;
}

static const ProtobufCMessage *member_item(const struct member *m, size_t i)
{
    ProtobufCMessage *const *items = NULL;
    if (m->field->label != PROTOBUF_C_LABEL_REPEATED)
        items = (ProtobufCMessage *const *)m->at;
    else
        memcpy(&items, m->at, sizeof items);
    return items[i];
}

/* Of a list of texts. */
static struct ks_view member_item_text(const struct member *m, size_t i)
{
    char *const *items = NULL;
    memcpy(&items, m->at, sizeof items);
    return ks_view_of_text(items[i]);
}

static bool member_has_length(const struct member *m)
{
    return m->field->label == PROTOBUF_C_LABEL_REPEATED ||
           m->field->type == PROTOBUF_C_TYPE_STRING || m->field->type == PROTOBUF_C_TYPE_BYTES;
}

/* The number that bounds are about. */
static int64_t member_measure(const struct member *m)
{
    if (m->field->label == PROTOBUF_C_LABEL_REPEATED)
        return (int64_t)m->count;
    if (m->field->type == PROTOBUF_C_TYPE_BYTES)
        return (int64_t)member_blob_bytes(m);
    if (m->field->type != PROTOBUF_C_TYPE_STRING)
        return member_number(m);
    struct ks_view text = member_text(m);
    return (int64_t)(ks_view_is_utf8(text) ? ks_view_utf8_characters(text) : text.bytes);
}

/* ---- complaints ---- */

static void say(struct checker *c, struct ks_view text)
{
    if (!c->is_full && !ks_buf_append(c->text, text.data, text.bytes))
        c->is_full = true;
}

static void say_text(struct checker *c, const char *text)
{
    say(c, ks_view_of_text(text));
}

/* At most KS_VALIDATION_VALUE_BYTES_MAX of it, cut between characters. */
static void say_value_text(struct checker *c, struct ks_view text)
{
    if (!ks_view_is_utf8(text)) {
        say_text(c, "?");
        return;
    }
    size_t bytes = KS_MIN(text.bytes, (size_t)KS_VALIDATION_VALUE_BYTES_MAX);
    while (bytes < text.bytes && bytes > 0 && (text.data[bytes] & 0xc0) == 0x80)
        bytes--;
    say(c, ks_view_of(text.data, bytes));
}

static void say_list(struct checker *c, const struct member *m)
{
    bool is_map = m->field->descriptor == &kstream__tag__descriptor;
    const char *between = "";
    say_text(c, is_map ? "{" : "[");
    for (size_t i = 0; i < m->count && c->text->bytes < KS_VALIDATION_VALUE_BYTES_MAX; i++) {
        say_text(c, between);
        between = ", ";
        if (m->field->type == PROTOBUF_C_TYPE_STRING) {
            say_value_text(c, member_item_text(m, i));
            continue;
        }
        if (!is_map) {
            say_text(c, ((const ProtobufCMessageDescriptor *)m->field->descriptor)->short_name);
            continue;
        }
        const Kstream__Tag *tag = (const Kstream__Tag *)(const void *)member_item(m, i);
        say_value_text(c, ks_view_of_text(tag->key ? tag->key : ""));
        say_text(c, "=");
        say_value_text(c, ks_view_of_text(tag->value ? tag->value : ""));
    }
    say_text(c, is_map ? "}" : "]");
}

static void say_value(struct checker *c, const struct member *m)
{
    char number[96];
    if (!m->is_present) {
        say_text(c, "null");
        return;
    }
    say_text(c, "'");
    if (m->field->label == PROTOBUF_C_LABEL_REPEATED) {
        say_list(c, m);
    } else if (m->field->type == PROTOBUF_C_TYPE_STRING) {
        say_value_text(c, member_text(m));
    } else if (m->field->type == PROTOBUF_C_TYPE_BYTES) {
        size_t bytes = member_blob_bytes(m);
        (void)snprintf(
            number, sizeof number, "java.nio.HeapByteBuffer[pos=0 lim=%zu cap=%zu]", bytes, bytes);
        say_text(c, number);
    } else {
        (void)snprintf(number, sizeof number, "%lld", (long long)member_number(m));
        say_text(c, number);
    }
    say_text(c, "'");
}

/* "; Value 'x' at 'path' failed to satisfy constraint: " and the constraint. */
static void complain(struct checker *c, const struct member *m, const char *constraint)
{
    if (c->errors == KS_VALIDATION_ERRORS_MAX)
        return;
    say_text(c, c->errors++ > 0 ? "; Value " : "Value ");
    say_value(c, m);
    say_text(c, " at '");
    say_text(c, c->path);
    say_text(c, "' failed to satisfy constraint: ");
    say_text(c, constraint);
}

static bool is_one_of(const char *values, struct ks_view text)
{
    for (const char *at = values; *at;) {
        size_t bytes = strcspn(at, ",");
        if (ks_view_equal(ks_view_of(at, bytes), text))
            return true;
        at += bytes;
        at += strspn(at, ", ");
    }
    return false;
}

static void check_bounds(struct checker *c, const struct ks_rule *rule, const struct member *m)
{
    char text[128];
    const char *what = member_has_length(m) ? "length" : "value";
    if (m->field->type == PROTOBUF_C_TYPE_MESSAGE && m->field->label != PROTOBUF_C_LABEL_REPEATED)
        return;
    int64_t measure = member_measure(m);
    if (rule->min != KS_NO_MIN && measure < rule->min) {
        (void)snprintf(text, sizeof text, "Member must have %s greater than or equal to %lld", what,
            (long long)rule->min);
        complain(c, m, text);
    }
    if (rule->max != KS_NO_MAX && measure > rule->max) {
        (void)snprintf(text, sizeof text, "Member must have %s less than or equal to %lld", what,
            (long long)rule->max);
        complain(c, m, text);
    }
}

static void check_text(struct checker *c, const struct ks_rule *rule, const struct member *m)
{
    char text[256];
    struct ks_view value = member_text(m);
    if (!ks_view_is_utf8(value))
        complain(c, m, "Member must be valid UTF-8");
    if (rule->values[0] != '\0' && !is_one_of(rule->values, value)) {
        (void)snprintf(text, sizeof text, "Member must satisfy enum value set: [%s]", rule->values);
        complain(c, m, text);
    }
    if (!ks_pattern_matches(rule->pattern, value)) {
        (void)snprintf(text, sizeof text, "Member must satisfy regular expression pattern: %s",
            ks_pattern_text(rule->pattern));
        complain(c, m, text);
    }
}

/* A map's keys and values have one complaint each for the whole map. */
static void check_map(struct checker *c, const struct member *m)
{
    bool is_key_bad = false;
    bool is_value_bad = false;
    for (size_t i = 0; i < m->count; i++) {
        const Kstream__Tag *tag = (const Kstream__Tag *)(const void *)member_item(m, i);
        struct ks_view key = ks_view_of_text(tag->key ? tag->key : "");
        struct ks_view value = ks_view_of_text(tag->value ? tag->value : "");
        is_key_bad = is_key_bad || key.bytes == 0 || !ks_view_is_utf8(key) ||
                     ks_view_utf8_characters(key) > KS_TAG_KEY_CHARACTERS_MAX;
        is_value_bad = is_value_bad || !ks_view_is_utf8(value) ||
                       ks_view_utf8_characters(value) > KS_TAG_VALUE_CHARACTERS_MAX;
    }
    char text[256];
    if (is_key_bad) {
        (void)snprintf(text, sizeof text,
            "Map keys must satisfy constraint: [Member must have length less than or equal to %u, "
            "Member must have length greater than or equal to 1]",
            KS_TAG_KEY_CHARACTERS_MAX);
        complain(c, m, text);
    }
    if (is_value_bad) {
        (void)snprintf(text, sizeof text,
            "Map value must satisfy constraint: [Member must have length less than or equal to %u, "
            "Member must have length greater than or equal to 0]",
            KS_TAG_VALUE_CHARACTERS_MAX);
        complain(c, m, text);
    }
}

/* The texts of a list have one complaint for the whole list. */
static void check_texts(struct checker *c, const struct ks_rule *rule, const struct member *m)
{
    bool is_bad = false;
    for (size_t i = 0; i < m->count; i++) {
        struct ks_view text = member_item_text(m, i);
        bool is_utf8 = ks_view_is_utf8(text);
        int64_t length = is_utf8 ? (int64_t)ks_view_utf8_characters(text) : 0;
        is_bad = is_bad || !is_utf8 || (rule->min != KS_NO_MIN && length < rule->min) ||
                 (rule->max != KS_NO_MAX && length > rule->max) ||
                 (rule->values[0] != '\0' && !is_one_of(rule->values, text));
    }
    char text[512];
    if (is_bad && rule->values[0] != '\0')
        (void)snprintf(text, sizeof text,
            "Member must satisfy constraint: [Member must satisfy enum value set: [%s]]",
            rule->values);
    else if (is_bad)
        (void)snprintf(text, sizeof text,
            "Member must satisfy constraint: [Member must have length less than or equal to %lld, "
            "Member must have length greater than or equal to %lld]",
            (long long)rule->max, (long long)rule->min);
    if (is_bad)
        complain(c, m, text);
}

/* ---- the walk ---- */

/* The three below call each other as deep as the schema's messages lie in each other: three at
 * most. */
/* NOLINTBEGIN(misc-no-recursion) */
static void check_message(struct checker *c, const ProtobufCMessage *message, unsigned depth);

/* The path's next part; returns the old length, to be put back. */
static size_t path_enter(struct checker *c, const char *field, size_t item)
{
    char name[KS_MEMBER_NAME_BYTES_MAX];
    size_t length = strlen(c->path);
    ks_member_name(field, name);
    name[0] = (char)(name[0] >= 'A' && name[0] <= 'Z' ? name[0] - 'A' + 'a' : name[0]);
    size_t room = sizeof c->path - length;
    if (item > 0)
        (void)snprintf(c->path + length, room, "%s%s.%zu.member", length ? "." : "", name, item);
    else
        (void)snprintf(c->path + length, room, "%s%s", length ? "." : "", name);
    return length;
}

static void check_inside(struct checker *c, const struct member *m, unsigned depth)
{
    if (m->field->type != PROTOBUF_C_TYPE_MESSAGE)
        return;
    bool is_list = m->field->label == PROTOBUF_C_LABEL_REPEATED;
    size_t items = is_list ? m->count : 1;
    for (size_t i = 0; i < items && c->errors < KS_VALIDATION_ERRORS_MAX; i++) {
        size_t length = path_enter(c, m->field->name, is_list ? i + 1 : 0);
        check_message(c, member_item(m, i), depth + 1);
        c->path[length] = '\0';
    }
}

static void check_member(
    struct checker *c, const struct ks_rule *rule, const struct member *m, unsigned depth)
{
    size_t length = path_enter(c, m->field->name, 0);
    if (ks_rule_is_of_items(rule)) {
        check_texts(c, rule, m);
        c->path[length] = '\0';
        return;
    }
    if (!m->is_present) {
        if (rule->is_required)
            complain(c, m, "Member must not be null");
        c->path[length] = '\0';
        return;
    }
    if (m->field->type == PROTOBUF_C_TYPE_STRING && m->field->label != PROTOBUF_C_LABEL_REPEATED)
        check_text(c, rule, m);
    check_bounds(c, rule, m);
    bool is_map = m->field->descriptor == &kstream__tag__descriptor;
    if (is_map)
        check_map(c, m);
    c->path[length] = '\0';
    if (!is_map)
        check_inside(c, m, depth);
}

static void check_message(struct checker *c, const ProtobufCMessage *message, unsigned depth)
{
    KS_ASSERT(depth < 4); /* our own schema, which has no cycles */
    for (size_t i = 0; i < ks_rules_count; i++) {
        const struct ks_rule *rule = &ks_rules[i];
        if (rule->message != message->descriptor)
            continue;
        const ProtobufCFieldDescriptor *field = ks_rule_field(rule);
        KS_ASSERT(field);
        struct member m = member_of(message, field);
        check_member(c, rule, &m, depth);
    }
}

/* NOLINTEND(misc-no-recursion) */

enum ks_status ks_rules_check(const ProtobufCMessage *message, struct ks_buf *out_text)
{
    struct ks_buf complaints;
    ks_buf_init(&complaints, KS_RULES_TEXT_BYTES_MAX);
    struct checker c = {.text = &complaints};
    check_message(&c, message, 0);
    enum ks_status st = KS_OK;
    if (c.errors > 0) {
        st = KS_VALIDATION;
        if (c.is_full ||
            !ks_buf_printf(
                out_text, "%u validation error%s detected: ", c.errors, c.errors == 1 ? "" : "s") ||
            !ks_buf_append(out_text, complaints.data, complaints.bytes) ||
            !ks_buf_append(out_text, "", 1))
            st = KS_NO_MEMORY;
        else
            out_text->bytes--; /* the zero stays behind the text */
    }
    ks_buf_fini(&complaints);
    return st;
}
