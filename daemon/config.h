/*
 * The settings of kstreamd, from one table (config.def): defaults, then the files, then the
 * environment, then flags; the last word wins. Only the start and the box are configured here;
 * streams are made by requests.
 *
 * A struct ks_config is what one reading of all sources said, and never changes. Settings that a
 * reload may change (LIVE in the table) are read from the one struct ks_live of the process.
 */
#ifndef KS_DAEMON_CONFIG_H
#define KS_DAEMON_CONFIG_H

#include "base/status.h"

#include <stdatomic.h>
#include <stdio.h>

#undef unix /* gcc predefines it as 1; here it is the key of a setting */

#define KS_CONFIG_TEXT_BYTES 256
#define KS_CONFIG_KEY_BYTES 64 /* "section.key" */

enum ks_verify_routing { KS_VERIFY_ROUTING_OFF, KS_VERIFY_ROUTING_SAMPLE, KS_VERIFY_ROUTING_ALL };
enum ks_log_format {
    KS_LOG_FORMAT_AUTO,
    KS_LOG_FORMAT_TEXT,
    KS_LOG_FORMAT_JSON,
    KS_LOG_FORMAT_JOURNAL
};

/* How many settings there are. */
enum {
#define KS_CONFIG_TEXT(section, key, ...) KS_CONFIG_ROW_##section##_##key,
#define KS_CONFIG_BYTES(section, key, ...) KS_CONFIG_ROW_##section##_##key,
#define KS_CONFIG_DURATION(section, key, ...) KS_CONFIG_ROW_##section##_##key,
#define KS_CONFIG_COUNT(section, key, ...) KS_CONFIG_ROW_##section##_##key,
#define KS_CONFIG_BOOL(section, key, ...) KS_CONFIG_ROW_##section##_##key,
#define KS_CONFIG_CHOICE(section, key, ...) KS_CONFIG_ROW_##section##_##key,
#include "daemon/config.def"
#undef KS_CONFIG_TEXT
#undef KS_CONFIG_BYTES
#undef KS_CONFIG_DURATION
#undef KS_CONFIG_COUNT
#undef KS_CONFIG_BOOL
#undef KS_CONFIG_CHOICE
    KS_CONFIG_ROWS
};

/* Who had the last word on a setting. */
enum ks_config_source {
    KS_CONFIG_FROM_DEFAULT,
    KS_CONFIG_FROM_FILE,
    KS_CONFIG_FROM_ENVIRONMENT,
    KS_CONFIG_FROM_FLAG
};

#define KS_CONFIG_WHERE_BYTES 256

struct ks_config_origin {
    enum ks_config_source source;
    /* "/etc/kstream/kstreamd.conf:12", "KSTREAM_LISTEN__HTTP", "--http"; "" for a default. Of a
     * longer path the beginning is left out. */
    char where[KS_CONFIG_WHERE_BYTES];
};

/* A member per row, section_key: text, number (bytes, milliseconds or a count), truth, or the
 * number of a choice. */
struct ks_config {
    struct ks_config_origin origins[KS_CONFIG_ROWS];
#define KS_CONFIG_TEXT(section, key, ...) char section##_##key[KS_CONFIG_TEXT_BYTES];
#define KS_CONFIG_BYTES(section, key, ...) uint64_t section##_##key;
#define KS_CONFIG_DURATION(section, key, ...) uint64_t section##_##key;
#define KS_CONFIG_COUNT(section, key, ...) uint64_t section##_##key;
#define KS_CONFIG_BOOL(section, key, ...) uint64_t section##_##key;
#define KS_CONFIG_CHOICE(section, key, ...) uint64_t section##_##key;
#include "daemon/config.def"
#undef KS_CONFIG_TEXT
#undef KS_CONFIG_BYTES
#undef KS_CONFIG_DURATION
#undef KS_CONFIG_COUNT
#undef KS_CONFIG_BOOL
#undef KS_CONFIG_CHOICE
};

/*
 * The LIVE settings as they are now. Written by ks_live_store when everything has been validated,
 * read by any thread at each use; a thread may see one of two new values before the other.
 */
