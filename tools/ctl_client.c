/* The verbs about kstreamctl itself: help, version. */
#include "tools/ctl.h"
#include "tools/ctl_help.h"

#include <stdio.h>
#include <string.h>

static enum kstream_status fail_memory(struct kstream_error *err)
{
    return ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
}

enum kstream_status ctl_run_help(struct ctl *ctl, struct kstream_error *err)
{
    if (!ctl_wants_prose(ctl)) {
        ctl->result = ctl_help_json();
        return ctl->result ? KSTREAM_OK : fail_memory(err);
    }
    char topic[64] = "";
    size_t bytes = 0;
    for (size_t i = 0; ctl_args_item(&ctl->args, CTL_TOPIC, i) && bytes < sizeof topic; i++)
        bytes += (size_t)snprintf(topic + bytes, sizeof topic - bytes, "%s%s", i ? " " : "",
            ctl_args_item(&ctl->args, CTL_TOPIC, i));
    if (!topic[0]) {
        ctl_help_overview(stdout);
    } else if (!ctl_help_topic(stdout, topic)) {
        ctl->hint = "kstreamctl help commands lists them";
        return ctl_fail(err, KSTREAM_USAGE, "unknown command or topic '%s'", topic);
    }
    return KSTREAM_OK;
}

enum kstream_status ctl_run_version(struct ctl *ctl, struct kstream_error *err)
{
    if (ctl_wants_prose(ctl)) {
        printf("kstreamctl %s\n", kstream_version());
        return KSTREAM_OK;
    }
    ctl->result = json_pack("{s:s}", "version", kstream_version());
    return ctl->result ? KSTREAM_OK : fail_memory(err);
}
