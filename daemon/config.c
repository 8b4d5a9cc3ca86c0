#include "daemon/config.h"

#include "base/alloc.h"
#include "daemon/config_priv.h"
#include "daemon/listener.h"
#include "daemon/units.h"
#include "storage/engine.h"

#include <dirent.h>
#include <errno.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Edit distance, for "did you mean". Names are short; a row of counters is enough. */
static size_t distance(const char *a, const char *b)
{
    size_t counts[128];
    size_t b_bytes = strlen(b);
    if (b_bytes >= KS_COUNT_OF(counts))
        return SIZE_MAX;
    for (size_t j = 0; j <= b_bytes; j++)
        counts[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = counts[0];
        counts[0] = i;
        for (size_t j = 1; j <= b_bytes; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = counts[j];
            counts[j] = KS_MIN(change, KS_MIN(counts[j], counts[j - 1]) + 1);
        }
    }
    return counts[b_bytes];
}

/* How far a name may be from what was typed to be offered. */
static size_t near_enough(const char *typed)
{
    return strlen(typed) / 3 + 1;
}

static size_t choice_index(const char *choices, const char *word, size_t *out_count)
{
    size_t index = SIZE_MAX;
    size_t count = 0;
    for (const char *p = choices;; count++) {
        size_t bytes = strcspn(p, "|");
        if (strlen(word) == bytes && memcmp(word, p, bytes) == 0)
            index = count;
        if (!p[bytes])
            break;
        p += bytes + 1;
    }
    *out_count = count + 1;
    return index;
}

/* where names the source in the error: "line 12 of 'kstreamd.conf'", "--listen",
 * "KSTREAM_LISTEN__HTTP". */
static enum ks_status row_set(const struct ks_config_row *row, struct ks_config *config,
    const char *value, const char *where, struct ks_error *err)
{
    void *member = (char *)config + row->offset;
    uint64_t number = 0;
    size_t choices;
    switch (row->type) {
    case KS_CONFIG_IS_TEXT:
        if (strlen(value) >= KS_CONFIG_TEXT_BYTES)
            return ks_fail(err, KS_USAGE, 0, "%s: value of '%s.%s' is longer than %d bytes", where,
                row->section, row->key, KS_CONFIG_TEXT_BYTES - 1);
        memcpy(member, value, strlen(value) + 1);
        return KS_OK;
    case KS_CONFIG_IS_BYTES:
        if (!ks_units_bytes(value, &number))
            return ks_fail(
                err, KS_USAGE, 0, "%s: '%s' is not a size like 4096, 64KiB or 10MiB", where, value);
        break;
    case KS_CONFIG_IS_DURATION:
        if (!ks_units_duration_ms(value, &number))
            return ks_fail(err, KS_USAGE, 0, "%s: '%s' is not a duration like 500ms, 90s or 24h",
                where, value);
        break;
    case KS_CONFIG_IS_COUNT:
        if (strspn(value, "0123456789") != strlen(value) || !ks_units_bytes(value, &number))
            return ks_fail(err, KS_USAGE, 0, "%s: '%s' is not a number", where, value);
        break;
    case KS_CONFIG_IS_BOOL:
        number = choice_index("no|yes|false|true|off|on|0|1", value, &choices);
        if (number == SIZE_MAX)
            return ks_fail(err, KS_USAGE, 0, "%s: '%s' is neither yes nor no", where, value);
        *(uint64_t *)member = number & 1;
        return KS_OK;
    case KS_CONFIG_IS_CHOICE:
        number = choice_index(row->choices, value, &choices);
        if (number == SIZE_MAX)
            return ks_fail(err, KS_USAGE, 0, "%s: '%s' is none of %s", where, value, row->choices);
        *(uint64_t *)member = number;
        return KS_OK;
    }
    if (number < row->min || number > row->max) {
        char least[KS_CONFIG_TEXT_BYTES];
        char most[KS_CONFIG_TEXT_BYTES];
        ks_config_number_to_text(row, row->min, least);
        ks_config_number_to_text(row, row->max, most);
        return ks_fail(
            err, KS_USAGE, 0, "%s: '%s' is out of range: %s to %s", where, value, least, most);
    }
    *(uint64_t *)member = number;
    return KS_OK;
}

/* The value just set comes from there. */
static void origin_set(const struct ks_config_row *row, struct ks_config *config,
    enum ks_config_source source, const char *where)
{
    struct ks_config_origin *origin = &config->origins[row - ks_config_rows];
    size_t bytes = strlen(where);
    origin->source = source;
    if (bytes < sizeof(origin->where))
        memcpy(origin->where, where, bytes + 1);
    else
        snprintf(origin->where, sizeof(origin->where), "...%s",
            where + bytes - (sizeof(origin->where) - 4));
}

