/*
 * The picture that top shows: two answers of DescribeLoad and what has changed between them, as
 * JSON and as the lines of a screen. Threads: plain functions.
 */
#ifndef KS_TOOLS_CTL_TOP_H
#define KS_TOOLS_CTL_TOP_H

#include "base/bytes.h"
#include "proto/api.pb-c.h"

#include <jansson.h>

enum ctl_top_order { CTL_TOP_BY_IN, CTL_TOP_BY_OUT, CTL_TOP_BY_LAG, CTL_TOP_BY_NAME };

/*
 * {"streams": [...], "shards": [...], "broker": {...}}: rates between the two answers; of a stream
 * that is new in the second one, and if before is NULL, since the start. NULL: out of memory.
 */
json_t *ctl_top_picture(const Kstream__DescribeLoadResponse *before,
    const Kstream__DescribeLoadResponse *now, enum ctl_top_order order);

struct ctl_top_screen {
    unsigned rows;
    unsigned columns;
    bool has_color;
    const char *title;  /* who is looked at */
    const char *notice; /* what went wrong last; "" nothing */
};
/* Exactly rows lines at most, none longer than columns. False: out of memory. */
bool ctl_top_draw(json_t *picture, const struct ctl_top_screen *screen, struct ks_buf *out);

#endif
