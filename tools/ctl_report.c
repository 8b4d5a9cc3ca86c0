/* Errors as people and programs see them. */
#include "tools/ctl.h"

#include <stdio.h>
#include <string.h>

#define EXIT_REFUSED 3 /* --dry-run says no */
#define COLOR_ERROR "\033[1;31m"
#define COLOR_HINT "\033[36m"
#define COLOR_END "\033[0m"

/* The broker has one status for all that is not there. */
static bool is_about_shard(const struct kstream_error *err)
{
    return strncmp(err->text, "Shard ", 6) == 0 || strstr(err->text, "' has no shard ");
}

static const char *hint_of(const struct ctl *ctl, const struct kstream_error *err)
{
    if (ctl->hint)
        return ctl->hint;
    switch ((unsigned)err->status) {
    case KSTREAM_NOT_FOUND:
        if (is_about_shard(err))
            return "kstreamctl list-shards STREAM shows the shards it has";
        return "kstreamctl list-streams shows the streams there are";
    case KSTREAM_EXISTS:
        return "choose another name, or use the stream that is there";
    case KSTREAM_UNAVAILABLE:
        return "is kstreamd running there? If it is starting: kstreamctl status --wait; another "
               "address: --endpoint or KSTREAM_ENDPOINT";
    case KSTREAM_TIMEOUT:
        /* A web server waits for the rest of a request, and says nothing. */
        return err->request_id == 1
                   ? "is that the native port (7420 by default)? --timeout allows more time"
                   : "--timeout allows more time";
    case KSTREAM_PROTOCOL:
        return "is that the native port (7420 by default), and the broker as new as kstreamctl?";
    case KSTREAM_THROTTLED:
        return "try again a little later, or use more shards";
    case KSTREAM_STORAGE_FULL:
        return "free space on the broker's disk; it goes on by itself";
    case KSTREAM_EXPIRED_ITERATOR:
        return "iterators last five minutes: get a new one with kstreamctl get-shard-iterator";
    default:
        return NULL;
    }
}

/* The Kinesis exception where the broker would name one, else the name of the status. */
static const char *code_of(enum kstream_status status)
{
    const char *exception = kstream_status_exception(status);
    bool is_ours = status == KSTREAM_USAGE || status >= KSTREAM_FULL ||
                   strcmp(exception, "InternalFailure") == 0;
    return is_ours && status != KSTREAM_INTERNAL ? kstream_status_name(status) : exception;
}

/* NULL: out of memory. */
static json_t *error_to_json(
    const char *operation, const struct kstream_error *err, const char *hint)
{
    char request[24];
    snprintf(request, sizeof request, "%llu", (unsigned long long)err->request_id);
    return json_pack("{s:{s:s, s:s, s:s, s:s?, s:s?}}", "error", "code", code_of(err->status),
        "operation", operation, "message", err->text[0] ? err->text : kstream_strerror(err->status),
        "hint", hint, "request_id", err->request_id ? request : NULL);
}

/*
 * An error is printed whole as long as the query does not ask for a part of it: "error.code".
 * False: this format has no form for errors, or there is no memory.
 */
static bool print_error(
    const struct ctl *ctl, const char *operation, const struct kstream_error *err, const char *hint)
{
    struct ctl_output output = ctl->output;
    bool is_json = output.format == CTL_OUTPUT_JSON || output.format == CTL_OUTPUT_NDJSON;
    bool is_asked = output.query && jmes_is_about(output.query, "error");
    if (!output.is_chosen || (!is_json && !is_asked))
        return false;
    if (!is_asked)
        output.query = NULL;
    json_t *error = error_to_json(operation, err, hint);
    bool is_printed = error && ctl_output_print(&output, error, NULL, stderr, NULL) == KS_OK;
    json_decref(error);
    return is_printed;
}

int ctl_report(const struct ctl *ctl, const struct kstream_error *err)
{
    const char *operation = ctl->args.verb ? ctl->args.verb->name : "usage";
    int exit_code = ctl->is_refused ? EXIT_REFUSED : kstream_status_exit_code(err->status);
    char usage_hint[80];
    const char *hint = hint_of(ctl, err);
    if (!hint && err->status == KSTREAM_USAGE) {
        snprintf(usage_hint, sizeof usage_hint, "kstreamctl %s%s--help",
            ctl->args.verb ? operation : "", ctl->args.verb ? " " : "");
        hint = usage_hint;
    }
    fflush(stdout);
    if (print_error(ctl, operation, err, hint))
        return exit_code;
    fprintf(stderr, "%skstreamctl:%s %s%s%s", ctl->has_stderr_color ? COLOR_ERROR : "",
        ctl->has_stderr_color ? COLOR_END : "", ctl->args.verb ? operation : "",
        ctl->args.verb ? ": " : "", err->text[0] ? err->text : kstream_strerror(err->status));
    if (err->status != KSTREAM_USAGE) {
        fprintf(stderr, " (code=%s", code_of(err->status));
        if (err->request_id)
            fprintf(stderr, " request=%llu", (unsigned long long)err->request_id);
        fputc(')', stderr);
    }
    fputc('\n', stderr);
    if (hint)
        fprintf(stderr, "%shint:%s %s\n", ctl->has_stderr_color ? COLOR_HINT : "",
            ctl->has_stderr_color ? COLOR_END : "", hint);
    return exit_code;
}