static const struct ks_config_row *row_find(const char *section, const char *key)
{
    for (size_t i = 0; i < KS_CONFIG_ROWS; i++)
        if (strcmp(ks_config_rows[i].section, section) == 0 &&
            strcmp(ks_config_rows[i].key, key) == 0)
            return &ks_config_rows[i];
    return NULL;
}

static enum ks_status unknown_key(
    const char *where, const char *section, const char *key, struct ks_error *err)
{
    char wanted[128];
    char nearest[128] = "";
    size_t best = SIZE_MAX;
    snprintf(wanted, sizeof(wanted), "%s.%s", section, key);
    for (size_t i = 0; i < KS_CONFIG_ROWS; i++) {
        char name[128];
        snprintf(name, sizeof(name), "%s.%s", ks_config_rows[i].section, ks_config_rows[i].key);
        size_t d = distance(wanted, name);
        /* A right key in a wrong section is nearer than any misspelling. */
        if (strcmp(key, ks_config_rows[i].key) == 0)
            d = 1;
        if (d < best) {
            best = d;
            memcpy(nearest, name, sizeof(nearest));
        }
    }
    if (best > near_enough(wanted))
        return ks_fail(err, KS_USAGE, 0, "%s: unknown key '%s'", where, wanted);
    return ks_fail(
        err, KS_USAGE, 0, "%s: unknown key '%s'; did you mean '%s'?", where, wanted, nearest);
}

/* ---- the file ---- */

struct file_reader {
    FILE *file;
    const char *path;
    int line;
    bool is_mid_line;
    struct ks_config *config;
    enum ks_status status;
    struct ks_error *err;
};

/* inih would go on in the section before. */
static enum ks_status section_check(const struct file_reader *reader, const char *line)
{
    const char *end = strchr(line, ']');
    size_t blanks = end ? strspn(end + 1, " \t\r\n") : 0;
    if (end && (end[1 + blanks] == '\0' || strchr(";#", end[1 + blanks])))
        return KS_OK;
    return ks_fail(reader->err, KS_USAGE, 0, "line %d of '%s': '%.*s' is no '[section]'",
        reader->line, reader->path, (int)KS_MIN(strcspn(line, "\r\n"), (size_t)80), line);
}

/* inih gives its handler no line number; the reader counts. */
static char *file_line(char *to, int bytes, void *stream)
{
    struct file_reader *reader = stream;
    char *line = fgets(to, bytes, reader->file);
    if (!line)
        return NULL;
    bool is_begin = !reader->is_mid_line;
    reader->is_mid_line = strchr(line, '\n') == NULL;
    if (!is_begin)
        return line;
    reader->line++;
    /* inih takes an indented line for more of the value before it, so that an indented key would
     * silently become another key's value. */
    char *text = line + strspn(line, " \t");
    memmove(line, text, strlen(text) + 1);
    if (line[0] == '[' && !reader->status)
        reader->status = section_check(reader, line);
    return reader->status ? NULL : line;
}

static int file_key(void *arg, const char *section, const char *key, const char *value)
{
    struct file_reader *reader = arg;
    if (reader->status)
        return 0;
    char where[160];
    snprintf(where, sizeof(where), "line %d of '%s'", reader->line, reader->path);
    const struct ks_config_row *row = row_find(section, key);
    reader->status = row ? row_set(row, reader->config, value, where, reader->err)
                         : unknown_key(where, section, key, reader->err);
    if (reader->status)
        return 0;
    char place[3500];
    snprintf(place, sizeof(place), "%s:%d", reader->path, reader->line);
    origin_set(row, reader->config, KS_CONFIG_FROM_FILE, place);
    return 1;
}

static enum ks_status load_file(const char *path, const struct ks_config_sources *sources,
    struct ks_config *config, struct ks_error *err)
{
    struct file_reader reader = {.path = path, .config = config, .err = err};
    reader.file = fopen(path, "re");
    if (!reader.file)
        return ks_fail(err, KS_IO, errno, "cannot read the configuration '%s'", path);
    int rc = ini_parse_stream(file_line, &reader, file_key, &reader);
    bool is_read = !ferror(reader.file);
    fclose(reader.file);
    if (reader.status)
        return reader.status;
    /* inih cuts lines of 200 bytes and more after it has handed out the cut value: any complaint is
     * fatal. */
    if (rc > 0)
        return ks_fail(err, KS_USAGE, 0,
            "line %d of '%s' is not 'key = value' or '[section]', or is longer than 199 bytes", rc,
            path);
    if (rc < 0 || !is_read)
        return ks_fail(err, KS_IO, errno, "cannot read the configuration '%s'", path);
    if (sources->on_file)
        sources->on_file(sources->on_file_arg, path);
    return KS_OK;
}