struct ks_live {
#define KS_LIVE_MEMBER_LIVE(section, key) _Atomic uint64_t section##_##key;
#define KS_LIVE_MEMBER_RESTART(section, key)
#define KS_LIVE_MEMBER(section, key, apply, ...) KS_LIVE_MEMBER_##apply(section, key)
#define KS_CONFIG_TEXT(section, key, apply, ...)
#define KS_CONFIG_BYTES(section, key, ...) KS_LIVE_MEMBER(section, key, __VA_ARGS__)
#define KS_CONFIG_DURATION(section, key, ...) KS_LIVE_MEMBER(section, key, __VA_ARGS__)
#define KS_CONFIG_COUNT(section, key, ...) KS_LIVE_MEMBER(section, key, __VA_ARGS__)
#define KS_CONFIG_BOOL(section, key, ...) KS_LIVE_MEMBER(section, key, __VA_ARGS__)
#define KS_CONFIG_CHOICE(section, key, ...) KS_LIVE_MEMBER(section, key, __VA_ARGS__)
#include "daemon/config.def"
#undef KS_CONFIG_TEXT
#undef KS_CONFIG_BYTES
#undef KS_CONFIG_DURATION
#undef KS_CONFIG_COUNT
#undef KS_CONFIG_BOOL
#undef KS_CONFIG_CHOICE
};

/* What the command line asks for besides running. */
enum ks_config_action {
    KS_ACTION_RUN,
    KS_ACTION_HELP,
    KS_ACTION_VERSION,
    KS_ACTION_PRINT_DEFAULT_CONFIG,
    KS_ACTION_CHECK_CONFIG,
    KS_ACTION_PRINT_ADDRESSES,
};

struct ks_config_sources {
    int argc; /* the program's name first */
    char *const *argv;
    char *const *environment; /* "NAME=value", NULL-terminated; may be NULL */
    /* Read when neither --config nor KSTREAM_CONFIG names a file, if it exists; NULL: none. */
    const char *default_path;
    /* Called with the path of each file that was read; may be NULL. */
    void (*on_file)(void *arg, const char *path);
    void *on_file_arg;
};

/*
 * Fills out_config from the table and the sources. On failure both results are untouched.
 * Errors: KS_USAGE an unknown key, flag or bad value: the text says where, and the nearest name;
 * KS_IO the file cannot be read.
 */
enum ks_status ks_config_load(const struct ks_config_sources *sources, struct ks_config *out_config,
    enum ks_config_action *out_action, struct ks_error *err) KS_MUST_USE;

/* The LIVE members of config, for every reader from now on. */
void ks_live_store(struct ks_live *live, const struct ks_config *config);

/* A key whose values differ, as people write them. */
struct ks_config_change {
    char key[KS_CONFIG_KEY_BYTES]; /* "limits.in_flight" */
    bool is_live;                  /* false: it needs a restart */
    char from[KS_CONFIG_TEXT_BYTES];
    char to[KS_CONFIG_TEXT_BYTES];
};
/* Calls each for every key in which the two differ, in the order of the table. */
void ks_config_diff(const struct ks_config *from, const struct ks_config *to,
    void (*each)(void *arg, const struct ks_config_change *change), void *arg);
/* Puts the LIVE members of from, and where they come from, into to: what runs after a reload. */
void ks_config_copy_live(const struct ks_config *from, struct ks_config *to);

/* A setting as people write it. */
struct ks_config_setting {
    char key[KS_CONFIG_KEY_BYTES]; /* "limits.in_flight" */
    char value[KS_CONFIG_TEXT_BYTES];
    const char *fallback; /* the default */
    bool is_live;         /* false: a change needs a restart */
    const struct ks_config_origin *origin;
};
/* Setting i of the table, from 0 to KS_CONFIG_ROWS - 1. origin points into config. */
void ks_config_setting_at(
    const struct ks_config *config, size_t i, struct ks_config_setting *out_setting);
/* "default", "file", "environment", "flag" */
const char *ks_config_source_text(enum ks_config_source source);

/* The whole table as a commented file, every value its default. */
void ks_config_print_defaults(FILE *to);
void ks_config_print_help(FILE *to);

#endif
