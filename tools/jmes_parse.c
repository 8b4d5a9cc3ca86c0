/*
 * From the text of an expression to its tree: a parser by binding powers. What binds less than
 * PROJECTION_STOP ends a projection, so that `a[*].b | c` pipes the list and not each item.
 */
#include "base/alloc.h"
#include "tools/jmes_priv.h"

#include <stdarg.h>
#include <stdio.h>

#define PROJECTION_STOP 10
#define ARENA_BYTES_MAX (4u << 20)

enum power {
    POWER_NONE = 0,
    POWER_PIPE = 1,
    POWER_OR = 2,
    POWER_AND = 3,
    POWER_COMPARE = 5,
    POWER_FLATTEN = 9,
    POWER_STAR = 20,
    POWER_FILTER = 21,
    POWER_DOT = 40,
    POWER_NOT = 45,
    POWER_BRACE = 50,
    POWER_BRACKET = 55,
    POWER_PAREN = 60,
};

struct parser {
    struct jmes *expression;
    struct jmes_lexer lexer;
    struct jmes_token token; /* the next one */
    struct jmes_token ahead; /* the one behind it */
    unsigned nesting;
    struct ks_error *err;
};

static enum power power_of(enum jmes_token_kind kind)
{
    switch (kind) {
    case JMES_PIPE:
        return POWER_PIPE;
    case JMES_OR:
        return POWER_OR;
    case JMES_AND:
        return POWER_AND;
    case JMES_EQ:
    case JMES_NE:
    case JMES_LT:
    case JMES_LE:
    case JMES_GT:
    case JMES_GE:
        return POWER_COMPARE;
    case JMES_FLATTEN:
        return POWER_FLATTEN;
    case JMES_STAR:
        return POWER_STAR;
    case JMES_FILTER:
        return POWER_FILTER;
    case JMES_DOT:
        return POWER_DOT;
    case JMES_NOT:
        return POWER_NOT;
    case JMES_LBRACE:
        return POWER_BRACE;
    case JMES_LBRACKET:
        return POWER_BRACKET;
    case JMES_LPAREN:
        return POWER_PAREN;
    case JMES_END:
    case JMES_IDENTIFIER:
    case JMES_QUOTED:
    case JMES_NUMBER:
    case JMES_LITERAL:
    case JMES_RBRACKET:
    case JMES_RBRACE:
    case JMES_RPAREN:
    case JMES_COMMA:
    case JMES_COLON:
    case JMES_CURRENT:
    case JMES_EXPREF:
        break;
    }
    return POWER_NONE;
}

/* ---- errors ---- */

static enum ks_status fail_memory(struct parser *p)
{
    KS_IGNORE(ks_fail(p->err, KS_NO_MEMORY, 0, "no memory for an expression"), "only fills err");
    return KS_NO_MEMORY;
}

static enum ks_status fail_token(struct parser *p)
{
    const struct jmes_token *token = &p->token;
    if (token->kind == JMES_END)
        return jmes_fail_at(p->err, "syntax", token->position, "something is missing at the end");
    return jmes_fail_at(p->err, "syntax", token->position, "'%.*s' is not expected",
        (int)KS_MIN(token->bytes, (size_t)40), (const char *)p->lexer.text.data + token->position);
}

/* ---- tokens ---- */

static enum ks_status advance(struct parser *p)
{
    json_decref(p->token.literal);
    p->token = p->ahead;
    p->ahead.literal = NULL;
    return jmes_lexer_next(&p->lexer, &p->ahead, p->err);
}

static enum ks_status match(struct parser *p, enum jmes_token_kind kind)
{
    return p->token.kind == kind ? advance(p) : fail_token(p);
}

/* ---- nodes ---- */

/* Keeps the value for the life of the expression. */
static json_t *keep(struct parser *p, json_t *value)
{
    return json_array_append(p->expression->literals, value) == 0 ? value : NULL;
}

static enum ks_status node_new(
    struct parser *p, enum jmes_node_kind kind, struct jmes_node **out_node)
{
    struct jmes_node *node = ks_arena_zalloc(&p->expression->arena, sizeof *node);
    if (!node)
        return fail_memory(p);
    node->kind = kind;
    node->height = 1;
    *out_node = node;
    return KS_OK;
}