static int is_conf(const struct dirent *entry)
{
    size_t bytes = strlen(entry->d_name);
    return bytes > 5 && entry->d_name[0] != '.' && strcmp(entry->d_name + bytes - 5, ".conf") == 0;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* FILE, then conf.d/ *.conf beside it in the order of their names: later ones win. */
static enum ks_status load_files(const char *path, const struct ks_config_sources *sources,
    struct ks_config *config, struct ks_error *err)
{
    enum ks_status st = load_file(path, sources, config, err);
    if (st)
        return st;
    char folder[3000];
    const char *slash = strrchr(path, '/');
    int n =
        snprintf(folder, sizeof(folder), "%.*sconf.d", slash ? (int)(slash - path + 1) : 0, path);
    if (n < 0 || (size_t)n >= sizeof(folder))
        return ks_fail(err, KS_USAGE, 0, "the path of the configuration is too long");
    struct dirent **entries = NULL;
    /* alphasort would follow the locale. */
    int count = scandir(folder, &entries, is_conf, by_bytes);
    if (count < 0 && errno != ENOENT)
        return ks_fail(err, KS_IO, errno, "cannot read the configuration '%s'", folder);
    for (int i = 0; i < count; i++) {
        char name[3400];
        snprintf(name, sizeof(name), "%s/%s", folder, entries[i]->d_name);
        if (!st)
            st = load_file(name, sources, config, err);
        free(entries[i]); /* scandir's own */
    }
    if (count >= 0)
        free(entries);
    return st;
}

/* ---- environment and flags ---- */

static const char *environment_value(char *const *environment, const char *name)
{
    size_t bytes = strlen(name);
    for (; environment && *environment; environment++)
        if (strncmp(*environment, name, bytes) == 0 && (*environment)[bytes] == '=')
            return *environment + bytes + 1;
    return NULL;
}

static enum ks_status load_environment(
    char *const *environment, struct ks_config *config, struct ks_error *err)
{
    for (size_t i = 0; i < KS_CONFIG_ROWS; i++) {
        char name[128];
        ks_config_variable(&ks_config_rows[i], name);
        const char *value = environment_value(environment, name);
        enum ks_status st = value ? row_set(&ks_config_rows[i], config, value, name, err) : KS_OK;
        if (st)
            return st;
        if (value)
            origin_set(&ks_config_rows[i], config, KS_CONFIG_FROM_ENVIRONMENT, name);
    }
    /* A name with "__" is meant as a setting: a misspelt one must not be passed over in silence. */
    for (; environment && *environment; environment++) {
        const char *end = strchr(*environment, '=');
        const char *mark = strstr(*environment, "__");
        if (strncmp(*environment, "KSTREAM_", 8) != 0 || !end || !mark || mark > end)
            continue;
        char section[64];
        char key[64];
        char name[128];
        snprintf(name, sizeof(name), "%.*s", (int)(end - *environment), *environment);
        snprintf(
            section, sizeof(section), "%.*s", (int)(mark - *environment - 8), *environment + 8);
        snprintf(key, sizeof(key), "%.*s", (int)(end - mark - 2), mark + 2);
        for (char *p = section; *p; p++)
            *p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
        for (char *p = key; *p; p++)
            *p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
        if (!row_find(section, key))
            return unknown_key(name, section, key, err);
    }
    return KS_OK;
}

static enum ks_status unknown_flag(const char *flag, struct ks_error *err)
{
    const char *nearest = "help";
    size_t best = distance(flag, nearest);
    for (size_t i = 0; i < KS_CONFIG_ROWS; i++)
        if (distance(flag, ks_config_rows[i].flag) < best) {
            best = distance(flag, ks_config_rows[i].flag);
            nearest = ks_config_rows[i].flag;
        }
    for (size_t i = 0; i < KS_CONFIG_ACTION_FLAGS; i++)
        if (distance(flag, ks_config_action_flags[i].flag) < best) {
            best = distance(flag, ks_config_action_flags[i].flag);
            nearest = ks_config_action_flags[i].flag;
        }
    if (best > near_enough(flag))
        return ks_fail(err, KS_USAGE, 0, "unknown flag '--%s'", flag);
    return ks_fail(err, KS_USAGE, 0, "unknown flag '--%s'; did you mean '--%s'?", flag, nearest);
}

/* One pass over the flags: config NULL only looks for --config and the actions. */
struct flags {
    struct ks_config *config;
    const char *config_path;
    enum ks_config_action action;
};

static bool flag_is_action(const char *flag, enum ks_config_action *out_action)
{
    for (size_t i = 0; i < KS_CONFIG_ACTION_FLAGS; i++)
        if (strcmp(flag, ks_config_action_flags[i].flag) == 0) {
            *out_action = ks_config_action_flags[i].action;
            return true;
        }
    return false;
}

static const struct ks_config_row *row_of_flag(const char *flag)
{
    for (size_t i = 0; i < KS_CONFIG_ROWS; i++)
        if (strcmp(flag, ks_config_rows[i].flag) == 0)
            return &ks_config_rows[i];
    return NULL;
}

static enum ks_status flags_read(
    const struct ks_config_sources *sources, struct flags *flags, struct ks_error *err)
{
    for (int i = 1; i < sources->argc; i++) {
        const char *arg = sources->argv[i];
        if (strncmp(arg, "--", 2) != 0 || !arg[2])
            return ks_fail(err, KS_USAGE, 0, "unexpected argument '%s'", arg);
        char flag[128];
        size_t name_bytes = strcspn(arg + 2, "=");
        const char *value = arg[2 + name_bytes] ? arg + 3 + name_bytes : NULL;
        snprintf(flag, sizeof(flag), "%.*s", (int)KS_MIN(name_bytes, (size_t)100), arg + 2);
        if (flag_is_action(flag, &flags->action))
            continue;
        const struct ks_config_row *row = row_of_flag(flag);
        bool is_config = strcmp(flag, "config") == 0;
        if (!row && !is_config)
            return unknown_flag(flag, err);
        if (!value && row && row->type == KS_CONFIG_IS_BOOL)
            value = "yes";
        if (!value && i + 1 < sources->argc)
            value = sources->argv[++i];
        if (!value)
            return ks_fail(err, KS_USAGE, 0, "flag '--%s' needs a value", flag);
        if (is_config)
            flags->config_path = value;
        char where[140];
        snprintf(where, sizeof(where), "--%s", flag);
        enum ks_status st =
            row && flags->config ? row_set(row, flags->config, value, where, err) : KS_OK;
        if (st)
            return st;
        if (row && flags->config)
            origin_set(row, flags->config, KS_CONFIG_FROM_FLAG, where);
    }
    return KS_OK;
}

/* One address: a list of them has a port at its end, too. */
static bool is_address(const char *text)
{
    return strcmp(text, "none") == 0 || (!strpbrk(text, ", \t") && ks_listener_is_address(text));
}

/* What no single row can see. */
static enum ks_status config_check(const struct ks_config *config, struct ks_error *err)
{
    if (strlen(config->aws_account_id) != 12 || strspn(config->aws_account_id, "0123456789") != 12)
        return ks_fail(err, KS_USAGE, 0, "'aws.account_id' must have twelve digits");
    if (!config->aws_region[0] || strlen(config->aws_region) > 64 ||
        strspn(config->aws_region, "abcdefghijklmnopqrstuvwxyz0123456789-") !=
            strlen(config->aws_region))
        return ks_fail(err, KS_USAGE, 0, "'aws.region' must look like 'us-east-1'");
    if (config->storage_journal_file_bytes > config->storage_journal_bytes / 2)
        return ks_fail(err, KS_USAGE, 0,
            "two files of 'storage.journal_file_bytes' must fit into 'storage.journal_bytes'");
    if (config->storage_journal_bytes / config->storage_journal_file_bytes > KS_JOURNAL_FILES_MAX)
        return ks_fail(err, KS_USAGE, 0,
            "'storage.journal_bytes' would be more than %u files of 'storage.journal_file_bytes': "
            "make them larger",
            KS_JOURNAL_FILES_MAX);
    if (!is_address(config->listen_native) || !is_address(config->listen_http))
        return ks_fail(err, KS_USAGE, 0, "'listen.%s' must be HOST:PORT or 'none', not '%.100s'",
            is_address(config->listen_native) ? "http" : "native",
            is_address(config->listen_native) ? config->listen_http : config->listen_native);
    if (!config->storage_data_dir[0])
        return ks_fail(err, KS_USAGE, 0, "'storage.data_dir' must not be empty");
    if (strcmp(config->listen_native, "none") == 0 && strcmp(config->listen_unix, "none") == 0)
        return ks_fail(err, KS_USAGE, 0,
            "'listen.native' and 'listen.unix' are both 'none': nobody could connect");
    return KS_OK;
}

/* NULL: no file. The default one need not exist; a named one must. */
static const char *config_path(const struct ks_config_sources *sources, const char *flag)
{
    const char *path = flag ? flag : environment_value(sources->environment, "KSTREAM_CONFIG");
    if (path)
        return strcmp(path, "none") == 0 ? NULL : path;
    path = sources->default_path;
    return path && (access(path, F_OK) == 0 || errno != ENOENT) ? path : NULL;
}

enum ks_status ks_config_load(const struct ks_config_sources *sources, struct ks_config *out_config,
    enum ks_config_action *out_action, struct ks_error *err)
{
    KS_AUTO_FREE struct ks_config *config = ks_zalloc(sizeof(*config));
    if (!config)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot read the configuration");
    for (size_t i = 0; i < KS_CONFIG_ROWS; i++) {
        enum ks_status st =
            row_set(&ks_config_rows[i], config, ks_config_rows[i].fallback, "default", err);
        KS_ASSERT(st == KS_OK);
    }
    struct flags flags = {.config = NULL, .action = KS_ACTION_RUN};
    enum ks_status st = flags_read(sources, &flags, err);
    if (st)
        return st;
    const char *path = config_path(sources, flags.config_path);
    bool is_run = flags.action == KS_ACTION_RUN || flags.action == KS_ACTION_CHECK_CONFIG ||
                  flags.action == KS_ACTION_PRINT_ADDRESSES;
    if (is_run) {
        if (path)
            st = load_files(path, sources, config, err);
        if (!st)
            st = load_environment(sources->environment, config, err);
        flags.config = config;
        if (!st)
            st = flags_read(sources, &flags, err);
        if (!st)
            st = config_check(config, err);
    }
    if (st)
        return st;
    *out_config = *config;
    *out_action = flags.action;
    return KS_OK;
}

/* ---- reload ---- */

static _Atomic uint64_t *live_member(struct ks_live *live, const struct ks_config_row *row)
{
    return (_Atomic uint64_t *)(void *)((char *)live + row->live_offset);
}

void ks_live_store(struct ks_live *live, const struct ks_config *config)
{
    for (size_t i = 0; i < KS_CONFIG_ROWS; i++)
        if (ks_config_rows[i].live_offset != KS_CONFIG_NOT_LIVE)
            atomic_store(live_member(live, &ks_config_rows[i]),
                *ks_config_number(&ks_config_rows[i], config));
}

void ks_config_copy_live(const struct ks_config *from, struct ks_config *to)
{
    for (size_t i = 0; i < KS_CONFIG_ROWS; i++)
        if (ks_config_rows[i].live_offset != KS_CONFIG_NOT_LIVE) {
            memcpy((char *)to + ks_config_rows[i].offset,
                ks_config_number(&ks_config_rows[i], from), sizeof(uint64_t));
            to->origins[i] = from->origins[i];
        }
}

const char *ks_config_source_text(enum ks_config_source source)
{
    switch (source) {
    case KS_CONFIG_FROM_DEFAULT:
        return "default";
    case KS_CONFIG_FROM_FILE:
        return "file";
    case KS_CONFIG_FROM_ENVIRONMENT:
        return "environment";
    case KS_CONFIG_FROM_FLAG:
        return "flag";
    }
    return "default";
}

void ks_config_setting_at(
    const struct ks_config *config, size_t i, struct ks_config_setting *out_setting)
{
    KS_ASSERT(i < KS_CONFIG_ROWS);
    const struct ks_config_row *row = &ks_config_rows[i];
    snprintf(out_setting->key, sizeof(out_setting->key), "%s.%s", row->section, row->key);
    ks_config_value(row, config, out_setting->value);
    out_setting->fallback = row->fallback;
    out_setting->is_live = row->live_offset != KS_CONFIG_NOT_LIVE;
    out_setting->origin = &config->origins[i];
}

void ks_config_diff(const struct ks_config *from, const struct ks_config *to,
    void (*each)(void *arg, const struct ks_config_change *change), void *arg)
{
    for (size_t i = 0; i < KS_CONFIG_ROWS; i++) {
        const struct ks_config_row *row = &ks_config_rows[i];
        struct ks_config_change change = {.is_live = row->live_offset != KS_CONFIG_NOT_LIVE};
        snprintf(change.key, sizeof(change.key), "%s.%s", row->section, row->key);
        ks_config_value(row, from, change.from);
        ks_config_value(row, to, change.to);
        if (strcmp(change.from, change.to) != 0)
            each(arg, &change);
    }
}
