/*
 * JMESPath, the language of --query: an expression is parsed once and picks from any JSON value.
 * The whole of the specification (jmespath.org): identifiers, indexes, slices, projections,
 * flatten, filters, literals, multi-selects, pipes, functions, expression references. As in the
 * reference implementation a literal may leave out its quotes (`ACTIVE`), and strings have an
 * order.
 *
 * Errors name their kind as the specification does: "syntax", "unknown-function" and
 * "invalid-arity" when parsing; "invalid-type" and "invalid-value" when searching. "limit" says
 * that a bound below was reached, so that no expression takes unbounded memory, stack or time.
 * Threads: an expression is constant once parsed; json_t values belong to one thread.
 */
#ifndef KS_TOOLS_JMES_H
#define KS_TOOLS_JMES_H

#include "base/bytes.h"
#include "base/status.h"

#include <jansson.h>

#define JMES_TEXT_BYTES_MAX (16u << 10)
#define JMES_NESTING_MAX 100 /* brackets, operands */
#define JMES_HEIGHT_MAX 500  /* steps behind each other */
/* About one per value looked at or made; some seconds at most. */
#define JMES_STEPS_MAX (32u << 20)

struct jmes; /* opaque: a parsed expression */

/* text is copied. Errors: KS_USAGE, KS_NO_MEMORY. The caller owns *out. */
enum ks_status jmes_parse(struct ks_view text, struct jmes **out, struct ks_error *err) KS_MUST_USE;
void jmes_free(struct jmes *expression); /* NULL is fine */
KS_DEFINE_CLEANUP(struct jmes, jmes_free)

/*
 * What the expression picks from value, JSON null for nothing. The result may share parts with
 * value, which is not changed; the caller owns the reference. steps_max 0: JMES_STEPS_MAX.
 * Errors: KS_INVALID, KS_NO_MEMORY.
 */
enum ks_status jmes_search(const struct jmes *expression, json_t *value, uint64_t steps_max,
    json_t **out_result, struct ks_error *err) KS_MUST_USE;

/*
 * What a heading above the result would say: the last member named ("StreamNames" of
 * "sort(StreamNames)[0]"), "" when none fits. Lives as long as the expression.
 */
const char *jmes_title(const struct jmes *expression);
/* Whether it begins with that member: "error" of "error.code". */
bool jmes_is_about(const struct jmes *expression, const char *member);
/* For a list of lists: the title of the n-th element of a multi-select list; NULL: there is none.
 */
const char *jmes_column_title(const struct jmes *expression, size_t n);

#endif
