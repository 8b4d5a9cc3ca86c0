#include "tools/ctl_time.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A number from here on is milliseconds: as seconds it would be the year 5138. */
#define EPOCH_MS_FROM 100000000000ULL
/* 9999-12-31T23:59:59Z, the last moment RFC 3339 can write. */
#define UNIX_MS_MAX 253402300799999ULL

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit duration_units[] = {
    {"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};

static const struct unit size_units[] = {{"", 1}, {"b", 1}, {"k", 1ULL << 10}, {"kb", 1ULL << 10},
    {"kib", 1ULL << 10}, {"m", 1ULL << 20}, {"mb", 1ULL << 20}, {"mib", 1ULL << 20},
    {"g", 1ULL << 30}, {"gb", 1ULL << 30}, {"gib", 1ULL << 30}};

/* Digits, then one of the units, then the end. */
static bool number_with_unit(
    const char *text, const struct unit *units, size_t unit_count, uint64_t *out)
{
    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    char *end = NULL;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno)
        return false;
    for (size_t i = 0; i < unit_count; i++) {
        if (strcasecmp(end, units[i].name) != 0)
            continue;
        return !__builtin_mul_overflow((uint64_t)number, units[i].factor, out);
    }
    return false;
}

enum ks_status ctl_duration_from_text(const char *text, uint64_t *out_ms, struct ks_error *err)
{
    if (!number_with_unit(text, duration_units, KS_COUNT_OF(duration_units), out_ms))
        return ks_fail(
            err, KS_USAGE, 0, "'%.60s' is not a duration such as 500ms, 90s, 15m, 24h or 7d", text);
    return KS_OK;
}

enum ks_status ctl_size_from_text(const char *text, uint64_t *out_bytes, struct ks_error *err)
{
    if (!number_with_unit(text, size_units, KS_COUNT_OF(size_units), out_bytes))
        return ks_fail(err, KS_USAGE, 0, "'%.60s' is not a size such as 512, 64k or 10MiB", text);
    return KS_OK;
}

/* Exactly count digits; moves *text behind them. */
static bool take_digits(const char **text, int count, int *out)
{
    int value = 0;
    for (int i = 0; i < count; i++) {
        if (!isdigit((unsigned char)(*text)[i]))
            return false;
        value = value * 10 + ((*text)[i] - '0');
    }
    *text += count;
    *out = value;
    return true;
}

static bool take_char(const char **text, const char *any_of)
{
    if (!**text || !strchr(any_of, **text))
        return false;
    (*text)++;
    return true;
}

/* ".5" or ".123456": milliseconds, finer digits are cut. */
static bool take_fraction_ms(const char **text, int *out_ms)
{
    *out_ms = 0;
    if (!take_char(text, "."))
        return true;
    if (!isdigit((unsigned char)**text))
        return false;
    int unit = 100;
    while (isdigit((unsigned char)**text)) {
        *out_ms += (**text - '0') * unit;
        unit /= 10;
        (*text)++;
    }
    return true;
}

/* What stands behind the time of day. Minutes east of UTC, or local time when there is nothing. */
static bool take_zone(const char **text, bool *out_is_local, int *out_minutes)
{
    *out_is_local = false;
    *out_minutes = 0;
    if (take_char(text, "Zz"))
        return true;
    int sign = **text == '-' ? -1 : 1;
    if (!take_char(text, "+-")) {
        *out_is_local = true;
        return true;
    }
    int hours = 0;
    int minutes = 0;
    if (!take_digits(text, 2, &hours) || hours > 23)
        return false;
    KS_IGNORE(take_char(text, ":"), "the colon is optional");
    if (!take_digits(text, 2, &minutes) || minutes > 59)
        return false;
    *out_minutes = sign * (hours * 60 + minutes);
    return true;
}

static bool take_date(const char **text, struct tm *tm)
{
    int year = 0;
    int month = 0;
    if (!take_digits(text, 4, &year) || !take_char(text, "-") || !take_digits(text, 2, &month) ||
        !take_char(text, "-") || !take_digits(text, 2, &tm->tm_mday))
        return false;
    tm->tm_year = year - 1900;
    tm->tm_mon = month - 1;
    return month >= 1 && month <= 12 && tm->tm_mday >= 1 && tm->tm_mday <= 31;
}

static bool calendar_time(const char *text, uint64_t *out_unix_ms)
{
    struct tm tm = {.tm_isdst = -1};
    int fraction_ms = 0;
    int zone_minutes = 0;
    bool is_local = true;
    if (!take_date(&text, &tm))
        return false;
    if (take_char(&text, "Tt ")) {
        if (!take_digits(&text, 2, &tm.tm_hour) || !take_char(&text, ":") ||
            !take_digits(&text, 2, &tm.tm_min))
            return false;
        if (take_char(&text, ":") && !take_digits(&text, 2, &tm.tm_sec))
            return false;
        if (!take_fraction_ms(&text, &fraction_ms) || !take_zone(&text, &is_local, &zone_minutes))
            return false;
    }
    if (*text || tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60)
        return false;
    int day = tm.tm_mday;
    bool is_leap_second = tm.tm_sec == 60; /* rolls over to the next minute */
    time_t seconds = is_local ? mktime(&tm) : timegm(&tm);
    if (tm.tm_mday != day && !is_leap_second) /* the 31st of a short month */
        return false;
    int64_t ms = ((int64_t)seconds - (int64_t)zone_minutes * 60) * 1000 + fraction_ms;
    if (ms < 0)
        return false;
    *out_unix_ms = (uint64_t)ms;
    return true;
}

static bool epoch_time(const char *text, uint64_t *out_unix_ms)
{
    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    char *end = NULL;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno || number > UNIX_MS_MAX)
        return false;
    const char *rest = end;
    int fraction_ms = 0;
    if (!take_fraction_ms(&rest, &fraction_ms) || *rest)
        return false;
    uint64_t whole = number;
    *out_unix_ms = whole >= EPOCH_MS_FROM ? whole : whole * 1000 + (uint64_t)fraction_ms;
    return true;
}

