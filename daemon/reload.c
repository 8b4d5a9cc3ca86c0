#include "daemon/reload.h"

#include "base/alloc.h"

#include <stdio.h>
#include <string.h>

#define CHANGES_TEXT_BYTES 300 /* fits an event's fields */

/* Changes as a list of texts, told in as many events as it takes. */
struct changes {
    const struct ks_events *events;
    const char *event;
    bool is_live; /* which kind of keys */
    unsigned count;
    size_t bytes;
    char text[CHANGES_TEXT_BYTES];
};

static void changes_tell(struct changes *changes)
{
    if (changes->bytes > 0)
        ks_emit(changes->events, KS_LEVEL_NOTICE, changes->event, "keys=\"%s\"", changes->text);
    changes->bytes = 0;
}

static void changes_add(void *arg, const struct ks_config_change *change)
{
    struct changes *changes = arg;
    char text[CHANGES_TEXT_BYTES];
    if (change->is_live != changes->is_live)
        return;
    int n =
        snprintf(text, sizeof(text), "%s: %.100s -> %.100s", change->key, change->from, change->to);
    KS_ASSERT(n > 0 && (size_t)n < sizeof(text));
    if (changes->bytes + (size_t)n + 2 >= sizeof(changes->text))
        changes_tell(changes);
    changes->bytes += (size_t)snprintf(changes->text + changes->bytes,
        sizeof(changes->text) - changes->bytes, "%s%s", changes->bytes > 0 ? ", " : "", text);
    changes->count++;
}

static unsigned changes_report(
    const struct ks_reload *reload, const struct ks_config *fresh, const char *event, bool is_live)
{
    struct changes changes = {
        .events = &reload->logger->events, .event = event, .is_live = is_live};
    ks_config_diff(reload->server->running, fresh, changes_add, &changes);
    changes_tell(&changes);
    return changes.count;
}

enum ks_status ks_reload_run(const struct ks_reload *reload)
{
    const struct ks_events *events = &reload->logger->events;
    struct ks_error error = KS_ERROR_INIT;
    enum ks_config_action action;
    KS_AUTO_FREE struct ks_config *fresh = ks_zalloc(sizeof(*fresh));
    enum ks_status st = KS_NO_MEMORY;
    if (fresh)
        st = ks_config_load(reload->sources, fresh, &action, &error);
    if (st) {
        ks_emit(events, KS_LEVEL_ERROR, "config.reload_failed",
            "why=\"%s\" text=\"nothing was changed\"",
            error.text[0] ? error.text : ks_status_info(st)->text);
        return st;
    }
    ks_server_apply(reload->server, fresh);
    /* Whoever silences the log with this very reload shall still read what it did. */
    ks_logger_set(reload->logger, (enum ks_log_format)fresh->log_format,
        (enum ks_level)ks_min_u64(
            KS_LEVEL_NOTICE, ks_min_u64(fresh->log_level, reload->server->running->log_level)));
    unsigned changed = changes_report(reload, fresh, "config.changed", true);
    unsigned waiting = changes_report(reload, fresh, "config.needs_restart", false);
    ks_emit(
        events, KS_LEVEL_NOTICE, "config.reloaded", "changed=%u need_restart=%u", changed, waiting);
    ks_logger_set(
        reload->logger, (enum ks_log_format)fresh->log_format, (enum ks_level)fresh->log_level);
    KS_LOCK_SCOPE(&reload->server->settings_mu);
    ks_config_copy_live(fresh, reload->server->running);
    *reload->server->latest = *fresh;
    return KS_OK;
}
