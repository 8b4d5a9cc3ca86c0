#include "daemon/config_priv.h"
#include "daemon/units.h"

#include <string.h>

#define LIVE_OFFSET_LIVE(s, k) offsetof(struct ks_live, s##_##k)
#define LIVE_OFFSET_RESTART(s, k) KS_CONFIG_NOT_LIVE
#define ROW(s, k, a, f, d, t, type_)                                                               \
    .section = #s, .key = #k, .flag = (f), .fallback = (d), .text = (t), .type = (type_),          \
    .offset = offsetof(struct ks_config, s##_##k), .live_offset = LIVE_OFFSET_##a(s, k)
#define KS_CONFIG_TEXT(s, k, a, f, d, t) {ROW(s, k, a, f, d, t, KS_CONFIG_IS_TEXT)},
#define KS_CONFIG_BYTES(s, k, a, f, d, t, lo, hi)                                                  \
    {ROW(s, k, a, f, d, t, KS_CONFIG_IS_BYTES), .min = (lo), .max = (hi)},
#define KS_CONFIG_DURATION(s, k, a, f, d, t, lo, hi)                                               \
    {ROW(s, k, a, f, d, t, KS_CONFIG_IS_DURATION), .min = (lo), .max = (hi)},
#define KS_CONFIG_COUNT(s, k, a, f, d, t, lo, hi)                                                  \
    {ROW(s, k, a, f, d, t, KS_CONFIG_IS_COUNT), .min = (lo), .max = (hi)},
#define KS_CONFIG_BOOL(s, k, a, f, d, t) {ROW(s, k, a, f, d, t, KS_CONFIG_IS_BOOL)},
#define KS_CONFIG_CHOICE(s, k, a, f, d, t, words)                                                  \
    {ROW(s, k, a, f, d, t, KS_CONFIG_IS_CHOICE), .choices = (words)},

const struct ks_config_row ks_config_rows[KS_CONFIG_ROWS] = {
#include "daemon/config.def"
};

const struct ks_config_action_flag ks_config_action_flags[KS_CONFIG_ACTION_FLAGS] = {
    {"help", KS_ACTION_HELP, "print this"},
    {"version", KS_ACTION_VERSION, "print the version"},
    {"print-default-config", KS_ACTION_PRINT_DEFAULT_CONFIG,
        "print a commented configuration file"},
    {"check-config", KS_ACTION_CHECK_CONFIG, "read the configuration, say whether it is right"},
    {"print-addresses", KS_ACTION_PRINT_ADDRESSES,
        "print the addresses when ready, then go on running"},
};

/* The word of a number that choice_index gave. */
static void choice_word(const char *choices, uint64_t index, char text[KS_CONFIG_TEXT_BYTES])
{
    for (; index > 0; index--)
        choices += strcspn(choices, "|") + 1;
    snprintf(text, KS_CONFIG_TEXT_BYTES, "%.*s", (int)strcspn(choices, "|"), choices);
}

const uint64_t *ks_config_number(const struct ks_config_row *row, const struct ks_config *config)
{
    KS_ASSERT(row->type != KS_CONFIG_IS_TEXT);
    return (const uint64_t *)(const void *)((const char *)config + row->offset);
}

void ks_config_number_to_text(
    const struct ks_config_row *row, uint64_t number, char text[KS_CONFIG_TEXT_BYTES])
{
    switch (row->type) {
    case KS_CONFIG_IS_TEXT:
    case KS_CONFIG_IS_COUNT:
        snprintf(text, KS_CONFIG_TEXT_BYTES, "%llu", (unsigned long long)number);
        break;
    case KS_CONFIG_IS_BYTES:
        ks_units_bytes_to_text(number, text, KS_CONFIG_TEXT_BYTES);
        break;
    case KS_CONFIG_IS_DURATION:
        ks_units_duration_to_text(number, text, KS_CONFIG_TEXT_BYTES);
        break;
    case KS_CONFIG_IS_BOOL:
        snprintf(text, KS_CONFIG_TEXT_BYTES, "%s", number ? "yes" : "no");
        break;
    case KS_CONFIG_IS_CHOICE:
        choice_word(row->choices, number, text);
        break;
    }
}

void ks_config_value(const struct ks_config_row *row, const struct ks_config *config,
    char text[KS_CONFIG_TEXT_BYTES])
{
    if (row->type == KS_CONFIG_IS_TEXT)
        memcpy(text, (const char *)config + row->offset, KS_CONFIG_TEXT_BYTES);
    else
        ks_config_number_to_text(row, *ks_config_number(row, config), text);
}

void ks_config_variable(const struct ks_config_row *row, char name[KS_CONFIG_VARIABLE_BYTES])
{
    snprintf(name, KS_CONFIG_VARIABLE_BYTES, "KSTREAM_%s__%s", row->section, row->key);
    for (char *p = name; *p; p++)
        if (*p >= 'a' && *p <= 'z')
            *p = (char)(*p - 'a' + 'A');
}
