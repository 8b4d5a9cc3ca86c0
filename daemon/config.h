/*
 * The settings of kstreamd, from one table (config.def): defaults, then the file, then the
 * environment, then flags; the last word wins. Only the start and the box are configured here;
 * streams are made by requests.
 */
#ifndef KS_DAEMON_CONFIG_H
#define KS_DAEMON_CONFIG_H

#include "base/status.h"

#include <stdio.h>

#undef unix /* gcc predefines it as 1; here it is the key of a setting */

#define KS_CONFIG_TEXT_BYTES 256

enum ks_verify_routing { KS_VERIFY_ROUTING_OFF, KS_VERIFY_ROUTING_SAMPLE, KS_VERIFY_ROUTING_ALL };
enum ks_log_format { KS_LOG_FORMAT_TEXT, KS_LOG_FORMAT_JSON };

/* A member per row, section_key: text, number (bytes, milliseconds or a count), truth, or the
 * number of a choice. */
struct ks_config {
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
};

/*
 * Fills out_config from the table and the sources. On failure both results are untouched.
 * Errors: KS_USAGE an unknown key, flag or bad value: the text says where, and the nearest name;
 * KS_IO the file cannot be read.
 */
enum ks_status ks_config_load(const struct ks_config_sources *sources, struct ks_config *out_config,
    enum ks_config_action *out_action, struct ks_error *err) KS_MUST_USE;

/* The whole table as a commented file, every value its default. */
void ks_config_print_defaults(FILE *to);
void ks_config_print_help(FILE *to);

#endif
