/* The value of a cell as text, for each of the ways to print a grid. */
#ifndef KS_TOOLS_CTL_CELL_H
#define KS_TOOLS_CTL_CELL_H

#include "base/bytes.h"

#include <jansson.h>

/*
 * For people: times are local, lists of plain values are joined, "" for nothing. title: that of the
 * column, which says what is a time. Appends to text. False: out of memory.
 */
bool ctl_cell_for_people(struct ks_buf *text, const char *title, json_t *value) KS_MUST_USE;
/* For programs: texts and numbers as they are, true and false, lists and objects as JSON. */
bool ctl_cell_for_programs(struct ks_buf *text, json_t *value) KS_MUST_USE;
/* As the aws CLI writes it: True, False, None. */
bool ctl_cell_as_aws(struct ks_buf *text, json_t *value) KS_MUST_USE;

/* A time by the name of its column: "...Timestamp" or "..._time". */
bool ctl_is_time_title(const char *title);

#endif