/* Steps behind each other are a tree that leans: its height bounds the stack of evaluation. */
static enum ks_status node_adopt(
    struct parser *p, struct jmes_node *node, const struct jmes_node *child)
{
    node->height = KS_MAX(node->height, child->height + 1);
    if (node->height <= JMES_HEIGHT_MAX)
        return KS_OK;
    return jmes_fail_at(p->err, "limit", p->token.position, "more than %d steps", JMES_HEIGHT_MAX);
}

static enum ks_status node_pair(struct parser *p, enum jmes_node_kind kind, struct jmes_node *left,
    struct jmes_node *right, struct jmes_node **out_node)
{
    enum ks_status st = node_new(p, kind, out_node);
    if (st)
        return st;
    (*out_node)->left = left;
    (*out_node)->right = right;
    st = node_adopt(p, *out_node, left);
    return st || !right ? st : node_adopt(p, *out_node, right);
}

/* A node of the next token, which has a literal. */
static enum ks_status take_literal(
    struct parser *p, enum jmes_node_kind kind, struct jmes_node **out_node)
{
    enum ks_status st = node_new(p, kind, out_node);
    if (st)
        return st;
    (*out_node)->literal = keep(p, p->token.literal);
    return (*out_node)->literal ? advance(p) : fail_memory(p);
}

static enum ks_status parse_expression(
    struct parser *p, enum power power, struct jmes_node **out_node);

/* ---- what stands in brackets and braces ---- */

static void append_child(struct jmes_node *node, struct jmes_node **last, struct jmes_node *child)
{
    if (*last)
        (*last)->next = child;
    else
        node->children = child;
    *last = child;
}

/* A chain, so that a child which is a list itself does not lose its next. */
static enum ks_status take_child(
    struct parser *p, struct jmes_node *node, struct jmes_node **last, struct jmes_node **out_child)
{
    struct jmes_node *value = NULL;
    struct jmes_node *child = NULL;
    enum ks_status st = parse_expression(p, POWER_NONE, &value);
    if (!st)
        st = node_new(p, JMES_NODE_CURRENT, &child);
    if (st)
        return st;
    child->left = value;
    append_child(node, last, child);
    *out_child = child;
    return node_adopt(p, node, value);
}

/* Behind the bracket. */
static enum ks_status parse_multi_list(struct parser *p, struct jmes_node **out_node)
{
    enum ks_status st = node_new(p, JMES_NODE_LIST, out_node);
    struct jmes_node *last = NULL;
    struct jmes_node *child = NULL;
    while (!st) {
        st = take_child(p, *out_node, &last, &child);
        if (st || p->token.kind == JMES_RBRACKET)
            break;
        st = match(p, JMES_COMMA);
    }
    return st ? st : match(p, JMES_RBRACKET);
}

/* Behind the brace. */
static enum ks_status parse_multi_hash(struct parser *p, struct jmes_node **out_node)
{
    enum ks_status st = node_new(p, JMES_NODE_HASH, out_node);
    struct jmes_node *last = NULL;
    while (!st) {
        if (p->token.kind != JMES_IDENTIFIER && p->token.kind != JMES_QUOTED)
            return fail_token(p);
        const json_t *name = keep(p, p->token.literal);
        if (!name)
            return fail_memory(p);
        struct jmes_node *child = NULL;
        st = advance(p);
        if (!st)
            st = match(p, JMES_COLON);
        if (!st)
            st = take_child(p, *out_node, &last, &child);
        if (st)
            return st;
        child->hash_name = json_string_value(name);
        if (p->token.kind == JMES_RBRACE)
            break;
        st = match(p, JMES_COMMA);
    }
    return st ? st : match(p, JMES_RBRACE);
}

/* "[3]" or "[1:5:2]", behind the bracket. */
static enum ks_status parse_index(struct parser *p, struct jmes_node **out_node)
{
    enum ks_status st = node_new(p, JMES_NODE_INDEX, out_node);
    if (st)
        return st;
    struct jmes_node *node = *out_node;
    size_t part = 0;
    while (!st && p->token.kind != JMES_RBRACKET) {
        if (p->token.kind == JMES_COLON && part < 2) {
            node->kind = JMES_NODE_SLICE;
            part++;
        } else if (p->token.kind == JMES_NUMBER && !node->has_part[part]) {
            node->parts[part] = p->token.number;
            node->has_part[part] = true;
        } else {
            return fail_token(p);
        }
        st = advance(p);
    }
    return st ? st : match(p, JMES_RBRACKET);
}

/* ---- projections ---- */

