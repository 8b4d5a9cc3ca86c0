#include "tools/ctl_query.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static enum ks_status refuse(struct ks_error *err, const char *text)
{
    return ks_fail(err, KS_USAGE, 0,
        "'--query %.80s': only a plain path of members and indexes such as Shards[0].ShardId is "
        "supported",
        text);
}

/* A bare name, or one in double quotes. Moves *at behind it. */
static bool take_name(const char **at, char name[CTL_QUERY_NAME_BYTES])
{
    const char *from = *at;
    size_t bytes = 0;
    if (*from == '"') {
        from++;
        bytes = strcspn(from, "\"\\");
        if (from[bytes] != '"')
            return false;
        *at = from + bytes + 1;
    } else {
        if (!isalpha((unsigned char)*from) && *from != '_')
            return false;
        while (isalnum((unsigned char)from[bytes]) || from[bytes] == '_')
            bytes++;
        *at = from + bytes;
    }
    if (bytes == 0 || bytes >= CTL_QUERY_NAME_BYTES)
        return false;
    memcpy(name, from, bytes);
    name[bytes] = '\0';
    return true;
}

/* "[3]" or "[-1]". */
static bool take_index(const char **at, long *out_index)
{
    const char *from = *at + 1;
    if (!isdigit((unsigned char)from[from[0] == '-']))
        return false;
    char *end = NULL;
    *out_index = strtol(from, &end, 10);
    if (*end != ']' || end - from > 9)
        return false;
    *at = end + 1;
    return true;
}

enum ks_status ctl_query_parse(const char *text, struct ctl_query *out_query, struct ks_error *err)
{
    memset(out_query, 0, sizeof *out_query);
    if (strcmp(text, "@") == 0)
        return KS_OK;
    const char *at = text;
    do {
        if (out_query->step_count == CTL_QUERY_STEPS_MAX)
            return refuse(err, text);
        struct ctl_query_step *step = &out_query->steps[out_query->step_count++];
        bool is_first = out_query->step_count == 1;
        if (*at == '[') {
            step->is_index = true;
            if (!take_index(&at, &step->index))
                return refuse(err, text);
            continue;
        }
        if (!is_first && *at++ != '.')
            return refuse(err, text);
        if (!take_name(&at, step->name))
            return refuse(err, text);
    } while (*at);
    return KS_OK;
}

json_t *ctl_query_apply(const struct ctl_query *query, json_t *value)
{
    for (size_t i = 0; i < query->step_count && value; i++) {
        const struct ctl_query_step *step = &query->steps[i];
        if (!step->is_index) {
            value = json_object_get(value, step->name);
            continue;
        }
        long index = step->index < 0 ? step->index + (long)json_array_size(value) : step->index;
        value = index < 0 ? NULL : json_array_get(value, (size_t)index);
    }
    return value ? value : json_null();
}

const char *ctl_query_last_name(const struct ctl_query *query)
{
    for (size_t i = query->step_count; i > 0; i--)
        if (!query->steps[i - 1].is_index)
            return query->steps[i - 1].name;
    return "";
}
