/* What the options of every verb say, and where they come from when the command line does not. */
#include "base/alloc.h"
#include "tools/ctl.h"
#include "tools/ctl_color.h"
#include "tools/ctl_input.h"
#include "tools/ctl_param.h"
#include "tools/ctl_time.h"

#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define ADMIN_SOCKET "/run/kstream/admin.sock"
#define DEFAULT_ENDPOINT "127.0.0.1:7420"
#define TIMEOUT_MS_MAX 86400000u

/* ---- settings ---- */

/* The option, or else the variable; NULL: neither says anything. */
static const char *option_or_variable(
    const struct ctl *ctl, enum ctl_option_id option, const char *variable)
{
    const char *value = getenv(variable);
    if (ctl_has(ctl, option))
        return ctl_text(ctl, option);
    return value && value[0] ? value : NULL;
}

void ctl_setup_sources(const struct ctl *ctl, char **owned_path, struct ctl_settings_sources *out)
{
    const char *config = option_or_variable(ctl, CTL_CONFIG, "KSTREAM_CONFIG");
    *owned_path = config ? NULL : ctl_settings_user_path();
    *out = (struct ctl_settings_sources){
        .user_path = config ? config : *owned_path,
        .must_have_user = config != NULL,
        .system_path = CTL_SETTINGS_SYSTEM_PATH,
        .profile = option_or_variable(ctl, CTL_PROFILE, "KSTREAM_PROFILE"),
    };
}

static enum ks_status load_settings(struct ctl *ctl, struct ks_error *err)
{
    KS_AUTO_FREE char *path = NULL;
    struct ctl_settings_sources sources;
    ctl_setup_sources(ctl, &path, &sources);
    enum ks_status st = ctl_settings_load(&sources, &ctl->settings, err);
    return st ? st : ctl_settings_apply(&ctl->settings, &ctl->args, err);
}

/* ---- one option each ---- */

static size_t terminal_width(void)
{
    struct winsize size;
    if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0)
        return 0;
    return size.ws_col;
}

static enum ks_status setup_output(struct ctl *ctl, struct ks_error *err)
{
    struct ctl_output *output = &ctl->output;
    const char *color = ctl_text(ctl, CTL_COLOR);
    output->format = isatty(STDOUT_FILENO) ? CTL_OUTPUT_TABLE : CTL_OUTPUT_JSON;
    output->no_header = ctl_has(ctl, CTL_NO_HEADER);
    output->columns = ctl_text(ctl, CTL_COLUMNS);
    output->sort_by = ctl_text(ctl, CTL_SORT_BY);
    output->has_color = ctl_color_is_wanted(color, isatty(STDOUT_FILENO));
    output->width = terminal_width();
    ctl->has_stderr_color = ctl_color_is_wanted(color, isatty(STDERR_FILENO));
    if (!ctl_has(ctl, CTL_OUTPUT))
        return KS_OK;
    enum ks_status st =
        ctl_output_format_from_text(ctl_text(ctl, CTL_OUTPUT), &output->format, err);
    output->is_chosen = !st;
    return st;
}

static enum ks_status setup_query(struct ctl *ctl, struct ks_error *err)
{
    if (!ctl_has(ctl, CTL_QUERY))
        return ctl_output_check(&ctl->output, err);
    struct ks_error inner = KS_ERROR_INIT;
    enum ks_status st = jmes_parse(ks_view_of_text(ctl_text(ctl, CTL_QUERY)), &ctl->query, &inner);
    ctl->output.query = ctl->query;
    if (st)
        return ks_fail(err, st, 0, "'--query': %s", inner.text);
    return ctl_output_check(&ctl->output, err);
}

static enum ks_status setup_timeout(struct ctl *ctl, struct ks_error *err)
{
    uint64_t timeout_ms = 0;
    if (!ctl_has(ctl, CTL_TIMEOUT))
        return KS_OK;
    if (ctl_duration_from_text(ctl_text(ctl, CTL_TIMEOUT), &timeout_ms, NULL) || timeout_ms == 0 ||
        timeout_ms > TIMEOUT_MS_MAX)
        return ctl_args_fail(
            &ctl->args, CTL_TIMEOUT, "1ms to 24h is needed, such as 500ms, 90s or 15m", err);
    ctl->timeout_ms = (uint32_t)timeout_ms;
    return KS_OK;
}

/* A bar needs a terminal that can erase a line. */
static bool can_draw(void)
{
    const char *terminal = getenv("TERM");
    return isatty(STDERR_FILENO) && terminal && terminal[0] && strcmp(terminal, "dumb") != 0;
}

