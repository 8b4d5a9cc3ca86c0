#include "tools/ctl_dry_run.h"

#include "proto/rules.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NAME_BYTES_MAX 256

enum kstream_status ctl_would(struct ctl *ctl, struct kstream_error *err, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    ctl->result = json_pack("{s:b, s:o}", "dry_run", 1, "would", ctl_json_text(text));
    return ctl->result ? KSTREAM_OK : ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
}

enum kstream_status ctl_would_not(struct ctl *ctl, enum kstream_status st)
{
    switch ((unsigned)st) {
    case KSTREAM_UNAVAILABLE:
    case KSTREAM_TIMEOUT:
    case KSTREAM_PROTOCOL:
    case KSTREAM_STOPPING:
    case KSTREAM_NO_MEMORY:
    case KSTREAM_USAGE:
        return st;
    default:
        ctl->is_refused = true;
        if (!ctl->hint)
            ctl->hint = "this was a dry run: nothing has changed";
        return st;
    }
}

enum kstream_status ctl_confirm(
    struct ctl *ctl, const char *what, const char *name, struct kstream_error *err)
{
    if (ctl_has(ctl, CTL_YES))
        return KSTREAM_OK;
    if (!isatty(STDIN_FILENO)) {
        ctl->hint = "add --yes to do it without being asked, or --dry-run to see what it would do";
        return ctl_fail(err, KSTREAM_USAGE, "'%.128s': this deletes %s", name, what);
    }
    fprintf(stderr, "This deletes %s. Type the name to go on: ", what);
    char line[NAME_BYTES_MAX] = "";
    if (!fgets(line, sizeof line, stdin))
        line[0] = '\0';
    line[strcspn(line, "\n")] = '\0';
    if (strcmp(line, name) == 0)
        return KSTREAM_OK;
    ctl->hint = "nothing has changed";
    return ctl_fail(err, KSTREAM_USAGE, "that is not '%.128s'", name);
}

enum kstream_status ctl_check_request(
    const struct ProtobufCMessage *request, struct kstream_error *err)
{
    KS_CLEANUP(ks_buf_fini) struct ks_buf text;
    ks_buf_init(&text, KS_RULES_TEXT_BYTES_MAX);
    enum ks_status st = ks_rules_check(request, &text);
    if (!st)
        return KSTREAM_OK;
    return ctl_fail(err, (enum kstream_status)st, "%s",
        st == KS_VALIDATION ? (const char *)text.data : "out of memory");
}
