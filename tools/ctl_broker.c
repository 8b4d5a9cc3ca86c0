/* The verbs about the broker as a whole. */
#include "client/kstream_admin.h"
#include "tools/ctl.h"

#include <string.h>

enum kstream_status ctl_run_confirm_clock(struct ctl *ctl, struct kstream_error *err)
{
    struct kstream_clock_info info = KSTREAM_CLOCK_INFO_INIT;
    enum kstream_status st = ctl_connect(ctl, err);
    if (!st)
        st = kstream_confirm_clock(ctl->client, ctl->timeout_ms, &info, err);
    if (st)
        return st;
    ctl->result = json_pack("{s:o, s:f, s:b, s:f, s:s}", "clock", ctl_json_time(info.clock_unix_ms),
        "stepped_seconds", (double)info.step_ms / 1000, "was_retention_held",
        info.was_retention_held, "retention_behind_seconds",
        (double)info.retention_behind_ms / 1000, "why", info.why);
    return ctl->result ? KSTREAM_OK : ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
}

/* ---- config show ---- */

/* What the options ask to see of each setting. */
struct config_view {
    bool with_defaults;
    bool with_origin;
    bool with_next; /* something waits for a restart */
};

static bool setting_is_shown(
    const struct kstream_broker_setting *setting, const struct config_view *view)
{
    return view->with_defaults || strcmp(setting->origin, "default") != 0 || setting->next_value;
}

static json_t *setting_to_json(
    const struct kstream_broker_setting *setting, const struct config_view *view)
{
    json_t *object = json_object();
    bool is_fine = ctl_json_add(object, "key", ctl_json_text(setting->key)) &&
                   ctl_json_add(object, "value", ctl_json_text(setting->value));
    if (is_fine && view->with_next)
        is_fine = ctl_json_add(object, "after_restart",
            setting->next_value ? ctl_json_text(setting->next_value) : json_null());
    if (is_fine && view->with_origin)
        is_fine = ctl_json_add(object, "origin", ctl_json_text(setting->origin)) &&
                  ctl_json_add(object, "where", ctl_json_text(setting->where));
    if (is_fine)
        return object;
    json_decref(object);
    return NULL;
}

static json_t *settings_to_json(
    const struct kstream_broker_setting_list *list, const struct config_view *view)
{
    json_t *settings = json_array();
    for (size_t i = 0; settings && i < list->setting_count; i++) {
        if (!setting_is_shown(&list->settings[i], view))
            continue;
        if (json_array_append_new(settings, setting_to_json(&list->settings[i], view)) != 0) {
            json_decref(settings);
            return NULL;
        }
    }
    return settings;
}

enum kstream_status ctl_run_config_show(struct ctl *ctl, struct kstream_error *err)
{
    struct config_view view = {
        .with_defaults = ctl_has(ctl, CTL_EFFECTIVE), .with_origin = ctl_has(ctl, CTL_ORIGIN)};
    struct kstream_broker_setting_list *list = NULL;
    enum kstream_status st = ctl_connect(ctl, err);
    if (!st)
        st = kstream_describe_config(ctl->client, ctl->timeout_ms, &list, err);
    if (st)
        return st;
    for (size_t i = 0; i < list->setting_count; i++)
        view.with_next = view.with_next || list->settings[i].next_value;
    ctl->result = json_pack("{s:o}", "settings", settings_to_json(list, &view));
    ctl->list_member = "settings";
    kstream_broker_setting_list_free(list);
    return ctl->result ? KSTREAM_OK : ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
}
