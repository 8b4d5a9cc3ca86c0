#include "proto/patterns.h"

static const char *const pattern_texts[] = {
    [KS_PATTERN_NONE] = "",
    [KS_PATTERN_NAME] = "[a-zA-Z0-9_.-]+",
    [KS_PATTERN_HASH_KEY] = "0|([1-9]\\d{0,38})",
    [KS_PATTERN_SEQUENCE_NUMBER] = "0|([1-9]\\d{0,128})",
    [KS_PATTERN_STREAM_ARN] = "arn:aws.*:kinesis:.*:\\d{12}:stream/\\S+",
    [KS_PATTERN_RESOURCE_ARN] = "arn:aws.*:kinesis:.*:\\d{12}:.*stream/\\S+",
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

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Behind ":" 12 digits ":" at at; 0: they are not there. */
static size_t account_end(struct ks_view text, size_t at)
{
    if (!starts_with(text, at, ":") || text.bytes - at < 14 || text.data[at + 13] != ':')
        return 0;
    for (size_t i = 1; i <= 12; i++)
        if (!is_digit(text.data[at + i]))
            return 0;
    return at + 14;
}

/* "stream/" at at, and one or more characters behind it, none of them a white space. */
static bool is_stream_end(struct ks_view text, size_t at)
{
    static const char stream[] = "stream/";
    if (!starts_with(text, at, stream))
        return false;
    at += sizeof stream - 1;
    for (size_t i = at; i < text.bytes; i++)
        if (is_space(text.data[i]))
            return false;
    return at < text.bytes;
}

/* Behind "arn:aws", any, ":kinesis:", where the first one leaves the most room; 0: not there. "Any"
 * is anything but a line end. */
static size_t arn_service_end(struct ks_view text)
{
    if (!starts_with(text, 0, "arn:aws") || memchr(text.data, '\n', text.bytes))
        return 0;
    for (size_t at = strlen("arn:aws"); at < text.bytes; at++)
        if (starts_with(text, at, ":kinesis:"))
            return at + strlen(":kinesis:");
    return 0;
}

static bool is_stream_arn(struct ks_view text)
{
    size_t at = arn_service_end(text);
    for (; at > 0 && at < text.bytes; at++) {
        size_t end = account_end(text, at);
        if (end > 0 && is_stream_end(text, end))
            return true;
    }
    return false;
}

/* The same with anything between the account and "stream/". The first account leaves the most room;
 * of the "stream/" behind it only the last two can do: the last may have nothing behind it. */
static bool is_resource_arn(struct ks_view text)
{
    size_t at = arn_service_end(text);
    size_t end = 0;
    for (; at > 0 && at < text.bytes && end == 0; at++)
        end = account_end(text, at);
    unsigned seen = 0;
    for (size_t i = text.bytes; end > 0 && i-- > end && seen < 2;) {
        if (is_stream_end(text, i))
            return true;
        seen += starts_with(text, i, "stream/");
    }
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
    case KS_PATTERN_RESOURCE_ARN:
        return is_resource_arn(text);
    case KS_PATTERN_STREAM_ID:
        return is_stream_id(text);
    }
    return false;
}
