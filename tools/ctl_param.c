#include "tools/ctl_param.h"

#include "tools/ctl_base64.h"
#include "tools/ctl_shorthand.h"

#include <errno.h>
#include <stdio.h>

#define FILE_PREFIX "file://"
#define FILE_BYTES_PREFIX "fileb://"
#define READ_BYTES (64u << 10)

static enum ks_status fail_memory(struct ks_error *err)
{
    return ks_fail(err, KS_NO_MEMORY, 0, "out of memory");
}

/* The rest of the text behind the prefix; NULL: it does not begin so. */
static const char *behind(const char *text, const char *prefix)
{
    size_t bytes = strlen(prefix);
    return strncmp(text, prefix, bytes) == 0 ? text + bytes : NULL;
}

/* ---- files ---- */

static enum ks_status read_all(
    const char *option, const char *path, FILE *file, struct ks_buf *out, struct ks_error *err)
{
    for (;;) {
        size_t room = KS_MIN((size_t)READ_BYTES, out->bytes_max - out->bytes);
        if (room == 0 && fgetc(file) != EOF)
            return ks_fail(err, KS_USAGE, 0, "'--%s': '%.120s' is larger than %zu bytes", option,
                path, out->bytes_max);
        if (room > 0 && !ks_buf_reserve(out, room))
            return fail_memory(err);
        out->bytes += room ? fread(out->data + out->bytes, 1, room, file) : 0;
        if (ferror(file))
            return ks_fail(err, KS_USAGE, errno, "'--%s': cannot read '%.120s'", option, path);
        if (feof(file))
            return KS_OK;
    }
}

enum ks_status ctl_param_file(
    const char *option, const char *path, struct ks_buf *out, struct ks_error *err)
{
    if (strcmp(path, "-") == 0)
        return read_all(option, "standard input", stdin, out, err);
    FILE *file = fopen(path, "re");
    if (!file)
        return ks_fail(err, KS_USAGE, errno, "'--%s': cannot open '%.120s'", option, path);
    enum ks_status st = read_all(option, path, file, out, err);
    KS_IGNORE(fclose(file), "it was only read");
    return st;
}

/* ---- structures ---- */

static enum ks_status parse_json(
    const char *option, struct ks_view text, json_t **out, struct ks_error *err)
{
    json_error_t error;
    *out = json_loadb((const char *)text.data, text.bytes, JSON_REJECT_DUPLICATES, &error);
    if (*out)
        return KS_OK;
    return ks_fail(err, KS_USAGE, 0, "'--%s': no valid JSON, line %d, column %d: %.120s", option,
        error.line, error.column, error.text);
}

/* What stands in a file, or on the line. */
static enum ks_status take_text(const char *option, const char *text, struct ks_buf *file,
    struct ks_view *out_text, struct ks_error *err)
{
    const char *path = behind(text, FILE_PREFIX);
    if (!path)
        path = behind(text, FILE_BYTES_PREFIX);
    *out_text = ks_view_of_text(text);
    if (!path)
        return KS_OK;
    enum ks_status st = ctl_param_file(option, path, file, err);
    *out_text = ks_view_of(file->data, file->bytes);
    return st;
}

enum ks_status ctl_param_json(
    const char *option, const char *text, json_t **out, struct ks_error *err)
{
    KS_CLEANUP(ks_buf_fini) struct ks_buf file;
    ks_buf_init(&file, CTL_PARAM_BYTES_MAX);
    struct ks_view view;
    enum ks_status st = take_text(option, text, &file, &view, err);
    return st ? st : parse_json(option, view, out, err);
}

enum ks_status ctl_param_structure(
    const char *option, const char *text, json_t **out, struct ks_error *err)
{
    const char *first = text + strspn(text, " \t\r\n");
    if (*first == '{' || *first == '[' || behind(text, FILE_PREFIX) ||
        behind(text, FILE_BYTES_PREFIX))
        return ctl_param_json(option, text, out, err);
    struct ks_error inner = KS_ERROR_INIT;
    enum ks_status st = ctl_shorthand_parse(text, out, &inner);
    return st ? ks_fail(err, st, 0, "'--%s': %s", option, inner.text) : KS_OK;
}

/* ---- bytes ---- */

enum ks_status ctl_param_bytes(
    const char *option, const char *text, bool is_base64, struct ks_buf *out, struct ks_error *err)
{
    const char *path = behind(text, FILE_BYTES_PREFIX);
    if (path)
        return ctl_param_file(option, path, out, err);
    KS_CLEANUP(ks_buf_fini) struct ks_buf file;
    ks_buf_init(&file, CTL_PARAM_BYTES_MAX);
    struct ks_view view;
    enum ks_status st = take_text(option, text, &file, &view, err);
    if (st)
        return st;
    if (!is_base64)
        return ks_buf_append(out, view.data, view.bytes) ? KS_OK : fail_memory(err);
    /* A file that an editor wrote ends with a newline. */
    while (view.bytes > 0 && strchr("\r\n", view.data[view.bytes - 1]))
        view.bytes--;
    return ctl_base64_decode(view, out)
               ? KS_OK
               : ks_fail(err, KS_USAGE, 0, "'--%s %.40s': no valid base64", option, text);
}
