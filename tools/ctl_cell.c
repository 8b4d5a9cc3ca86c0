#include "tools/ctl_cell.h"

#include "tools/ctl_json.h"
#include "tools/ctl_time.h"

static bool ends_with(const char *text, const char *end)
{
    size_t text_bytes = strlen(text);
    size_t end_bytes = strlen(end);
    return text_bytes >= end_bytes && strcmp(text + text_bytes - end_bytes, end) == 0;
}

bool ctl_is_time_title(const char *title)
{
    return ends_with(title, "Timestamp") || ends_with(title, "_time");
}

static bool append_json(struct ks_buf *text, json_t *value)
{
    return ctl_json_append(text, value, JSON_COMPACT);
}

static bool append_string(struct ks_buf *text, const json_t *value)
{
    return ks_buf_append(text, json_string_value(value), json_string_length(value));
}

/* The same moment in local time; anything else stays as it is. */
static bool append_time(struct ks_buf *text, const char *utc)
{
    uint64_t unix_ms = 0;
    char local[CTL_TIME_TEXT_BYTES];
    if (ctl_time_from_text(utc, 0, &unix_ms, NULL))
        return ks_buf_append_text(text, utc);
    ctl_time_to_local(unix_ms, local);
    return ks_buf_append_text(text, local);
}

static bool append_list(struct ks_buf *text, const char *title, json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_is_object(json_array_get(list, i)) || json_is_array(json_array_get(list, i)))
            return ks_buf_printf(text, "[%zu]", json_array_size(list));
    for (size_t i = 0; i < json_array_size(list); i++)
        if ((i > 0 && !ks_buf_append_text(text, ", ")) ||
            !ctl_cell_for_people(text, title, json_array_get(list, i)))
            return false;
    return true;
}

bool ctl_cell_for_people(struct ks_buf *text, const char *title, json_t *value)
{
    if (json_is_string(value))
        return ctl_is_time_title(title) ? append_time(text, json_string_value(value))
                                        : append_string(text, value);
    if (json_is_array(value))
        return append_list(text, title, value);
    return !value || json_is_null(value) || append_json(text, value);
}

bool ctl_cell_for_programs(struct ks_buf *text, json_t *value)
{
    if (json_is_string(value))
        return append_string(text, value);
    return !value || json_is_null(value) || append_json(text, value);
}

bool ctl_cell_as_aws(struct ks_buf *text, json_t *value)
{
    if (json_is_string(value))
        return append_string(text, value);
    if (json_is_boolean(value))
        return ks_buf_append_text(text, json_is_true(value) ? "True" : "False");
    if (json_is_null(value))
        return ks_buf_append_text(text, "None");
    return !value || append_json(text, value);
}
