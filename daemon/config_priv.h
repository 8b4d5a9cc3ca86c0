/* The rows of config.def as a table, for what reads, prints and explains settings. Threads:
 * constant. */
#ifndef KS_DAEMON_CONFIG_PRIV_H
#define KS_DAEMON_CONFIG_PRIV_H

#include "daemon/config.h"

enum ks_config_type {
    KS_CONFIG_IS_TEXT,
    KS_CONFIG_IS_BYTES,
    KS_CONFIG_IS_DURATION,
    KS_CONFIG_IS_COUNT,
    KS_CONFIG_IS_BOOL,
    KS_CONFIG_IS_CHOICE
};

struct ks_config_row {
    const char *section;
    const char *key;
    const char *flag;
    const char *fallback; /* the default */
    const char *text;
    const char *choices; /* KS_CONFIG_IS_CHOICE: words between '|' */
    uint64_t min;
    uint64_t max;
    enum ks_config_type type;
    size_t offset;      /* in struct ks_config */
    size_t live_offset; /* in struct ks_live; KS_CONFIG_NOT_LIVE: not there */
};

#define KS_CONFIG_NOT_LIVE SIZE_MAX

/* In the order of config.def: the keys of a section stand together. */
extern const struct ks_config_row ks_config_rows[KS_CONFIG_ROWS];

struct ks_config_action_flag {
    const char *flag;
    enum ks_config_action action;
    const char *text;
};
#define KS_CONFIG_ACTION_FLAGS 5
extern const struct ks_config_action_flag ks_config_action_flags[KS_CONFIG_ACTION_FLAGS];

/* Of every type but text. */
const uint64_t *ks_config_number(const struct ks_config_row *row, const struct ks_config *config);
/* A number of the row's type, as people write it. */
void ks_config_number_to_text(
    const struct ks_config_row *row, uint64_t number, char text[KS_CONFIG_TEXT_BYTES]);
/* The value as people write it. */
void ks_config_value(const struct ks_config_row *row, const struct ks_config *config,
    char text[KS_CONFIG_TEXT_BYTES]);
/* "KSTREAM_SECTION__KEY" */
#define KS_CONFIG_VARIABLE_BYTES 128
void ks_config_variable(const struct ks_config_row *row, char name[KS_CONFIG_VARIABLE_BYTES]);

#endif
