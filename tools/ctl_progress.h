/*
 * How far a long put is, on standard error: a bar on a terminal, a line each 10 s elsewhere, or one
 * JSON object a line for programs. Threads: one owner. The time comes in as a number.
 */
#ifndef KS_TOOLS_CTL_PROGRESS_H
#define KS_TOOLS_CTL_PROGRESS_H

#include "base/status.h"

#include <stdio.h>

enum ctl_progress_mode {
    CTL_PROGRESS_BAR,
    CTL_PROGRESS_PLAIN,
    CTL_PROGRESS_JSON,
    CTL_PROGRESS_NONE
};

struct ctl_progress_state {
    uint64_t records; /* durable */
    uint64_t bytes;   /* of these records */
    uint64_t failed;
    uint64_t input_bytes; /* of the input, answered */
    const char *trouble;  /* why nothing goes on just now; "" when it does */
};

struct ctl_progress {
    enum ctl_progress_mode mode;
    FILE *to;
    uint64_t input_bytes_max; /* 0: unknown */
    uint64_t started_ns;
    uint64_t shown_ns;
    uint64_t trouble_ns; /* since when there is trouble; 0: none */
    int shown_percent;
    bool has_bar;
};

/* "auto" is a bar if is_terminal, else plain. Errors: KS_USAGE. */
enum ks_status ctl_progress_mode_from_text(const char *text, bool is_terminal,
    enum ctl_progress_mode *out_mode, struct ks_error *err) KS_MUST_USE;

void ctl_progress_init(struct ctl_progress *progress, enum ctl_progress_mode mode, FILE *to,
    uint64_t input_bytes_max, uint64_t now_mono_ns);
/* Call often; it decides when there is something to say. */
void ctl_progress_show(
    struct ctl_progress *progress, const struct ctl_progress_state *state, uint64_t now_mono_ns);
/* Takes the bar away. */
void ctl_progress_end(struct ctl_progress *progress);

/* The line a bar or a plain progress shows, without newline. For the tests. */
#define CTL_PROGRESS_LINE_BYTES 240
void ctl_progress_line(const struct ctl_progress *progress, const struct ctl_progress_state *state,
    uint64_t now_mono_ns, char line[CTL_PROGRESS_LINE_BYTES]);

#endif
