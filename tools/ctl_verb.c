/* What verbs use: errors, numbers, the connection. */
#include "tools/ctl.h"

#include <stdarg.h>
#include <stdio.h>

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

enum kstream_status ctl_connect(struct ctl *ctl, struct kstream_error *err)
{
    if (ctl->client)
        return KSTREAM_OK;
    struct kstream_config *config = kstream_config_new();
    if (!config)
        return ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
    enum kstream_status st = kstream_config_set(config, "endpoint", ctl->endpoint, err);
    if (!st && ctl->timeout_ms) {
        char text[16];
        snprintf(text, sizeof text, "%u", ctl->timeout_ms);
        st = kstream_config_set(config, "request_timeout_ms", text, err);
    }
    if (st) {
        /* An address that cannot be one is the user's mistake, wherever it is noticed. */
        err->status = KSTREAM_USAGE;
        kstream_config_free(config);
        return KSTREAM_USAGE;
    }
    return kstream_connect(
        config, ctl->timeout_ms ? ctl->timeout_ms : CONNECT_MS, &ctl->client, err);
}
