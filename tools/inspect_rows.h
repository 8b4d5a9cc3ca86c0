/*
 * The rows of a key-value environment (catalog or index), read by a forked child: a damaged one can
 * kill whoever reads it, and what was read until then is still worth having. Call it before threads
 * exist.
 */
#ifndef KS_TOOLS_INSPECT_ROWS_H
#define KS_TOOLS_INSPECT_ROWS_H

#include "base/bytes.h"
#include "base/status.h"

struct inspect_rows_options {
    const char *path; /* of the environment's folder */
    const char *const *table_names;
    unsigned table_count;
};

/*
 * Calls each for every row of every table, in order; it never fails the walk. Errors: KS_CORRUPT
 * the environment is damaged: the child died or could not go on, a table has other rows than it
 * says, or keys out of order; KS_NOT_FOUND there is no environment; KS_IO; KS_NO_MEMORY.
 */
enum ks_status inspect_rows_read(const struct inspect_rows_options *options,
    void (*each)(void *arg, unsigned table, struct ks_view key, struct ks_view value), void *arg,
    struct ks_error *err) KS_MUST_USE;

#endif
