/* The words of an expression. */
#include "base/alloc.h"
#include "tools/jmes_priv.h"

#include <stdarg.h>
#include <stdio.h>

enum ks_status jmes_fail_at(
    struct ks_error *err, const char *kind, size_t position, const char *format, ...)
{
    char text[160];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    KS_IGNORE(ks_fail(err, KS_USAGE, 0, "%s: %s, at character %zu", kind, text, position + 1),
        "only fills err");
    return KS_USAGE;
}

static bool is_letter(uint8_t byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '_';
}

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

static uint8_t byte_at(const struct jmes_lexer *lexer, size_t position)
{
    return position < lexer->text.bytes ? lexer->text.data[position] : 0;
}

static enum ks_status fail_lex(
    const struct jmes_lexer *lexer, const struct jmes_token *token, struct ks_error *err)
{
    const char *what = (const char *)lexer->text.data + token->position;
    size_t left = lexer->text.bytes - token->position;
    /* The character, all of its bytes. */
    size_t bytes = 1;
    while (bytes < left && ((uint8_t)what[bytes] & 0xc0) == 0x80)
        bytes++;
    return jmes_fail_at(err, "syntax", token->position, "'%.*s' begins nothing", (int)bytes, what);
}

/* ---- names and numbers ---- */

static enum ks_status lex_identifier(
    const struct jmes_lexer *lexer, struct jmes_token *token, struct ks_error *err)
{
    while (is_letter(byte_at(lexer, token->position + token->bytes)) ||
           is_digit(byte_at(lexer, token->position + token->bytes)))
        token->bytes++;
    token->kind = JMES_IDENTIFIER;
    token->literal = json_stringn((const char *)lexer->text.data + token->position, token->bytes);
    return token->literal ? KS_OK : ks_fail(err, KS_NO_MEMORY, 0, "no memory for an expression");
}

static enum ks_status lex_number(
    const struct jmes_lexer *lexer, struct jmes_token *token, struct ks_error *err)
{
    bool is_negative = byte_at(lexer, token->position) == '-';
    token->bytes = is_negative;
    if (!is_digit(byte_at(lexer, token->position + token->bytes)))
        return fail_lex(lexer, token, err);
    token->kind = JMES_NUMBER;
    for (; is_digit(byte_at(lexer, token->position + token->bytes)); token->bytes++) {
        int digit = byte_at(lexer, token->position + token->bytes) - '0';
        /* Beyond any index all numbers mean the same. */
        if (token->number < INT32_MAX)
            token->number = token->number * 10 + digit;
    }
    if (is_negative)
        token->number = -token->number;
    return KS_OK;
}

/* ---- what stands between quotes ---- */

/*
 * The text up to the closing quote, a backslash before it left out if unescape. The token gets its
 * whole length. NULL: no closing quote.
 */
static char *take_quoted(
    const struct jmes_lexer *lexer, struct jmes_token *token, bool unescape, size_t *out_bytes)
{
    uint8_t quote = byte_at(lexer, token->position);
    char *text = ks_malloc(lexer->text.bytes - token->position + 1);
    size_t bytes = 0;
    size_t at = token->position + 1;
    while (text && at < lexer->text.bytes && lexer->text.data[at] != quote) {
        bool is_escape = lexer->text.data[at] == '\\' && at + 1 < lexer->text.bytes;
        bool is_escaped_quote = is_escape && lexer->text.data[at + 1] == quote;
        if (is_escape && !(unescape && is_escaped_quote))
            text[bytes++] = '\\';
        at += is_escape;
        text[bytes++] = (char)lexer->text.data[at++];
    }
    if (!text || at >= lexer->text.bytes) {
        ks_free(text);
        return NULL;
    }
    text[bytes] = '\0';
    token->bytes = at + 1 - token->position;
    *out_bytes = bytes;
    return text;
}

static enum ks_status fail_unclosed(
    const struct jmes_lexer *lexer, const struct jmes_token *token, struct ks_error *err)
{
    return jmes_fail_at(
        err, "syntax", token->position, "%c has no closing one", byte_at(lexer, token->position));
}

static enum ks_status lex_raw_string(
    const struct jmes_lexer *lexer, struct jmes_token *token, struct ks_error *err)
{
    size_t bytes = 0;
    KS_AUTO_FREE char *text = take_quoted(lexer, token, true, &bytes);
    if (!text)
        return fail_unclosed(lexer, token, err);
    token->kind = JMES_LITERAL;
    token->literal = json_stringn(text, bytes);
    return token->literal ? KS_OK : ks_fail(err, KS_NO_MEMORY, 0, "no memory for an expression");
}

#define LOAD_FLAGS (JSON_DECODE_ANY | JSON_ALLOW_NUL)

