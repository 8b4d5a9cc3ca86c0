#include "tools/ctl_settings.h"

#include "base/alloc.h"
#include "tools/ctl_closest.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_BYTES_MAX 4096
#define SECTION_BYTES_MAX 64

static const char *const variables[CTL_OPTION_COUNT] = {
#define CTL_SETTING(id) [CTL_##id] = "KSTREAM_" #id,
#include "tools/ctl_commands.def"
};

const char *ctl_setting_variable(enum ctl_option_id option)
{
    return variables[option];
}

char *ctl_settings_user_path(void)
{
    const char *base = getenv("XDG_CONFIG_HOME");
    const char *home = getenv("HOME");
    const char *below = "/kstream/config";
    if (!base || base[0] != '/') {
        base = home;
        below = "/.config/kstream/config";
    }
    if (!base || !base[0])
        return NULL;
    char *path = ks_malloc(strlen(base) + strlen(below) + 1);
    if (path)
        stpcpy(stpcpy(path, base), below);
    return path;
}

/* ---- a file ---- */

/* Where the reader is, and what it does with what it finds. */
struct reader {
    const char *path;
    unsigned line;
    char section[SECTION_BYTES_MAX];
    enum ks_status (*on_section)(struct reader *reader, struct ks_error *err);
    enum ks_status (*on_key)(
        struct reader *reader, const char *key, const char *value, struct ks_error *err);
    void *arg;
};

static char *trim(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    size_t bytes = strlen(text);
    while (bytes > 0 && isspace((unsigned char)text[bytes - 1]))
        text[--bytes] = '\0';
    return text;
}

static enum ks_status fail_line(const struct reader *reader, const char *what, struct ks_error *err)
{
    return ks_fail(err, KS_USAGE, 0, "%s:%u: %s", reader->path, reader->line, what);
}

static enum ks_status read_section(struct reader *reader, char *line, struct ks_error *err)
{
    char *end = strchr(line, ']');
    if (!end || end[1])
        return fail_line(reader, "a section is [NAME]", err);
    *end = '\0';
    const char *name = trim(line + 1);
    if (!name[0] || strlen(name) >= sizeof reader->section)
        return fail_line(reader, "the name of a section has 1 to 63 bytes", err);
    snprintf(reader->section, sizeof reader->section, "%s", name);
    return reader->on_section(reader, err);
}

static enum ks_status read_line(struct reader *reader, char *line, struct ks_error *err)
{
    line = trim(line);
    if (!line[0] || line[0] == '#' || line[0] == ';')
        return KS_OK;
    if (line[0] == '[')
        return read_section(reader, line, err);
    char *equals = strchr(line, '=');
    if (!equals)
        return fail_line(reader, "a line is KEY = VALUE or [PROFILE]", err);
    *equals = '\0';
    return reader->on_key(reader, trim(line), trim(equals + 1), err);
}

static enum ks_status read_stream(struct reader *reader, FILE *file, struct ks_error *err)
{
    char line[LINE_BYTES_MAX];
    enum ks_status st = KS_OK;
    while (!st && fgets(line, sizeof line, file)) {
        reader->line++;
        if (!strchr(line, '\n') && !feof(file))
            st = fail_line(reader, "longer than 4095 bytes", err);
        else if (!ks_view_is_utf8(ks_view_of_text(line)))
            st = fail_line(reader, "not UTF-8", err);
        else
            st = read_line(reader, line, err);
    }
    if (!st && ferror(file))
        st = ks_fail(err, KS_IO, errno, "cannot read '%s'", reader->path);
    return st;
}

/* A file that is not there has no lines. */
static enum ks_status read_file(struct reader *reader, bool is_needed, struct ks_error *err)
{
    FILE *file = fopen(reader->path, "re");
    bool is_missing = !file && (errno == ENOENT || errno == ENOTDIR);
    if (is_missing && !is_needed)
        return KS_OK;
    if (!file)
        return ks_fail(err, KS_USAGE, errno, "cannot open '%s'", reader->path);
    snprintf(reader->section, sizeof reader->section, "%s", CTL_PROFILE_DEFAULT);
    enum ks_status st = read_stream(reader, file, err);
    KS_IGNORE(fclose(file), "it was only read");
    return st;
}

/* ---- the settings in it ---- */

/* One reading of one file: the values of one section, where no reading before had one. */
struct loader {
    struct ctl_settings *out;
    const char *section;
    unsigned reading;
    bool has_section;
};

static enum ctl_option_id setting_find(const char *key)
{
    for (int i = 0; i < CTL_OPTION_COUNT; i++)
        if (variables[i] && strcmp(ctl_option_name((enum ctl_option_id)i), key) == 0)
            return (enum ctl_option_id)i;
    return CTL_OPTION_COUNT;
}

static enum ks_status fail_key(const struct reader *reader, const char *key, struct ks_error *err)
{
    const char *names[CTL_OPTION_COUNT + 1] = {NULL};
    size_t count = 0;
    for (int i = 0; i < CTL_OPTION_COUNT; i++)
        if (variables[i])
            names[count++] = ctl_option_name((enum ctl_option_id)i);
    const char *closest = ctl_closest(key, names);
    char what[120];
    snprintf(what, sizeof what, "unknown key '%.40s'%s%s%s", key, closest ? "; did you mean '" : "",
        closest ? closest : "", closest ? "'?" : "");
    return fail_line(reader, what, err);
}

