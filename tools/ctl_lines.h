/*
 * Lines of a file or a pipe, whatever their bytes, without ever waiting inside: the caller reads
 * when there is something. And the fields of a line.
 */
#ifndef KS_TOOLS_CTL_LINES_H
#define KS_TOOLS_CTL_LINES_H

#include "base/bytes.h"
#include "base/status.h"

struct ctl_lines {
    int fd;            /* borrowed */
    struct ks_buf buf; /* what was read and not yet handed out begins at start */
    size_t start;
    size_t scanned; /* no newline before this position */
    size_t line_bytes_max;
    bool is_end;
    bool is_skipping; /* inside a line that is too long */
    uint64_t number;  /* of the line handed out last, from 1 */
};

enum ctl_line {
    CTL_LINE_OK,       /* a line, without its newline; good until the next call of either */
    CTL_LINE_TOO_LONG, /* a line over line_bytes_max was left out */
    CTL_LINE_WANTS,    /* no whole line left: call ctl_lines_fill */
    CTL_LINE_END
};

void ctl_lines_init(struct ctl_lines *lines, int fd, size_t line_bytes_max);
void ctl_lines_fini(struct ctl_lines *lines);
enum ctl_line ctl_lines_next(struct ctl_lines *lines, struct ks_view *out_line) KS_MUST_USE;
/* One read(2). A signal counts as nothing read. Errors: KS_IO, KS_NO_MEMORY. */
enum ks_status ctl_lines_fill(struct ctl_lines *lines, struct ks_error *err) KS_MUST_USE;

#define CTL_SEPARATOR_BYTES_MAX 16

/* "2" or "2:;": the second field; separator "" stands for runs of blanks and tabs. */
struct ctl_field {
    uint32_t number; /* from 1 */
    char separator[CTL_SEPARATOR_BYTES_MAX + 1];
    size_t separator_bytes;
};

/* "\t" in the separator may be written with a backslash. Errors: KS_USAGE. */
enum ks_status ctl_field_from_text(
    const char *text, struct ctl_field *out_field, struct ks_error *err) KS_MUST_USE;
/* The field, and the field with all that follows it. False: the line has fewer. */
bool ctl_field_find(const struct ctl_field *field, struct ks_view line, struct ks_view *out_field,
    struct ks_view *out_from_there) KS_MUST_USE;

#endif