static json_t *load_json(const char *text, size_t bytes)
{
    json_error_t error;
    json_t *value = json_loadb(text, bytes, LOAD_FLAGS, &error);
    if (!value && json_error_code(&error) == json_error_numeric_overflow)
        value = json_loadb(text, bytes, LOAD_FLAGS | JSON_DECODE_INT_AS_REAL, &error);
    return value;
}

static enum ks_status lex_quoted_identifier(
    const struct jmes_lexer *lexer, struct jmes_token *token, struct ks_error *err)
{
    size_t bytes = 0;
    KS_AUTO_FREE KS_UNUSED char *text = take_quoted(lexer, token, false, &bytes);
    if (!text)
        return fail_unclosed(lexer, token, err);
    token->kind = JMES_QUOTED;
    token->literal = load_json((const char *)lexer->text.data + token->position, token->bytes);
    if (!token->literal ||
        strlen(json_string_value(token->literal)) != json_string_length(token->literal)) {
        json_decref(token->literal);
        token->literal = NULL;
        return jmes_fail_at(err, "syntax", token->position, "no valid name in double quotes");
    }
    return KS_OK;
}

/* JSON between backticks; what is none is a string without its quotes. */
static enum ks_status lex_literal(
    const struct jmes_lexer *lexer, struct jmes_token *token, struct ks_error *err)
{
    size_t bytes = 0;
    KS_AUTO_FREE char *text = take_quoted(lexer, token, true, &bytes);
    if (!text)
        return fail_unclosed(lexer, token, err);
    token->kind = JMES_LITERAL;
    token->literal = load_json(text, bytes);
    if (token->literal)
        return KS_OK;
    size_t blanks = strspn(text, " \t\r\n");
    KS_CLEANUP(ks_buf_fini) struct ks_buf quoted;
    ks_buf_init(&quoted, JMES_TEXT_BYTES_MAX + 2);
    if (!ks_buf_append_text(&quoted, "\"") ||
        !ks_buf_append(&quoted, text + blanks, bytes - blanks) ||
        !ks_buf_append_text(&quoted, "\""))
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for an expression");
    token->literal = load_json((const char *)quoted.data, quoted.bytes);
    return token->literal
               ? KS_OK
               : jmes_fail_at(err, "syntax", token->position, "no valid JSON between backticks");
}

/* ---- all the rest ---- */

struct sign {
    char text[3];
    enum jmes_token_kind kind;
};

/* Longer ones before those that begin them. */
static const struct sign signs[] = {{"[]", JMES_FLATTEN}, {"[?", JMES_FILTER}, {"[", JMES_LBRACKET},
    {"]", JMES_RBRACKET}, {"{", JMES_LBRACE}, {"}", JMES_RBRACE}, {"(", JMES_LPAREN},
    {")", JMES_RPAREN}, {",", JMES_COMMA}, {":", JMES_COLON}, {".", JMES_DOT}, {"*", JMES_STAR},
    {"@", JMES_CURRENT}, {"||", JMES_OR}, {"|", JMES_PIPE}, {"&&", JMES_AND}, {"&", JMES_EXPREF},
    {"==", JMES_EQ}, {"!=", JMES_NE}, {"!", JMES_NOT}, {"<=", JMES_LE}, {"<", JMES_LT},
    {">=", JMES_GE}, {">", JMES_GT}};

static enum ks_status lex_sign(
    const struct jmes_lexer *lexer, struct jmes_token *token, struct ks_error *err)
{
    for (size_t i = 0; i < KS_COUNT_OF(signs); i++) {
        size_t bytes = strlen(signs[i].text);
        if (lexer->text.bytes - token->position < bytes ||
            memcmp(lexer->text.data + token->position, signs[i].text, bytes) != 0)
            continue;
        token->kind = signs[i].kind;
        token->bytes = bytes;
        return KS_OK;
    }
    return fail_lex(lexer, token, err);
}

enum ks_status jmes_lexer_next(
    struct jmes_lexer *lexer, struct jmes_token *out_token, struct ks_error *err)
{
    while (lexer->position < lexer->text.bytes &&
           strchr(" \t\r\n", lexer->text.data[lexer->position]) && byte_at(lexer, lexer->position))
        lexer->position++;
    struct jmes_token token = {.kind = JMES_END, .position = lexer->position};
    enum ks_status st = KS_OK;
    uint8_t first = byte_at(lexer, lexer->position);
    if (lexer->position == lexer->text.bytes)
        st = KS_OK;
    else if (is_letter(first))
        st = lex_identifier(lexer, &token, err);
    else if (is_digit(first) || first == '-')
        st = lex_number(lexer, &token, err);
    else if (first == '\'')
        st = lex_raw_string(lexer, &token, err);
    else if (first == '"')
        st = lex_quoted_identifier(lexer, &token, err);
    else if (first == '`')
        st = lex_literal(lexer, &token, err);
    else
        st = lex_sign(lexer, &token, err);
    if (st)
        return st;
    lexer->position += token.bytes;
    *out_token = token;
    return KS_OK;
}
