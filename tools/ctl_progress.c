#include "tools/ctl_progress.h"

#include "tools/ctl_time.h"

#include <jansson.h>
#include <string.h>
#include <sys/ioctl.h>

#define BAR_EACH_NS 100000000ULL
#define PLAIN_EACH_NS 10000000000ULL
#define JSON_EACH_NS 200000000ULL
#define ETA_FROM_NS 3000000000ULL
#define BAR_CELLS 20
#define COLUMNS_DEFAULT 80

enum ks_status ctl_progress_mode_from_text(
    const char *text, bool is_terminal, enum ctl_progress_mode *out_mode, struct ks_error *err)
{
    static const char *const names[] = {
        [CTL_PROGRESS_BAR] = "bar",
        [CTL_PROGRESS_PLAIN] = "plain",
        [CTL_PROGRESS_JSON] = "json",
        [CTL_PROGRESS_NONE] = "none",
    };
    if (strcmp(text, "auto") == 0) {
        *out_mode = is_terminal ? CTL_PROGRESS_BAR : CTL_PROGRESS_PLAIN;
        return KS_OK;
    }
    for (size_t i = 0; i < KS_COUNT_OF(names); i++) {
        if (strcmp(names[i], text) == 0) {
            *out_mode = (enum ctl_progress_mode)i;
            return KS_OK;
        }
    }
    return ks_fail(
        err, KS_USAGE, 0, "'--progress %.40s': auto, bar, plain, json or none is needed", text);
}

void ctl_progress_init(struct ctl_progress *progress, enum ctl_progress_mode mode, FILE *to,
    uint64_t input_bytes_max, uint64_t now_mono_ns)
{
    *progress = (struct ctl_progress){.mode = mode,
        .to = to,
        .input_bytes_max = input_bytes_max,
        .started_ns = now_mono_ns,
        .shown_ns = now_mono_ns,
        .shown_percent = -1};
}

/* -1: unknown. */
static int percent_of(const struct ctl_progress *progress, const struct ctl_progress_state *state)
{
    if (progress->input_bytes_max == 0)
        return -1;
    uint64_t percent = state->input_bytes * 100 / progress->input_bytes_max;
    return (int)ks_min_u64(percent, 100);
}

static double seconds_since(uint64_t since_ns, uint64_t now_ns)
{
    return (double)(now_ns - since_ns) / 1e9;
}

void ctl_progress_line(const struct ctl_progress *progress, const struct ctl_progress_state *state,
    uint64_t now_mono_ns, char line[CTL_PROGRESS_LINE_BYTES])
{
    double seconds = seconds_since(progress->started_ns, now_mono_ns);
    int percent = percent_of(progress, state);
    char bar[BAR_CELLS + 24] = "";
    if (percent >= 0) {
        int full = percent * BAR_CELLS / 100;
        char cells[BAR_CELLS + 1];
        for (int i = 0; i < BAR_CELLS; i++)
            cells[i] = i < full ? '#' : '-';
        cells[BAR_CELLS] = '\0';
        snprintf(bar, sizeof bar, "%3d %% [%s] ", percent, cells);
    }
    char size[32];
    ctl_size_to_text(state->bytes, size, sizeof size);
    char rest[80] = "";
    if (state->trouble[0]) {
        snprintf(rest, sizeof rest, ", waiting for the broker: %s", state->trouble);
    } else if (percent > 0 && percent < 100 && now_mono_ns - progress->started_ns >= ETA_FROM_NS) {
        double share = (double)state->input_bytes / (double)progress->input_bytes_max;
        snprintf(rest, sizeof rest, ", %.0f s left", seconds / share * (1 - share));
    }
    snprintf(line, CTL_PROGRESS_LINE_BYTES, "%s%llu records, %s, %.0f/s%s", bar,
        (unsigned long long)state->records, size,
        seconds > 0 ? (double)state->records / seconds : 0, rest);
}

