#include "tools/ctl_input.h"

#include "proto/api.pb-c.h"
#include "proto/operations.h"
#include "proto/rules.h"
#include "tools/ctl_closest.h"
#include "tools/ctl_json.h"

#include <ctype.h>
#include <stdio.h>

#define TIME_SUFFIX "_unix_ms"
#define MEMBERS_MAX 32

/* ---- the operation, its members, their options ---- */

/* "list-streams" is ListStreams. NULL: the verb is none of Kinesis. */
static const ProtobufCMessageDescriptor *request_of(const struct ctl_verb *verb)
{
    char name[64];
    size_t bytes = 0;
    bool is_upper = true;
    for (const char *at = verb->name; *at && bytes + 1 < sizeof name; at++) {
        if (*at == '-')
            is_upper = true;
        else
            name[bytes++] = (char)(is_upper ? toupper((unsigned char)*at) : *at);
        if (*at != '-')
            is_upper = false;
    }
    const struct ks_operation *operation = ks_operation_by_name(ks_view_of(name, bytes));
    return operation ? operation->request : NULL;
}

bool ctl_verb_is_kinesis(const struct ctl_verb *verb)
{
    const ProtobufCMessageDescriptor *request = request_of(verb);
    for (unsigned i = 0; request && i < request->n_fields; i++) {
        char name[KS_MEMBER_NAME_BYTES_MAX];
        ks_member_name(request->fields[i].name, name);
        if (ctl_input_option(verb, name) != CTL_OPTION_COUNT)
            return true;
    }
    return false;
}

static bool is_time(const ProtobufCFieldDescriptor *field)
{
    size_t bytes = strlen(field->name);
    size_t suffix = strlen(TIME_SUFFIX);
    return bytes > suffix && strcmp(field->name + bytes - suffix, TIME_SUFFIX) == 0;
}

/* The option has the name of the field, with other dashes. */
static bool is_option_of(enum ctl_option_id option, const ProtobufCFieldDescriptor *field)
{
    const char *name = ctl_option_name(option);
    size_t bytes = strlen(field->name) - (is_time(field) ? strlen(TIME_SUFFIX) : 0);
    if (strlen(name) != bytes)
        return false;
    for (size_t i = 0; i < bytes; i++)
        if (name[i] != (field->name[i] == '_' ? '-' : field->name[i]))
            return false;
    return true;
}

static enum ctl_option_id option_of(
    const struct ctl_verb *verb, const ProtobufCFieldDescriptor *field)
{
    for (const struct ctl_use *use = verb->uses; use->text; use++)
        if (is_option_of(use->option, field))
            return use->option;
    return CTL_OPTION_COUNT;
}

static const ProtobufCFieldDescriptor *field_of(
    const ProtobufCMessageDescriptor *request, const char *member)
{
    for (unsigned i = 0; request && i < request->n_fields; i++) {
        char name[KS_MEMBER_NAME_BYTES_MAX];
        ks_member_name(request->fields[i].name, name);
        if (strcmp(name, member) == 0)
            return &request->fields[i];
    }
    return NULL;
}

enum ctl_option_id ctl_input_option(const struct ctl_verb *verb, const char *member)
{
    const ProtobufCFieldDescriptor *field = field_of(request_of(verb), member);
    return field ? option_of(verb, field) : CTL_OPTION_COUNT;
}

/* ---- a request into options ---- */

static enum ks_status fail_member(
    const struct ctl_verb *verb, const char *member, struct ks_error *err)
{
    const ProtobufCMessageDescriptor *request = request_of(verb);
    char names[MEMBERS_MAX][KS_MEMBER_NAME_BYTES_MAX];
    const char *known[MEMBERS_MAX + 1] = {NULL};
    size_t count = 0;
    for (unsigned i = 0; i < request->n_fields && count < MEMBERS_MAX; i++) {
        if (option_of(verb, &request->fields[i]) == CTL_OPTION_COUNT)
            continue;
        ks_member_name(request->fields[i].name, names[count]);
        known[count] = names[count];
        count++;
    }
    const char *closest = ctl_closest(member, known);
    return ks_fail(err, KS_USAGE, 0, "'--cli-input-json': unknown member '%.60s'%s%s%s", member,
        closest ? "; did you mean '" : "", closest ? closest : "", closest ? "'?" : "");
}

/* What a member of this kind is in JSON. */
static const char *wanted_type(const ProtobufCFieldDescriptor *field)
{
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return "a list";
    switch ((unsigned)field->type) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
        return "a string";
    case PROTOBUF_C_TYPE_BOOL:
        return "true or false";
    case PROTOBUF_C_TYPE_MESSAGE:
        return "an object";
    default:
        return is_time(field) ? "a time" : "a whole number";
    }
}

static bool has_wanted_type(const ProtobufCFieldDescriptor *field, const json_t *value)
{
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return json_is_array(value) || json_is_object(value);
    switch ((unsigned)field->type) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
        return json_is_string(value);
    case PROTOBUF_C_TYPE_BOOL:
        return json_is_boolean(value);
    case PROTOBUF_C_TYPE_MESSAGE:
        return json_is_object(value);
    default:
        return json_is_integer(value) ||
               (is_time(field) && (json_is_string(value) || json_is_real(value)));
    }
}