static enum ks_status on_section(struct reader *reader, struct ks_error *err)
{
    (void)err;
    struct loader *loader = reader->arg;
    if (strcmp(reader->section, loader->section) == 0)
        loader->has_section = true;
    return KS_OK;
}

static enum ks_status setting_set(
    struct reader *reader, enum ctl_option_id option, const char *value, struct ks_error *err)
{
    struct loader *loader = reader->arg;
    char *copy = ks_strdup(value);
    char *from = ks_malloc(strlen(reader->path) + 96);
    if (!copy || !from) {
        ks_free(copy);
        ks_free(from);
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for settings");
    }
    snprintf(from, strlen(reader->path) + 96, "%s:%u: %s", reader->path, reader->line,
        ctl_option_name(option));
    struct ctl_setting *setting = &loader->out->settings[option];
    ks_free(setting->value);
    ks_free(setting->from);
    *setting = (struct ctl_setting){copy, from, loader->reading};
    return KS_OK;
}

/* Every key of every section is checked, also of those that do not count here. */
static enum ks_status on_key(
    struct reader *reader, const char *key, const char *value, struct ks_error *err)
{
    struct loader *loader = reader->arg;
    enum ctl_option_id option = setting_find(key);
    if (option == CTL_OPTION_COUNT)
        return fail_key(reader, key, err);
    char from[160];
    snprintf(from, sizeof from, "%.80s:%u: %s", reader->path, reader->line, key);
    enum ks_status st = ctl_option_check(option, from, value, err);
    if (st)
        return st;
    const struct ctl_setting *setting = &loader->out->settings[option];
    if (strcmp(reader->section, loader->section) != 0 ||
        (setting->value && setting->reading != loader->reading))
        return KS_OK;
    return setting_set(reader, option, value, err);
}

static enum ks_status load_section(
    struct loader *loader, const char *path, bool is_needed, struct ks_error *err)
{
    struct reader reader = {
        .path = path, .on_section = on_section, .on_key = on_key, .arg = loader};
    loader->reading++;
    return path ? read_file(&reader, is_needed, err) : KS_OK;
}

enum ks_status ctl_settings_load(
    const struct ctl_settings_sources *sources, struct ctl_settings *out, struct ks_error *err)
{
    memset(out, 0, sizeof *out);
    struct loader loader = {
        .out = out, .section = sources->profile ? sources->profile : CTL_PROFILE_DEFAULT};
    enum ks_status st = load_section(&loader, sources->user_path, sources->must_have_user, err);
    if (!st)
        st = load_section(&loader, sources->system_path, false, err);
    if (!st && sources->profile && !loader.has_section &&
        strcmp(sources->profile, CTL_PROFILE_DEFAULT) != 0)
        return ks_fail(err, KS_USAGE, 0, "no profile '%.60s' in '%.120s'", sources->profile,
            sources->user_path ? sources->user_path : sources->system_path);
    loader.section = CTL_PROFILE_DEFAULT;
    return st ? st : load_section(&loader, sources->system_path, false, err);
}

void ctl_settings_fini(struct ctl_settings *settings)
{
    for (size_t i = 0; i < CTL_OPTION_COUNT; i++) {
        ks_free(settings->settings[i].value);
        ks_free(settings->settings[i].from);
    }
}

/* ---- onto the command line ---- */

enum ks_status ctl_settings_apply(
    const struct ctl_settings *settings, struct ctl_args *args, struct ks_error *err)
{
    for (int i = 0; i < CTL_OPTION_COUNT; i++) {
        if (!variables[i] || args->values[i])
            continue;
        const char *value = getenv(variables[i]);
        if (value && value[0]) {
            enum ks_status st = ctl_option_check((enum ctl_option_id)i, variables[i], value, err);
            if (st)
                return st;
            args->values[i] = value;
            args->origins[i] = variables[i];
        } else if (settings->settings[i].value) {
            args->values[i] = settings->settings[i].value;
            args->origins[i] = settings->settings[i].from;
        }
    }
    return KS_OK;
}

/* ---- the names of profiles ---- */

struct lister {
    void (*each)(const char *name, void *arg);
    void *arg;
};

static enum ks_status list_section(struct reader *reader, struct ks_error *err)
{
    (void)err;
    const struct lister *lister = reader->arg;
    lister->each(reader->section, lister->arg);
    return KS_OK;
}

static enum ks_status skip_key(
    struct reader *reader, const char *key, const char *value, struct ks_error *err)
{
    (void)reader;
    (void)key;
    (void)value;
    (void)err;
    return KS_OK;
}

enum ks_status ctl_settings_profiles(const struct ctl_settings_sources *sources,
    void (*each)(const char *name, void *arg), void *arg)
{
    struct lister lister = {each, arg};
    const char *const paths[] = {sources->user_path, sources->system_path};
    for (size_t i = 0; i < KS_COUNT_OF(paths); i++) {
        struct reader reader = {
            .path = paths[i], .on_section = list_section, .on_key = skip_key, .arg = &lister};
        enum ks_status st = paths[i] ? read_file(&reader, false, NULL) : KS_OK;
        if (st)
            return st;
    }
    return KS_OK;
}
