#include "daemon/http_request.h"

#include <string.h>
#include <strings.h>

/* ---- pieces ---- */

/* RFC 9110, 5.6.2. */
static bool is_token(struct ks_view view)
{
    for (size_t i = 0; i < view.bytes; i++) {
        uint8_t c = view.data[i];
        bool is_word = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (!is_word && (c == '\0' || !strchr("!#$%&'*+-.^_`|~", c)))
            return false;
    }
    return view.bytes > 0;
}

static bool is_printable(struct ks_view view)
{
    for (size_t i = 0; i < view.bytes; i++)
        if ((view.data[i] < ' ' && view.data[i] != '\t') || view.data[i] == 0x7f)
            return false;
    return true;
}

static bool view_is_word(struct ks_view view, const char *word)
{
    return view.bytes == strlen(word) &&
           strncasecmp((const char *)view.data, word, view.bytes) == 0;
}

static struct ks_view view_cut(struct ks_view *rest, size_t bytes, size_t gap)
{
    struct ks_view cut = ks_view_of(rest->data, bytes);
    rest->data += bytes + gap;
    rest->bytes -= bytes + gap;
    return cut;
}

/* Up to the separator, which is left out; false: there is none. */
static bool view_cut_at(struct ks_view *rest, char separator, struct ks_view *out)
{
    const uint8_t *end = rest->bytes > 0 ? memchr(rest->data, separator, rest->bytes) : NULL;
    if (!end)
        return false;
    *out = view_cut(rest, (size_t)(end - rest->data), 1);
    return true;
}

static struct ks_view view_trim(struct ks_view view)
{
    while (view.bytes > 0 && (view.data[0] == ' ' || view.data[0] == '\t'))
        view_cut(&view, 1, 0);
    while (
        view.bytes > 0 && (view.data[view.bytes - 1] == ' ' || view.data[view.bytes - 1] == '\t'))
        view.bytes--;
    return view;
}

/* ---- lines ---- */

/* A line without its end; false: it has none yet. */
static bool line_cut(struct ks_view *rest, struct ks_view *out)
{
    if (!view_cut_at(rest, '\n', out))
        return false;
    if (out->bytes > 0 && out->data[out->bytes - 1] == '\r')
        out->bytes--;
    return true;
}

/* "/path?query" or "http://host/path?query". */
static bool target_read(struct ks_view target, struct ks_http_request *out)
{
    struct ks_view unused;
    if (target.bytes > 7 && strncasecmp((const char *)target.data, "http://", 7) == 0) {
        view_cut(&target, 7, 0);
        target = view_cut_at(&target, '/', &unused) ? ks_view_of(target.data - 1, target.bytes + 1)
                                                    : ks_view_of_text("/");
    }
    if (target.bytes == 0 || target.data[0] != '/')
        return false;
    out->path = target;
    if (view_cut_at(&target, '?', &unused))
        out->path = unused;
    return true;
}

static bool request_line_read(struct ks_view line, struct ks_http_request *out)
{
    struct ks_view target;
    if (!view_cut_at(&line, ' ', &out->method) || !is_token(out->method) ||
        !view_cut_at(&line, ' ', &target) || !is_printable(target) || !target_read(target, out))
        return false;
    out->keeps_open = view_is_word(line, "HTTP/1.1");
    return out->keeps_open || view_is_word(line, "HTTP/1.0");
}

static void connection_read(struct ks_view value, struct ks_http_request *out)
{
    for (bool has_more = true; has_more;) {
        struct ks_view option = value;
        has_more = view_cut_at(&value, ',', &option);
        option = view_trim(option);
        if (view_is_word(option, "close"))
            out->keeps_open = false;
        else if (view_is_word(option, "keep-alive"))
            out->keeps_open = true;
    }
}

static bool header_read(struct ks_view line, struct ks_http_request *out)
{
    struct ks_view name;
    if (!view_cut_at(&line, ':', &name) || !is_token(name) || !is_printable(line))
        return false;
    struct ks_view value = view_trim(line);
    if (view_is_word(name, "Connection"))
        connection_read(value, out);
    else if (view_is_word(name, "Transfer-Encoding"))
        out->has_body = true;
    else if (view_is_word(name, "Content-Length") && !view_is_word(value, "0"))
        out->has_body = true;
    return true;
}

enum ks_http_parsed ks_http_request_parse(struct ks_view bytes, struct ks_http_request *out)
{
    struct ks_view rest = bytes;
    struct ks_view line;
    const enum ks_http_parsed unended =
        bytes.bytes >= KS_HTTP_HEAD_BYTES_MAX ? KS_HTTP_TOO_LARGE : KS_HTTP_MORE;
    *out = (struct ks_http_request){.has_body = false};
    /* RFC 9112, 2.2: an empty line before the request is passed over. */
    do {
        if (!line_cut(&rest, &line))
            return unended;
    } while (line.bytes == 0);
    if (!request_line_read(line, out))
        return KS_HTTP_BAD;
    for (;;) {
        if (!line_cut(&rest, &line))
            return unended;
        if (line.bytes == 0)
            break;
        if (!header_read(line, out))
            return KS_HTTP_BAD;
    }
    out->head_bytes = bytes.bytes - rest.bytes;
    return out->head_bytes > KS_HTTP_HEAD_BYTES_MAX ? KS_HTTP_TOO_LARGE : KS_HTTP_WHOLE;
}
