#include "daemon/units.h"

#include <stdio.h>
#include <string.h>

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit byte_units[] = {
    {"", 1},
    {"b", 1},
    {"k", 1ull << 10},
    {"kib", 1ull << 10},
    {"m", 1ull << 20},
    {"mib", 1ull << 20},
    {"g", 1ull << 30},
    {"gib", 1ull << 30},
    {"t", 1ull << 40},
    {"tib", 1ull << 40},
};

static const struct unit time_units[] = {
    {"ms", 1},
    {"s", 1000},
    {"m", 60ull * 1000},
    {"h", 3600ull * 1000},
    {"d", 24 * 3600ull * 1000},
};

static void number_to_text(
    uint64_t number, const struct unit *units, size_t unit_count, char *text, size_t text_bytes)
{
    size_t best = 0;
    for (size_t i = 0; i < unit_count && number > 0; i++)
        if (number % units[i].factor == 0)
            best = i;
    snprintf(text, text_bytes, "%llu%s", (unsigned long long)(number / units[best].factor),
        units[best].name);
}

void ks_units_bytes_to_text(uint64_t number, char *text, size_t text_bytes)
{
    static const struct unit units[] = {{"", 1}, {"KiB", 1ull << 10}, {"MiB", 1ull << 20},
        {"GiB", 1ull << 30}, {"TiB", 1ull << 40}};
    number_to_text(number, units, KS_COUNT_OF(units), text, text_bytes);
}

void ks_units_duration_to_text(uint64_t ms, char *text, size_t text_bytes)
{
    number_to_text(ms, time_units, KS_COUNT_OF(time_units), text, text_bytes);
}

static bool number_with_unit(
    const char *text, const struct unit *units, size_t unit_count, uint64_t *out)
{
    uint64_t number = 0;
    const char *p = text;
    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(number, 10u, &number) ||
            __builtin_add_overflow(number, (uint64_t)(*p - '0'), &number))
            return false;
    if (p == text)
        return false;
    for (size_t i = 0; i < unit_count; i++)
        if (strcasecmp(p, units[i].name) == 0)
            return !__builtin_mul_overflow(number, units[i].factor, out);
    return false;
}

bool ks_units_bytes(const char *text, uint64_t *out_bytes)
{
    return number_with_unit(text, byte_units, KS_COUNT_OF(byte_units), out_bytes);
}

bool ks_units_duration_ms(const char *text, uint64_t *out_ms)
{
    if (strcmp(text, "0") == 0) {
        *out_ms = 0;
        return true;
    }
    return number_with_unit(text, time_units, KS_COUNT_OF(time_units), out_ms);
}
