#include "tools/ctl_text.h"

#include "base/alloc.h"
#include "proto/limits.h"
#include "tools/ctl_cell.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* A line holds at most an answer. */
#define LINE_BYTES_MAX (4 * (size_t)KS_FRAME_BYTES_MAX)

struct writer {
    FILE *to;
    struct ks_buf line;
};

static bool is_plain(const json_t *value)
{
    return !json_is_object(value) && !json_is_array(value);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The members' names, sorted; with a NULL behind the last. NULL: out of memory. */
static const char **sorted_names(json_t *object)
{
    // NOLINTNEXTLINE(bugprone-sizeof-expression): an array of pointers is meant
    const char **names = ks_calloc(json_object_size(object) + 1, sizeof *names);
    size_t count = 0;
    for (void *at = names ? json_object_iter(object) : NULL; at;
         at = json_object_iter_next(object, at))
        names[count++] = json_object_iter_key(at);
    if (count > 1)
        // NOLINTNEXTLINE(bugprone-sizeof-expression): an array of pointers is meant
        qsort(names, count, sizeof *names, compare_names);
    return names;
}

/* A line ends: what it holds goes out. */
static void end_line(struct writer *writer)
{
    if (writer->line.bytes > 0) /* none ever: no buffer either */
        fwrite(writer->line.data, 1, writer->line.bytes, writer->to);
    fputc('\n', writer->to);
    writer->line.bytes = 0;
}

static bool add_label(struct writer *writer, const char *label)
{
    bool is_fine = true;
    for (; is_fine && *label; label++) {
        char letter = (char)toupper((unsigned char)*label);
        is_fine = ks_buf_append(&writer->line, &letter, 1);
    }
    return is_fine;
}

/* value NULL: a member that only others have. */
static bool add_plain(struct writer *writer, json_t *value, bool is_first)
{
    return (is_first || ks_buf_append_text(&writer->line, "\t")) &&
           ctl_cell_as_aws(&writer->line, value);
}

static bool write_value(struct writer *writer, json_t *value, const char *label, json_t *columns);

/* columns: the plain members of all objects of the list it is in; NULL: it is in none. */
static bool write_object(struct writer *writer, json_t *object, const char *label, json_t *columns)
{
    KS_AUTO_FREE const char **names = sorted_names(columns ? columns : object);
    KS_AUTO_FREE const char **own = sorted_names(object);
    if (!names || !own)
        return false;
    bool is_begun = label && names[0];
    bool is_fine = !label || add_label(writer, label);
    bool has_plain = false;
    for (size_t i = 0; is_fine && names[i]; i++) {
        json_t *member = json_object_get(object, names[i]);
        if (!columns && !is_plain(member))
            continue;
        is_fine = add_plain(writer, member, !is_begun);
        is_begun = true;
        has_plain = true;
    }
    if (has_plain)
        end_line(writer);
    writer->line.bytes = 0;
    for (size_t i = 0; is_fine && own[i]; i++) {
        json_t *member = json_object_get(object, own[i]);
        bool is_shown = columns ? json_object_get(columns, own[i]) != NULL : is_plain(member);
        if (!is_shown)
            is_fine = write_value(writer, member, own[i], NULL);
    }
    return is_fine;
}

/* The names of plain members that any object of the list has. */
static json_t *plain_names(json_t *list)
{
    json_t *names = json_object();
    bool is_fine = names != NULL;
    for (size_t i = 0; is_fine && i < json_array_size(list); i++) {
        json_t *item = json_array_get(list, i);
        for (void *at = json_object_iter(item); is_fine && at; at = json_object_iter_next(item, at))
            if (is_plain(json_object_iter_value(at)))
                is_fine = json_object_set_new(names, json_object_iter_key(at), json_null()) == 0;
    }
    if (is_fine)
        return names;
    json_decref(names);
    return NULL;
}

/* The plain items: a line each behind a label, else all on one. */
static bool write_plain_items(struct writer *writer, json_t *list, const char *label)
{
    bool is_fine = true;
    bool is_first = true;
    for (size_t i = 0; is_fine && i < json_array_size(list); i++) {
        json_t *item = json_array_get(list, i);
        if (!is_plain(item))
            continue;
        if (label)
            is_fine = add_label(writer, label);
        is_fine = is_fine && add_plain(writer, item, !label && is_first);
        is_first = false;
        if (label)
            end_line(writer);
    }
    if (!label && !is_first)
        end_line(writer);
    return is_fine;
}

static bool has_some(json_t *list, json_type type)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_typeof(json_array_get(list, i)) == type)
            return true;
    return false;
}

static bool write_objects(struct writer *writer, json_t *list, const char *label)
{
    json_t *columns = plain_names(list);
    bool is_fine = columns != NULL;
    for (size_t i = 0; is_fine && i < json_array_size(list); i++)
        is_fine = write_value(writer, json_array_get(list, i), label, columns);
    json_decref(columns);
    return is_fine;
}

static bool write_list(struct writer *writer, json_t *list, const char *label)
{
    if (has_some(list, JSON_OBJECT))
        return write_objects(writer, list, label);
    bool is_fine = write_plain_items(writer, list, label);
    for (size_t i = 0; is_fine && i < json_array_size(list); i++)
        if (json_is_array(json_array_get(list, i)))
            is_fine = write_list(writer, json_array_get(list, i), label);
    return is_fine;
}

static bool write_value(struct writer *writer, json_t *value, const char *label, json_t *columns)
{
    if (json_is_object(value))
        return write_object(writer, value, label, columns);
    if (json_is_array(value))
        return write_list(writer, value, label);
    bool is_fine = add_plain(writer, value, true);
    end_line(writer);
    return is_fine;
}

static enum ks_status fail_memory(struct ks_error *err)
{
    return ks_fail(err, KS_NO_MEMORY, 0, "no memory to print the result");
}

enum ks_status ctl_text_print(json_t *value, FILE *to, struct ks_error *err)
{
    struct writer writer = {.to = to};
    ks_buf_init(&writer.line, LINE_BYTES_MAX);
    bool is_fine = write_value(&writer, value, NULL, NULL);
    ks_buf_fini(&writer.line);
    return is_fine ? KS_OK : fail_memory(err);
}

enum ks_status ctl_text_print_rows(const struct ctl_rows *rows, FILE *to, struct ks_error *err)
{
    struct writer writer = {.to = to};
    ks_buf_init(&writer.line, LINE_BYTES_MAX);
    bool is_fine = true;
    for (size_t row = 0; is_fine && row < ctl_rows_count(rows); row++) {
        for (size_t i = 0; is_fine && i < ctl_rows_column_count(rows); i++)
            is_fine = add_plain(&writer, ctl_rows_cell(rows, row, i), i == 0);
        end_line(&writer);
    }
    ks_buf_fini(&writer.line);
    return is_fine ? KS_OK : fail_memory(err);
}
