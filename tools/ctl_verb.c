/* What verbs use: errors, numbers, the connection. */
#include "tools/ctl.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define CONNECT_MS 5000u

enum kstream_status ctl_fail(
    struct kstream_error *err, enum kstream_status status, const char *format, ...)
{
    *err = (struct kstream_error)KSTREAM_ERROR_INIT;
    err->status = status;
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    return status;
}

enum kstream_status ctl_fail_from(
    struct kstream_error *err, enum ks_status status, const struct ks_error *from)
{
    if (!status)
        return KSTREAM_OK;
    KS_IGNORE(
        ctl_fail(err, (enum kstream_status)status, "%s", from->text), "filled, returned below");
    err->system_error = from->errnum;
    return (enum kstream_status)status;
}

enum kstream_status ctl_number(const struct ctl *ctl, enum ctl_option_id option,
    struct ctl_range range, uint64_t *out_number, struct kstream_error *err)
{
    struct ks_error inner = KS_ERROR_INIT;
    return ctl_fail_from(
        err, ctl_args_number(&ctl->args, option, range, out_number, &inner), &inner);
}

/* ---- the connection ---- */

/* -v and --debug: what the library tells. */
static void on_log(enum kstream_log_level level, const char *text, void *arg)
{
    (void)level;
    (void)arg;
    fprintf(stderr, "kstreamctl: %s\n", text);
}

/* --debug: what each option is that the command line does not say. */
static void tell_origins(const struct ctl *ctl)
{
    fprintf(stderr, "kstreamctl: endpoint=%s\n", ctl->endpoint);
    for (int i = 0; i < CTL_OPTION_COUNT; i++)
        if (ctl->args.values[i] && ctl->args.origins[i])
            fprintf(stderr, "kstreamctl: option %s=%s from=%s\n",
                ctl_option_name((enum ctl_option_id)i), ctl->args.values[i], ctl->args.origins[i]);
}

static enum kstream_status configure(
    const struct ctl *ctl, struct kstream_config *config, struct kstream_error *err)
{
    enum kstream_status st = kstream_config_set(config, "endpoint", ctl->endpoint, err);
    if (!st && ctl->timeout_ms) {
        char text[16];
        snprintf(text, sizeof text, "%u", ctl->timeout_ms);
        st = kstream_config_set(config, "request_timeout_ms", text, err);
    }
    if (!st && (ctl_has(ctl, CTL_VERBOSE) || ctl_has(ctl, CTL_DEBUG))) {
        kstream_config_set_log(config, on_log, NULL);
        st = kstream_config_set(config, "log_requests", "yes", err);
    }
    return st;
}

/* Whose id --stream-id is. One that is not there is for the verb to find out. */
static enum kstream_status learn_name(struct ctl *ctl, struct kstream_error *err)
{
    if (ctl->stream != ctl->stream_texts[0])
        return KSTREAM_OK;
    struct kstream_stream *about = NULL;
    enum kstream_status st =
        kstream_describe_stream_summary(ctl->client, ctl->stream, NULL, &about, err);
    if (st)
        return st == KSTREAM_NOT_FOUND ? KSTREAM_OK : st;
    snprintf(ctl->stream_texts[1], sizeof ctl->stream_texts[1], "%s", about->stream_name);
    kstream_stream_free(about);
    const char *said = ctl_text(ctl, CTL_STREAM_NAME);
    if (said && strcmp(said, ctl->stream_texts[1]) != 0)
        st = ctl_fail(err, KSTREAM_USAGE, "'--stream-id' names '%.60s', '--stream-name' '%.60s'",
            ctl->stream_texts[1], said);
    ctl->stream_name = ctl->stream_texts[1];
    return st;
}

enum kstream_status ctl_connect_within(
    struct ctl *ctl, uint32_t limit_ms, struct kstream_error *err)
{
    if (ctl->client)
        return KSTREAM_OK;
    struct kstream_config *config = kstream_config_new();
    if (!config)
        return ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
    if (ctl_has(ctl, CTL_DEBUG))
        tell_origins(ctl);
    enum kstream_status st = configure(ctl, config, err);
    if (st) {
        /* An address that cannot be one is the user's mistake, wherever it is noticed. */
        err->status = KSTREAM_USAGE;
        kstream_config_free(config);
        return KSTREAM_USAGE;
    }
    st = kstream_connect(config, limit_ms, &ctl->client, err);
    return st ? st : learn_name(ctl, err);
}

enum kstream_status ctl_connect(struct ctl *ctl, struct kstream_error *err)
{
    return ctl_connect_within(ctl, ctl->timeout_ms ? ctl->timeout_ms : CONNECT_MS, err);
}