static void show_json(struct ctl_progress *progress, const struct ctl_progress_state *state,
    const char *event, uint64_t waited_ns)
{
    json_t *object =
        json_pack("{s:s, s:I, s:I, s:I}", "event", event, "records", (json_int_t)state->records,
            "bytes", (json_int_t)state->bytes, "failed", (json_int_t)state->failed);
    int percent = percent_of(progress, state);
    bool is_fine = object != NULL;
    if (is_fine && percent >= 0)
        is_fine = json_object_set_new(object, "percent", json_integer(percent)) == 0;
    if (is_fine && state->trouble[0])
        is_fine = json_object_set_new(object, "reason", json_string(state->trouble)) == 0;
    if (is_fine && waited_ns)
        is_fine = json_object_set_new(
                      object, "waited_ms", json_integer((json_int_t)(waited_ns / 1000000))) == 0;
    if (is_fine && json_dumpf(object, progress->to, JSON_COMPACT) == 0)
        fputc('\n', progress->to);
    fflush(progress->to);
    json_decref(object);
}

/* Trouble begins or ends: said at once, but for the bar, which shows it with its next picture. */
static void note_trouble(
    struct ctl_progress *progress, const struct ctl_progress_state *state, uint64_t now_ns)
{
    bool was_in_trouble = progress->trouble_ns != 0;
    bool is_in_trouble = state->trouble[0] != '\0';
    if (was_in_trouble == is_in_trouble)
        return;
    uint64_t waited_ns = was_in_trouble ? now_ns - progress->trouble_ns : 0;
    progress->trouble_ns = is_in_trouble ? now_ns : 0;
    if (progress->mode == CTL_PROGRESS_JSON)
        show_json(progress, state, is_in_trouble ? "waiting" : "resumed", waited_ns);
    else if (progress->mode == CTL_PROGRESS_PLAIN && is_in_trouble)
        fprintf(progress->to, "waiting for the broker: %s\n", state->trouble);
    else if (progress->mode == CTL_PROGRESS_PLAIN)
        fprintf(progress->to, "the broker is back after %.1f s\n", (double)waited_ns / 1e9);
}

/* A bar of two lines could not be taken back: what does not fit is cut. */
static int columns_of(FILE *to)
{
    struct winsize size;
    if (ioctl(fileno(to), TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return COLUMNS_DEFAULT - 1;
    return size.ws_col - 1;
}

void ctl_progress_show(
    struct ctl_progress *progress, const struct ctl_progress_state *state, uint64_t now_mono_ns)
{
    static const uint64_t each_ns[] = {
        [CTL_PROGRESS_BAR] = BAR_EACH_NS,
        [CTL_PROGRESS_PLAIN] = PLAIN_EACH_NS,
        [CTL_PROGRESS_JSON] = JSON_EACH_NS,
        [CTL_PROGRESS_NONE] = UINT64_MAX,
    };
    note_trouble(progress, state, now_mono_ns);
    int percent = percent_of(progress, state);
    bool is_due = now_mono_ns - progress->shown_ns >= each_ns[progress->mode];
    /* A program that waits for the half wants to know it when it is reached. */
    if (progress->mode == CTL_PROGRESS_JSON && percent != progress->shown_percent)
        is_due = true;
    if (!is_due || progress->mode == CTL_PROGRESS_NONE)
        return;
    progress->shown_ns = now_mono_ns;
    progress->shown_percent = percent;
    if (progress->mode == CTL_PROGRESS_JSON) {
        show_json(progress, state, "progress", 0);
        return;
    }
    char line[CTL_PROGRESS_LINE_BYTES];
    ctl_progress_line(progress, state, now_mono_ns, line);
    /* Carriage return and "erase to the end of the line": the bar is drawn in one place. */
    bool is_bar = progress->mode == CTL_PROGRESS_BAR;
    if (is_bar)
        fprintf(progress->to, "\r\033[K%.*s", columns_of(progress->to), line);
    else
        fprintf(progress->to, "%s\n", line);
    fflush(progress->to);
    progress->has_bar = is_bar;
}

void ctl_progress_end(struct ctl_progress *progress)
{
    if (progress->has_bar)
        fputs("\r\033[K", progress->to);
    progress->has_bar = false;
    fflush(progress->to);
}