static enum ks_status parse_dot_right(
    struct parser *p, enum power power, struct jmes_node **out_node)
{
    switch ((unsigned)p->token.kind) {
    case JMES_IDENTIFIER:
    case JMES_QUOTED:
    case JMES_STAR:
        return parse_expression(p, power, out_node);
    case JMES_LBRACKET: {
        enum ks_status st = advance(p);
        return st ? st : parse_multi_list(p, out_node);
    }
    case JMES_LBRACE: {
        enum ks_status st = advance(p);
        return st ? st : parse_multi_hash(p, out_node);
    }
    default:
        return fail_token(p);
    }
}

/* What is done to each item. */
static enum ks_status parse_projected(
    struct parser *p, enum power power, struct jmes_node **out_node)
{
    if (power_of(p->token.kind) < PROJECTION_STOP)
        return node_new(p, JMES_NODE_CURRENT, out_node);
    if (p->token.kind == JMES_LBRACKET || p->token.kind == JMES_FILTER)
        return parse_expression(p, power, out_node);
    enum ks_status st = match(p, JMES_DOT);
    return st ? st : parse_dot_right(p, power, out_node);
}

static enum ks_status finish_projection(struct parser *p, enum jmes_node_kind kind,
    enum power power, struct jmes_node *left, struct jmes_node **out_node)
{
    struct jmes_node *right = NULL;
    enum ks_status st = parse_projected(p, power, &right);
    return st ? st : node_pair(p, kind, left, right, out_node);
}

/* Behind "[?". */
static enum ks_status parse_filter(
    struct parser *p, struct jmes_node *left, struct jmes_node **out_node)
{
    struct jmes_node *condition = NULL;
    struct jmes_node *right = NULL;
    enum ks_status st = parse_expression(p, POWER_NONE, &condition);
    if (!st)
        st = match(p, JMES_RBRACKET);
    if (!st && p->token.kind == JMES_FLATTEN)
        st = node_new(p, JMES_NODE_CURRENT, &right);
    else if (!st)
        st = parse_projected(p, POWER_FILTER, &right);
    if (!st)
        st = node_pair(p, JMES_NODE_FILTER, left, right, out_node);
    if (st)
        return st;
    (*out_node)->condition = condition;
    return node_adopt(p, *out_node, condition);
}

/* Behind "[]". */
static enum ks_status parse_flatten(
    struct parser *p, struct jmes_node *left, struct jmes_node **out_node)
{
    struct jmes_node *flat = NULL;
    enum ks_status st = node_pair(p, JMES_NODE_FLATTEN, left, NULL, &flat);
    return st ? st : finish_projection(p, JMES_NODE_PROJECTION, POWER_FLATTEN, flat, out_node);
}

/* An index or a slice of left, behind the bracket; a slice is projected. */
static enum ks_status parse_indexed(
    struct parser *p, struct jmes_node *left, struct jmes_node **out_node)
{
    struct jmes_node *index = NULL;
    struct jmes_node *chain = NULL;
    enum ks_status st = parse_index(p, &index);
    if (!st)
        st = node_pair(p, JMES_NODE_CHAIN, left, index, &chain);
    if (st)
        return st;
    if (index->kind == JMES_NODE_SLICE)
        return finish_projection(p, JMES_NODE_PROJECTION, POWER_STAR, chain, out_node);
    *out_node = chain;
    return KS_OK;
}

/* Behind "[" that follows left: an index, a slice or "*]". */
static enum ks_status parse_bracket(
    struct parser *p, struct jmes_node *left, struct jmes_node **out_node)
{
    if (p->token.kind == JMES_NUMBER || p->token.kind == JMES_COLON)
        return parse_indexed(p, left, out_node);
    enum ks_status st = match(p, JMES_STAR);
    if (!st)
        st = match(p, JMES_RBRACKET);
    return st ? st : finish_projection(p, JMES_NODE_PROJECTION, POWER_STAR, left, out_node);
}

/* ---- functions ---- */

static enum ks_status take_argument(
    struct parser *p, struct jmes_node *node, struct jmes_node **last)
{
    struct jmes_node *child = NULL;
    bool is_reference = p->token.kind == JMES_EXPREF;
    enum ks_status st = is_reference ? advance(p) : KS_OK;
    if (!st)
        st = take_child(p, node, last, &child);
    if (!st && is_reference)
        child->kind = JMES_NODE_EXPREF;
    return st;
}

