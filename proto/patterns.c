#include "proto/patterns.h"

static const char *const pattern_texts[] = {
    [KS_PATTERN_NONE] = "",
    [KS_PATTERN_NAME] = "[a-zA-Z0-9_.-]+",
    [KS_PATTERN_HASH_KEY] = "0|([1-9]\\d{0,38})",
    [KS_PATTERN_SEQUENCE_NUMBER] = "0|([1-9]\\d{0,128})",
    [KS_PATTERN_STREAM_ARN] = "arn:aws.*:kinesis:.*:\\d{12}:stream/\\S+",
    [KS_PATTERN_STREAM_ID] = "[a-z0-9]{20}-[a-z0-9]{3}",
};

const char *ks_pattern_text(enum ks_pattern pattern)
{
    return pattern_texts[pattern];
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_lower_or_digit(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || is_digit(c);
}

static bool is_name(struct ks_view text)
{
    for (size_t i = 0; i < text.bytes; i++) {
        uint8_t c = text.data[i];
        if (!is_lower_or_digit(c) && !(c >= 'A' && c <= 'Z') && c != '_' && c != '.' && c != '-')
            return false;
    }
    return text.bytes > 0;
}

/* 0|([1-9]\d{0,digits_max - 1}) */
static bool is_number(struct ks_view text, size_t digits_max)
{
    if (text.bytes == 0 || text.bytes > digits_max || (text.data[0] == '0' && text.bytes > 1))
        return false;
    for (size_t i = 0; i < text.bytes; i++)
        if (!is_digit(text.data[i]))
            return false;
    return true;
}

static bool is_stream_id(struct ks_view text)
{
    if (text.bytes != 24)
        return false;
    for (size_t i = 0; i < text.bytes; i++)
        if (i == 20 ? text.data[i] != '-' : !is_lower_or_digit(text.data[i]))
            return false;
    return true;
}

static bool starts_with(struct ks_view text, size_t at, const char *what)
{
    size_t bytes = strlen(what);
    return at <= text.bytes && text.bytes - at >= bytes && memcmp(text.data + at, what, bytes) == 0;
}

/* At at: ":" 12 digits ":stream/" and one or more characters, none of them a white space. */
static bool is_arn_end(struct ks_view text, size_t at)
{
    if (!starts_with(text, at, ":") || text.bytes - at < 13)
        return false;
    for (size_t i = 1; i <= 12; i++)
        if (!is_digit(text.data[at + i]))
            return false;
    at += 13;
    if (!starts_with(text, at, ":stream/"))
        return false;
    at += strlen(":stream/");
    for (size_t i = at; i < text.bytes; i++)
        if (text.data[i] == ' ' || (text.data[i] >= '\t' && text.data[i] <= '\r'))
            return false;
    return at < text.bytes;
}

/* The two ".*" may hold anything but a line end. Linear: the first ":kinesis:" leaves the most room
 * for the rest. */
static bool is_stream_arn(struct ks_view text)
{
    if (!starts_with(text, 0, "arn:aws") || memchr(text.data, '\n', text.bytes))
        return false;
    size_t at = strlen("arn:aws");
    while (at < text.bytes && !starts_with(text, at, ":kinesis:"))
        at++;
    if (at == text.bytes)
        return false;
    for (at += strlen(":kinesis:"); at < text.bytes; at++)
        if (is_arn_end(text, at))
            return true;
    return false;
}

bool ks_pattern_matches(enum ks_pattern pattern, struct ks_view text)
{
    switch (pattern) {
    case KS_PATTERN_NONE:
        return true;
    case KS_PATTERN_NAME:
        return is_name(text);
    case KS_PATTERN_HASH_KEY:
        return is_number(text, 39);
    case KS_PATTERN_SEQUENCE_NUMBER:
        return is_number(text, 129);
    case KS_PATTERN_STREAM_ARN:
        return is_stream_arn(text);
    case KS_PATTERN_STREAM_ID:
        return is_stream_id(text);
    }
    return false;
}
