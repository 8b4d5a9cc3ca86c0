#include "tools/ctl_output.h"

#include "base/alloc.h"
#include "tools/ctl_json.h"
#include "tools/ctl_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define JSON_FLAGS (JSON_INDENT(4) | JSON_ENCODE_ANY)

enum ks_status ctl_output_format_from_text(
    const char *text, enum ctl_output_format *out_format, struct ks_error *err)
{
    static const char *const names[] = {
        [CTL_OUTPUT_TABLE] = "table",
        [CTL_OUTPUT_JSON] = "json",
        [CTL_OUTPUT_TEXT] = "text",
        [CTL_OUTPUT_NONE] = "none",
    };
    for (size_t i = 0; i < KS_COUNT_OF(names); i++) {
        if (strcmp(names[i], text) == 0) {
            *out_format = (enum ctl_output_format)i;
            return KS_OK;
        }
    }
    return ks_fail(err, KS_USAGE, 0, "'--output %.40s': table, json, text or none is needed", text);
}

/* ---- text: the rules of the aws CLI ---- */

static void text_scalar(FILE *to, const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_STRING:
        fwrite(json_string_value(value), 1, json_string_length(value), to);
        break;
    case JSON_INTEGER:
        fprintf(to, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        break;
    case JSON_REAL:
        fprintf(to, "%.15g", json_real_value(value));
        break;
    case JSON_TRUE:
        fputs("True", to);
        break;
    case JSON_FALSE:
        fputs("False", to);
        break;
    case JSON_NULL:
    case JSON_OBJECT:
    case JSON_ARRAY:
    default:
        fputs("None", to);
        break;
    }
}

static bool is_scalar(const json_t *value)
{
    return !json_is_object(value) && !json_is_array(value);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The members' names, sorted, in an array to free; NULL without memory or members. */
static const char **sorted_names(json_t *object, size_t *out_count)
{
    size_t size = json_object_size(object);
    *out_count = 0;
    if (size == 0)
        return NULL;
    const char **names = ks_calloc(size, sizeof *names);
    if (!names)
        return NULL;
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value) names[(*out_count)++] = name;
    qsort(names, *out_count, sizeof *names, compare_texts);
    return names;
}

static void text_value(FILE *to, json_t *value, const char *label);

static void text_label(FILE *to, const char *label)
{
    for (; *label; label++)
        fputc(*label >= 'a' && *label <= 'z' ? *label - 'a' + 'A' : *label, to);
}

/* A line of the scalars, then the rest, each under its own name. columns NULL: the object's own. */
static void text_object(FILE *to, json_t *object, const char *label, json_t *columns)
{
    size_t count = 0;
    KS_AUTO_FREE const char **names = sorted_names(columns ? columns : object, &count);
    bool is_begun = false;
    for (size_t i = 0; i < count; i++) {
        const json_t *member = json_object_get(object, names[i]);
        if (!columns && !is_scalar(member))
            continue;
        if (!is_begun && label[0])
            text_label(to, label);
        if (is_begun || label[0])
            fputc('\t', to);
        is_begun = true;
        if (member && is_scalar(member))
            text_scalar(to, member);
        else
            fputs("None", to);
    }
    if (is_begun)
        fputc('\n', to);
    size_t own_count = 0;
    KS_AUTO_FREE const char **own_names = sorted_names(object, &own_count);
    for (size_t i = 0; i < own_count; i++) {
        json_t *member = json_object_get(object, own_names[i]);
        if (!is_scalar(member))
            text_value(to, member, own_names[i]);
    }
}

/* The scalar members that any object of the array has. */
static json_t *text_columns(json_t *array)
{
    json_t *columns = json_object();
    size_t index;
    json_t *item;
    json_array_foreach(array, index, item)
    {
        const char *name;
        json_t *member;
        json_object_foreach(item, name, member) if (is_scalar(member))
            KS_IGNORE(json_object_set_new(columns, name, json_null()), "a missing column shows");
    }
    return columns;
}

static void text_array(FILE *to, json_t *array, const char *label)
{
    bool has_only_scalars = true;
    size_t index;
    json_t *item;
    json_array_foreach(array, index, item) has_only_scalars = has_only_scalars && is_scalar(item);
    if (has_only_scalars) {
        json_array_foreach(array, index, item)
        {
            if (label[0])
                text_label(to, label);
            if (label[0] || index > 0)
                fputc('\t', to);
            text_scalar(to, item);
            if (label[0])
                fputc('\n', to);
        }
        if (!label[0] && json_array_size(array) > 0)
            fputc('\n', to);
        return;
    }
    json_t *columns = text_columns(array);
    json_array_foreach(array, index, item)
    {
        if (json_is_object(item))
            text_object(to, item, label, columns);
        else
            text_value(to, item, label);
    }
    json_decref(columns);
}

static void text_value(FILE *to, json_t *value, const char *label)
{
    if (json_is_object(value)) {
        text_object(to, value, label, NULL);
    } else if (json_is_array(value)) {
        text_array(to, value, label);
    } else {
        text_scalar(to, value);
        fputc('\n', to);
    }
}

/* ---- all of them ---- */

static enum ks_status print_value(const struct ctl_output *output, json_t *value, const char *title,
    FILE *to, struct ks_error *err)
{
    errno = 0;
    switch (output->format) {
    case CTL_OUTPUT_NONE:
        return KS_OK;
    case CTL_OUTPUT_JSON:
        if (json_dumpf(value, to, JSON_FLAGS | ctl_json_real_flags(value)) == 0)
            fputc('\n', to);
        break;
    case CTL_OUTPUT_TEXT:
        text_value(to, value, "");
        break;
    case CTL_OUTPUT_TABLE: {
        struct ctl_table_options options = {
            .title = title, .no_header = output->no_header, .width = output->width};
        enum ks_status st = ctl_table_print(value, &options, to, err);
        if (st)
            return st;
        break;
    }
    }
    if (fflush(to) != 0 || ferror(to))
        return ks_fail(err, KS_IO, errno, "cannot write the result");
    return KS_OK;
}

enum ks_status ctl_output_print(const struct ctl_output *output, json_t *value,
    const char *table_member, FILE *to, struct ks_error *err)
{
    if (output->query) {
        json_t *picked = NULL;
        struct ks_error inner = KS_ERROR_INIT;
        enum ks_status st = jmes_search(output->query, value, 0, &picked, &inner);
        if (st)
            st = ks_fail(err, st, 0, "--query: %s", inner.text);
        else
            st = print_value(output, picked, jmes_title(output->query), to, err);
        json_decref(picked);
        return st;
    }
    if (output->format == CTL_OUTPUT_TABLE && table_member && json_object_get(value, table_member))
        value = json_object_get(value, table_member);
    return print_value(output, value, table_member ? table_member : "", to, err);
}