static enum ks_status setup_progress(struct ctl *ctl, struct ks_error *err)
{
    const char *mode = ctl_has(ctl, CTL_PROGRESS) ? ctl_text(ctl, CTL_PROGRESS) : "auto";
    ctl->is_quiet = ctl_has(ctl, CTL_QUIET);
    enum ks_status st = ctl_progress_mode_from_text(mode, can_draw(), &ctl->progress, err);
    if (ctl->is_quiet)
        ctl->progress = CTL_PROGRESS_NONE;
    return st;
}

static void setup_endpoint(struct ctl *ctl)
{
    ctl->endpoint = ctl_text(ctl, CTL_ENDPOINT);
    if (!ctl->endpoint)
        ctl->endpoint = access(ADMIN_SOCKET, F_OK) == 0 ? "unix:" ADMIN_SOCKET : DEFAULT_ENDPOINT;
}

/* --stream-arn and --stream-name must not name two streams; whether an id does is known later. */
static enum ks_status setup_stream(struct ctl *ctl, struct ks_error *err)
{
    const char *name = ctl_text(ctl, CTL_STREAM_NAME);
    const char *arn = ctl_text(ctl, CTL_STREAM_ARN);
    const char *slash = arn ? strrchr(arn, '/') : NULL;
    ctl->stream = arn ? arn : name;
    ctl->stream_name = slash ? slash + 1 : name;
    if (arn && (strncmp(arn, "arn:", 4) != 0 || !slash))
        return ks_fail(err, KS_USAGE, 0, "'--stream-arn %.80s' is not the ARN of a stream", arn);
    if (arn && name && strcmp(slash + 1, name) != 0)
        return ks_fail(err, KS_USAGE, 0, "'--stream-arn' names '%.60s', '--stream-name' '%.60s'",
            slash + 1, name);
    const char *id = ctl_text(ctl, CTL_STREAM_ID);
    if (!id || arn)
        return KS_OK;
    if (id[0] == '\0' || strlen(id) > KS_STREAM_ID_BYTES)
        return ks_fail(err, KS_USAGE, 0, "'--stream-id %.40s' is not the StreamId of a stream", id);
    snprintf(ctl->stream_texts[0], sizeof ctl->stream_texts[0], "id:%s", id);
    ctl->stream = ctl->stream_texts[0];
    ctl->stream_name = name ? name : id;
    return KS_OK;
}

/* --cli-input-json fills options, --generate-cli-skeleton is the answer. */
static enum ks_status setup_input(struct ctl *ctl, struct ks_error *err)
{
    bool wants_skeleton = ctl_has(ctl, CTL_CLI_SKELETON);
    if (!ctl->args.verb || (!wants_skeleton && !ctl_has(ctl, CTL_CLI_INPUT_JSON)))
        return KS_OK;
    if (!ctl_verb_is_kinesis(ctl->args.verb))
        return ks_fail(err, KS_USAGE, 0, "'--%s' is for operations of Kinesis",
            ctl_option_name(wants_skeleton ? CTL_CLI_SKELETON : CTL_CLI_INPUT_JSON));
    if (wants_skeleton) {
        ctl->result = ctl_input_skeleton(ctl->args.verb);
        return ctl->result ? KS_OK : ks_fail(err, KS_NO_MEMORY, 0, "out of memory");
    }
    enum ks_status st = ctl_param_json(
        ctl_option_name(CTL_CLI_INPUT_JSON), ctl_text(ctl, CTL_CLI_INPUT_JSON), &ctl->input, err);
    ctl->input_texts = st ? NULL : json_array();
    if (!st && !ctl->input_texts)
        st = ks_fail(err, KS_NO_MEMORY, 0, "out of memory");
    return st ? st : ctl_input_apply(&ctl->args, ctl->input, ctl->input_texts, err);
}

enum ks_status ctl_setup(struct ctl *ctl, struct ks_error *err)
{
    enum ks_status loaded = load_settings(ctl, err);
    /* The form of output first: what follows may fail in it. */
    enum ks_status st = setup_output(ctl, loaded ? NULL : err);
    if (loaded)
        return loaded;
    if (!st)
        st = setup_query(ctl, err);
    if (!st)
        st = setup_timeout(ctl, err);
    if (!st)
        st = setup_progress(ctl, err);
    if (!st)
        st = setup_input(ctl, err);
    if (!st)
        st = setup_stream(ctl, err);
    setup_endpoint(ctl);
    bool is_complete = !ctl->args.verb || ctl_has(ctl, CTL_CLI_SKELETON);
    return st || is_complete ? st : ctl_args_check(&ctl->args, err);
}