/* Behind the parenthesis. */
static enum ks_status parse_arguments(struct parser *p, struct jmes_node *node, size_t *out_count)
{
    struct jmes_node *last = NULL;
    size_t count = 0;
    enum ks_status st = KS_OK;
    while (!st && p->token.kind != JMES_RPAREN) {
        if (count++ == JMES_ARGUMENTS_MAX)
            return jmes_fail_at(
                p->err, "limit", p->token.position, "more than %d arguments", JMES_ARGUMENTS_MAX);
        st = take_argument(p, node, &last);
        if (st || p->token.kind == JMES_RPAREN)
            break;
        st = match(p, JMES_COMMA);
        if (!st && p->token.kind == JMES_RPAREN)
            return fail_token(p);
    }
    *out_count = count;
    return st ? st : match(p, JMES_RPAREN);
}

/* The token is the parenthesis behind the name that field is. */
static enum ks_status parse_function(
    struct parser *p, const struct jmes_node *field, size_t position, struct jmes_node **out_node)
{
    const char *name = json_string_value(field->literal);
    size_t count = 0;
    enum ks_status st = node_new(p, JMES_NODE_FUNCTION, out_node);
    if (!st)
        st = match(p, JMES_LPAREN);
    if (!st)
        st = parse_arguments(p, *out_node, &count);
    if (st)
        return st;
    (*out_node)->function = jmes_function_find(name);
    if (!(*out_node)->function)
        return jmes_fail_at(p->err, "unknown-function", position, "no function '%.40s'", name);
    char text[JMES_ARITY_BYTES];
    if (!jmes_function_takes((*out_node)->function, count, text))
        return jmes_fail_at(
            p->err, "invalid-arity", position, "%s() takes %s, not %zu", name, text, count);
    return KS_OK;
}

/* ---- expressions ---- */

static enum ks_status parse_field(struct parser *p, struct jmes_node **out_node)
{
    size_t position = p->token.position;
    bool is_quoted = p->token.kind == JMES_QUOTED;
    struct jmes_node *field = NULL;
    enum ks_status st = take_literal(p, JMES_NODE_FIELD, &field);
    *out_node = field;
    if (st || p->token.kind != JMES_LPAREN)
        return st;
    return is_quoted ? fail_token(p) : parse_function(p, field, position, out_node);
}

/* "*" or what begins with a bracket, with nothing before it. */
static enum ks_status parse_first_projection(struct parser *p, struct jmes_node **out_node)
{
    struct jmes_node *current = NULL;
    enum jmes_token_kind kind = p->token.kind;
    enum ks_status st = node_new(p, JMES_NODE_CURRENT, &current);
    if (!st)
        st = advance(p);
    if (st)
        return st;
    if (kind == JMES_FILTER)
        return parse_filter(p, current, out_node);
    if (kind == JMES_FLATTEN)
        return parse_flatten(p, current, out_node);
    if (kind == JMES_STAR)
        return finish_projection(p, JMES_NODE_VALUE_PROJECTION, POWER_STAR, current, out_node);
    bool is_star = p->token.kind == JMES_STAR && p->ahead.kind == JMES_RBRACKET;
    if (is_star || p->token.kind == JMES_NUMBER || p->token.kind == JMES_COLON)
        return parse_bracket(p, current, out_node);
    return parse_multi_list(p, out_node);
}

static enum ks_status parse_not(struct parser *p, struct jmes_node **out_node)
{
    struct jmes_node *operand = NULL;
    enum ks_status st = advance(p);
    if (!st)
        st = parse_expression(p, POWER_NOT, &operand);
    return st ? st : node_pair(p, JMES_NODE_NOT, operand, NULL, out_node);
}

/* What may begin an expression. */
static enum ks_status parse_first(struct parser *p, struct jmes_node **out_node)
{
    enum ks_status st = KS_OK;
    switch ((unsigned)p->token.kind) {
    case JMES_LITERAL:
        return take_literal(p, JMES_NODE_LITERAL, out_node);
    case JMES_IDENTIFIER:
    case JMES_QUOTED:
        return parse_field(p, out_node);
    case JMES_CURRENT:
        st = advance(p);
        return st ? st : node_new(p, JMES_NODE_CURRENT, out_node);
    case JMES_STAR:
    case JMES_FILTER:
    case JMES_FLATTEN:
    case JMES_LBRACKET:
        return parse_first_projection(p, out_node);
    case JMES_LBRACE:
        st = advance(p);
        return st ? st : parse_multi_hash(p, out_node);
    case JMES_LPAREN:
        st = advance(p);
        if (!st)
            st = parse_expression(p, POWER_NONE, out_node);
        return st ? st : match(p, JMES_RPAREN);
    case JMES_NOT:
        return parse_not(p, out_node);
    default:
        return fail_token(p);
    }
}