enum ks_status ctl_time_from_text(
    const char *text, uint64_t now_unix_ms, uint64_t *out_unix_ms, struct ks_error *err)
{
    uint64_t ago_ms = 0;
    if (strcasecmp(text, "now") == 0) {
        *out_unix_ms = now_unix_ms;
        return KS_OK;
    }
    if (text[0] == '-' &&
        number_with_unit(text + 1, duration_units, KS_COUNT_OF(duration_units), &ago_ms)) {
        *out_unix_ms = ago_ms < now_unix_ms ? now_unix_ms - ago_ms : 0;
        return KS_OK;
    }
    if (calendar_time(text, out_unix_ms) || epoch_time(text, out_unix_ms))
        return KS_OK;
    return ks_fail(err, KS_USAGE, 0,
        "'%.60s' is not a time such as 2026-11-22T10:00:00Z, 1795341600, -2h or now", text);
}

/* Splits; moments beyond the year 9999 print as its end. */
static time_t whole_seconds(uint64_t unix_ms, unsigned *out_ms)
{
    unix_ms = ks_min_u64(unix_ms, UNIX_MS_MAX);
    *out_ms = (unsigned)(unix_ms % 1000);
    return (time_t)(unix_ms / 1000);
}

void ctl_time_to_utc(uint64_t unix_ms, char text[CTL_TIME_TEXT_BYTES])
{
    unsigned ms = 0;
    time_t seconds = whole_seconds(unix_ms, &ms);
    struct tm tm;
    char day[24] = "";
    if (gmtime_r(&seconds, &tm))
        strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text, CTL_TIME_TEXT_BYTES, "%s.%03uZ", day, ms);
}

void ctl_time_to_local(uint64_t unix_ms, char text[CTL_TIME_TEXT_BYTES])
{
    unsigned ms = 0;
    time_t seconds = whole_seconds(unix_ms, &ms);
    struct tm tm;
    char day[24] = "";
    char zone[8] = "+0000";
    if (localtime_r(&seconds, &tm)) {
        strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm);
        strftime(zone, sizeof zone, "%z", &tm);
    }
    snprintf(text, CTL_TIME_TEXT_BYTES, "%s.%03u%.3s:%.2s", day, ms, zone, zone + 3);
}

void ctl_size_to_text(uint64_t bytes, char *text, size_t text_bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    if (bytes < 1024) {
        snprintf(text, text_bytes, "%u B", (unsigned)bytes);
        return;
    }
    double value = (double)bytes / 1024;
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < KS_COUNT_OF(units)) {
        value /= 1024;
        unit++;
    }
    snprintf(text, text_bytes, "%.1f %s", value, units[unit]);
}
