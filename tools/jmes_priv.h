/* Inside of jmes: tokens, the tree, and what evaluation and functions share. */
#ifndef KS_TOOLS_JMES_PRIV_H
#define KS_TOOLS_JMES_PRIV_H

#include "proto/arena.h"
#include "tools/jmes.h"

/* ---- tokens ---- */

enum jmes_token_kind {
    JMES_END,
    JMES_IDENTIFIER,
    JMES_QUOTED,
    JMES_NUMBER,
    JMES_LITERAL, /* also raw strings */
    JMES_DOT,
    JMES_STAR,
    JMES_LBRACKET,
    JMES_RBRACKET,
    JMES_FLATTEN, /* [] */
    JMES_FILTER,  /* [? */
    JMES_LBRACE,
    JMES_RBRACE,
    JMES_LPAREN,
    JMES_RPAREN,
    JMES_COMMA,
    JMES_COLON,
    JMES_CURRENT,
    JMES_EXPREF,
    JMES_PIPE,
    JMES_OR,
    JMES_AND,
    JMES_NOT,
    JMES_EQ,
    JMES_NE,
    JMES_LT,
    JMES_LE,
    JMES_GT,
    JMES_GE,
};

struct jmes_token {
    enum jmes_token_kind kind;
    size_t position; /* of its first byte */
    size_t bytes;
    int64_t number;  /* JMES_NUMBER, cut to what fits */
    json_t *literal; /* JMES_LITERAL; a string for JMES_IDENTIFIER and JMES_QUOTED. Owned */
};

struct jmes_lexer {
    struct ks_view text; /* valid UTF-8 */
    size_t position;
};

/* Errors: KS_USAGE, KS_NO_MEMORY; then out_token owns nothing. */
enum ks_status jmes_lexer_next(
    struct jmes_lexer *lexer, struct jmes_token *out_token, struct ks_error *err) KS_MUST_USE;
/* KS_USAGE with the kind of error and the place in the text. */
enum ks_status jmes_fail_at(struct ks_error *err, const char *kind, size_t position,
    const char *format, ...) KS_PRINTF(4, 5);

/* ---- the tree ---- */

enum jmes_node_kind {
    JMES_NODE_CURRENT,
    JMES_NODE_FIELD, /* literal: its name */
    JMES_NODE_LITERAL,
    JMES_NODE_INDEX,
    JMES_NODE_SLICE,
    JMES_NODE_CHAIN,            /* right of the result of left: a.b, a[0], a | b */
    JMES_NODE_PROJECTION,       /* right of each item of left */
    JMES_NODE_VALUE_PROJECTION, /* right of each member of left */
    JMES_NODE_FILTER,           /* right of each item of left for which condition holds */
    JMES_NODE_FLATTEN,
    JMES_NODE_OR,
    JMES_NODE_AND,
    JMES_NODE_NOT,
    JMES_NODE_COMPARE,
    JMES_NODE_LIST,
    JMES_NODE_HASH, /* children have their name in literal */
    JMES_NODE_FUNCTION,
    JMES_NODE_EXPREF,
};

struct jmes_node {
    enum jmes_node_kind kind;
    unsigned height;
    struct jmes_node *left;
    struct jmes_node *right;
    struct jmes_node *condition;
    struct jmes_node *children; /* of lists, hashes and functions */
    struct jmes_node *next;     /* in such a list */
    const struct jmes_function *function;
    enum jmes_token_kind comparator;
    json_t *literal;       /* a value, or the name of a field; lives in the expression */
    const char *hash_name; /* of a child of a hash */
    bool has_part[3];      /* of a slice */
    int64_t parts[3];      /* start, stop, step; of an index the first */
};

struct jmes {
    struct jmes_node *root;
    struct ks_arena arena; /* what the nodes lie in */
    json_t *literals;      /* an array that keeps them */
};

/* ---- evaluation ---- */

struct jmes_eval {
    uint64_t steps_left;
    struct ks_error *err;
};

/* Errors: KS_INVALID, the bound is reached. */
enum ks_status jmes_spend(struct jmes_eval *eval, uint64_t steps) KS_MUST_USE;
/* A step for everything in a value. Parts may be shared, so that a few steps can make a value that
 * would take for ever to print or compare. */
enum ks_status jmes_spend_walk(struct jmes_eval *eval, json_t *value) KS_MUST_USE;
/* Takes value; NULL becomes an error for want of memory. */
enum ks_status jmes_give(struct jmes_eval *eval, json_t *value, json_t **out) KS_MUST_USE;
/* The same for a list or an object just made, which is paid for. */
enum ks_status jmes_give_new(struct jmes_eval *eval, json_t *value, json_t **out) KS_MUST_USE;
/* Takes item. */
enum ks_status jmes_append(struct jmes_eval *eval, json_t *array, json_t *item) KS_MUST_USE;
enum ks_status jmes_fail_memory(struct jmes_eval *eval);
/* KS_INVALID. */
enum ks_status jmes_fail(struct jmes_eval *eval, const char *format, ...) KS_PRINTF(2, 3);

/* out: a new reference. */
enum ks_status jmes_eval_node(
    struct jmes_eval *eval, const struct jmes_node *node, json_t *value, json_t **out) KS_MUST_USE;

/* Not an empty text, list or object, not null or false. */
bool jmes_is_true(const json_t *value);
enum ks_status jmes_equal(
    struct jmes_eval *eval, json_t *a, json_t *b, bool *out_equal) KS_MUST_USE;
/* Two numbers or two strings: below 0, 0, above 0. */
int jmes_compare(const json_t *a, const json_t *b);

/* ---- functions ---- */

/* An argument: a value, or an expression to be applied to values. */
struct jmes_argument {
    json_t *value; /* borrowed by the function */
    const struct jmes_node *expression;
};

#define JMES_ARGUMENTS_MAX 64

/* NULL when there is none of that name. */
const struct jmes_function *jmes_function_find(const char *name);
/* Whether it can have so many arguments; else out_text says how many it takes. */
#define JMES_ARITY_BYTES 48
bool jmes_function_takes(
    const struct jmes_function *function, size_t count, char out_text[JMES_ARITY_BYTES]);
/* Whether its result is made of items of a list, whose heading then fits: of which argument. */
bool jmes_function_keeps_items(const struct jmes_function *function, size_t *out_argument);
/* Checks the types, then runs it. Errors: KS_INVALID, KS_NO_MEMORY. */
enum ks_status jmes_function_call(struct jmes_eval *eval, const struct jmes_function *function,
    const struct jmes_argument *arguments, size_t count, json_t **out) KS_MUST_USE;

/* The functions themselves, whose arguments have been checked: jmes_run_abs()... */
#define JMES_FUNCTION(name, count, has_more, first, second, items)                                 \
    enum ks_status jmes_run_##name(struct jmes_eval *eval, const struct jmes_argument *arguments,  \
        size_t count_of_arguments, json_t **out) KS_MUST_USE;
#include "tools/jmes_functions.def"
#undef JMES_FUNCTION

#endif