/* As it would stand on the line; NULL: out of memory. Lives as long as value and keep. */
static const char *text_of(json_t *value, json_t *keep)
{
    if (json_is_string(value))
        return json_string_value(value);
    KS_CLEANUP(ks_buf_fini) struct ks_buf text;
    ks_buf_init(&text, SIZE_MAX);
    json_t *kept = ctl_json_append(&text, value, JSON_COMPACT)
                       ? json_stringn((const char *)text.data, text.bytes)
                       : NULL;
    return json_array_append_new(keep, kept) == 0 ? json_string_value(kept) : NULL;
}

static enum ks_status apply_member(
    struct ctl_args *args, const char *member, json_t *value, json_t *keep, struct ks_error *err)
{
    const ProtobufCFieldDescriptor *field = field_of(request_of(args->verb), member);
    enum ctl_option_id option = field ? option_of(args->verb, field) : CTL_OPTION_COUNT;
    if (option == CTL_OPTION_COUNT)
        return fail_member(args->verb, member, err);
    if (json_is_null(value) || args->values[option])
        return KS_OK; /* left out, or said on the line */
    if (!has_wanted_type(field, value))
        return ks_fail(
            err, KS_USAGE, 0, "'--cli-input-json': '%s' is to be %s", member, wanted_type(field));
    if (json_is_boolean(value)) {
        args->values[option] = json_is_true(value) ? "" : NULL;
        return KS_OK;
    }
    const char *text = text_of(value, keep);
    if (!text)
        return ks_fail(err, KS_NO_MEMORY, 0, "out of memory");
    args->values[option] = text;
    args->origins[option] = "--cli-input-json";
    if (ctl_option_kind(option) == CTL_LIST && args->item_count < CTL_ITEMS_MAX)
        args->items[args->item_count++] = (struct ctl_item){option, text};
    char from[80];
    snprintf(from, sizeof from, "--cli-input-json: %.50s", member);
    return ctl_option_check(option, from, text, err);
}

enum ks_status ctl_input_apply(
    struct ctl_args *args, json_t *input, json_t *keep, struct ks_error *err)
{
    if (!json_is_object(input))
        return ks_fail(err, KS_USAGE, 0, "'--cli-input-json': an object is needed");
    enum ks_status st = KS_OK;
    for (void *at = json_object_iter(input); !st && at; at = json_object_iter_next(input, at))
        st = apply_member(args, json_object_iter_key(at), json_object_iter_value(at), keep, err);
    return st;
}

/* ---- a request without values ---- */

/* The first of the words a text may be; "" when it may be any. */
static json_t *first_value(
    const ProtobufCMessageDescriptor *message, const ProtobufCFieldDescriptor *field)
{
    for (size_t i = 0; i < ks_rules_count; i++)
        if (ks_rules[i].message == message && strcmp(ks_rules[i].field, field->name) == 0)
            return json_stringn(ks_rules[i].values, strcspn(ks_rules[i].values, ","));
    return json_string("");
}

static json_t *message_skeleton(const ProtobufCMessageDescriptor *message);

static json_t *field_skeleton(
    const ProtobufCMessageDescriptor *message, const ProtobufCFieldDescriptor *field)
{
    switch ((unsigned)field->type) {
    case PROTOBUF_C_TYPE_STRING:
        return first_value(message, field);
    case PROTOBUF_C_TYPE_BYTES:
        return json_null();
    case PROTOBUF_C_TYPE_BOOL:
        return json_true();
    case PROTOBUF_C_TYPE_MESSAGE:
        /* Tags are a map. */
        if (field->descriptor == &kstream__tag__descriptor)
            return json_pack("{s:s}", "KeyName", "");
        return message_skeleton(field->descriptor);
    default:
        return is_time(field) ? json_string("1970-01-01T00:00:00") : json_integer(0);
    }
}

static bool add_skeleton(json_t *object, const ProtobufCMessageDescriptor *message,
    const ProtobufCFieldDescriptor *field)
{
    char name[KS_MEMBER_NAME_BYTES_MAX];
    ks_member_name(field->name, name);
    json_t *value = field_skeleton(message, field);
    bool is_list =
        field->label == PROTOBUF_C_LABEL_REPEATED && field->descriptor != &kstream__tag__descriptor;
    return ctl_json_add(object, name, is_list ? json_pack("[o]", value) : value);
}

static json_t *message_skeleton(const ProtobufCMessageDescriptor *message)
{
    json_t *object = json_object();
    for (unsigned i = 0; i < message->n_fields; i++) {
        if (!add_skeleton(object, message, &message->fields[i])) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

json_t *ctl_input_skeleton(const struct ctl_verb *verb)
{
    const ProtobufCMessageDescriptor *request = request_of(verb);
    json_t *object = json_object();
    for (unsigned i = 0; i < request->n_fields; i++) {
        if (option_of(verb, &request->fields[i]) != CTL_OPTION_COUNT &&
            !add_skeleton(object, request, &request->fields[i])) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}