static enum ks_status parse_operator(struct parser *p, enum jmes_node_kind kind, enum power power,
    struct jmes_node *left, struct jmes_node **out_node)
{
    struct jmes_node *right = NULL;
    enum ks_status st = parse_expression(p, power, &right);
    return st ? st : node_pair(p, kind, left, right, out_node);
}

static enum ks_status parse_dot(
    struct parser *p, struct jmes_node *left, struct jmes_node **out_node)
{
    struct jmes_node *right = NULL;
    if (p->token.kind == JMES_STAR) {
        enum ks_status st = advance(p);
        return st ? st
                  : finish_projection(p, JMES_NODE_VALUE_PROJECTION, POWER_STAR, left, out_node);
    }
    enum ks_status st = parse_dot_right(p, POWER_DOT, &right);
    return st ? st : node_pair(p, JMES_NODE_CHAIN, left, right, out_node);
}

/* What may go on behind left: the token is an operator. */
static enum ks_status parse_more(
    struct parser *p, struct jmes_node *left, struct jmes_node **out_node)
{
    enum jmes_token_kind kind = p->token.kind;
    if (kind == JMES_LPAREN || kind == JMES_NOT || kind == JMES_STAR || kind == JMES_LBRACE)
        return fail_token(p);
    enum ks_status st = advance(p);
    if (st)
        return st;
    switch ((unsigned)kind) {
    case JMES_DOT:
        return parse_dot(p, left, out_node);
    case JMES_PIPE:
        return parse_operator(p, JMES_NODE_CHAIN, POWER_PIPE, left, out_node);
    case JMES_OR:
        return parse_operator(p, JMES_NODE_OR, POWER_OR, left, out_node);
    case JMES_AND:
        return parse_operator(p, JMES_NODE_AND, POWER_AND, left, out_node);
    case JMES_FILTER:
        return parse_filter(p, left, out_node);
    case JMES_FLATTEN:
        return parse_flatten(p, left, out_node);
    case JMES_LBRACKET:
        return parse_bracket(p, left, out_node);
    default:
        st = parse_operator(p, JMES_NODE_COMPARE, POWER_COMPARE, left, out_node);
        if (!st)
            (*out_node)->comparator = kind;
        return st;
    }
}

/* Everything that binds more than power. */
static enum ks_status parse_expression(
    struct parser *p, enum power power, struct jmes_node **out_node)
{
    if (p->nesting == JMES_NESTING_MAX)
        return jmes_fail_at(
            p->err, "limit", p->token.position, "nested deeper than %d", JMES_NESTING_MAX);
    p->nesting++;
    struct jmes_node *node = NULL;
    enum ks_status st = parse_first(p, &node);
    while (!st && power < power_of(p->token.kind))
        st = parse_more(p, node, &node);
    p->nesting--;
    *out_node = node;
    return st;
}

static enum ks_status parse_whole(struct parser *p)
{
    /* Twice: the token and the one behind it. */
    enum ks_status st = advance(p);
    if (!st)
        st = advance(p);
    if (!st)
        st = parse_expression(p, POWER_NONE, &p->expression->root);
    return st || p->token.kind == JMES_END ? st : fail_token(p);
}

enum ks_status jmes_parse(struct ks_view text, struct jmes **out, struct ks_error *err)
{
    if (text.bytes > JMES_TEXT_BYTES_MAX)
        return ks_fail(err, KS_USAGE, 0, "limit: an expression has at most %u bytes",
            (unsigned)JMES_TEXT_BYTES_MAX);
    if (!ks_view_is_utf8(text))
        return ks_fail(err, KS_USAGE, 0, "syntax: not UTF-8");
    KS_CLEANUP(jmes_freep) struct jmes *expression = ks_zalloc(sizeof *expression);
    if (!expression)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for an expression");
    ks_arena_init(&expression->arena, ARENA_BYTES_MAX);
    expression->literals = json_array();
    struct parser p = {.expression = expression, .lexer = {.text = text}, .err = err};
    enum ks_status st = expression->literals ? parse_whole(&p) : fail_memory(&p);
    json_decref(p.token.literal);
    json_decref(p.ahead.literal);
    if (!st)
        *out = KS_TAKE(expression);
    return st;
}

void jmes_free(struct jmes *expression)
{
    if (!expression)
        return;
    json_decref(expression->literals);
    ks_arena_fini(&expression->arena);
    ks_free(expression);
}
