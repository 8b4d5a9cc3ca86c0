#include "daemon/config.h"
#include "daemon/units.h"
#include "tests/unit/daemon/temp.h"

#include <sys/stat.h>

struct loaded {
    enum ks_status status;
    struct ks_config config;
    enum ks_config_action action;
    struct ks_error error;
};

static struct loaded load(char *const *environment, int argc, char *const *argv)
{
    struct loaded loaded = {.error = KS_ERROR_INIT};
    const struct ks_config_sources sources = {
        .argc = argc, .argv = argv, .environment = environment};
    loaded.status = ks_config_load(&sources, &loaded.config, &loaded.action, &loaded.error);
    return loaded;
}

#define LOAD(environment, ...)                                                                     \
    load(environment, (int)(sizeof((char *[]){"kstreamd", __VA_ARGS__}) / sizeof(char *)),         \
        (char *[]){"kstreamd", __VA_ARGS__})

START_TEST(defaults_need_no_source)
{
    struct loaded loaded = load(NULL, 1, (char *[]){"kstreamd"});
    ck_assert_int_eq(loaded.status, KS_OK);
    ck_assert_int_eq(loaded.action, KS_ACTION_RUN);
    ck_assert_str_eq(loaded.config.listen_native, "127.0.0.1:7420");
    ck_assert_str_eq(loaded.config.listen_http, "127.0.0.1:4567");
    ck_assert_uint_eq(loaded.config.storage_segment_bytes, 64u << 20);
    ck_assert_uint_eq(loaded.config.limits_frame_timeout, 10000);
    ck_assert_uint_eq(loaded.config.puts_verify_routing, KS_VERIFY_ROUTING_SAMPLE);
    ck_assert(!loaded.config.listen_insecure);
}
END_TEST

START_TEST(flag_beats_environment_beats_file_beats_default)
{
    char folder[64];
    char path[128];
    temp_make(folder);
    temp_write(folder, "kstreamd.conf",
        "# comment\n[listen]\nnative = 127.0.0.1:1\nhttp=127.0.0.1:2\nunix=/tmp/3\n");
    snprintf(path, sizeof(path), "%s/kstreamd.conf", folder);
    char *environment[] = {
        "KSTREAM_LISTEN__HTTP=127.0.0.1:20", "KSTREAM_LISTEN__UNIX=/tmp/30", NULL};
    struct loaded loaded = LOAD(environment, "--unix", "/tmp/300", "--config", path);
    ck_assert_msg(loaded.status == KS_OK, "%s", loaded.error.text);
    ck_assert_str_eq(loaded.config.listen_native, "127.0.0.1:1");
    ck_assert_str_eq(loaded.config.listen_http, "127.0.0.1:20");
    ck_assert_str_eq(loaded.config.listen_unix, "/tmp/300");
    ck_assert_str_eq(loaded.config.aws_region, "us-east-1");
    temp_remove(folder);
}
END_TEST

/* Where the last word came from; ks_config_setting_at finds settings by place, so look for the key.
 */
static struct ks_config_setting setting_of(const struct ks_config *config, const char *key)
{
    struct ks_config_setting setting;
    for (size_t i = 0; i < KS_CONFIG_ROWS; i++) {
        ks_config_setting_at(config, i, &setting);
        if (strcmp(setting.key, key) == 0)
            return setting;
    }
    ck_abort_msg("no setting '%s'", key);
    return setting;
}

static void expect_origin(
    const struct ks_config *config, const char *key, const char *source, const char *where)
{
    struct ks_config_setting setting = setting_of(config, key);
    ck_assert_msg(strcmp(ks_config_source_text(setting.origin->source), source) == 0 &&
                      strcmp(setting.origin->where, where) == 0,
        "%s: %s '%s'", key, ks_config_source_text(setting.origin->source), setting.origin->where);
}

START_TEST(each_setting_knows_where_it_comes_from)
{
    char folder[64];
    char path[128];
    char where[200];
    temp_make(folder);
    temp_write(folder, "kstreamd.conf",
        "# comment\n[listen]\nnative = 127.0.0.1:1\n\nhttp=127.0.0.1:2\nunix=/tmp/3\n");
    snprintf(path, sizeof(path), "%s/kstreamd.conf", folder);
    char *environment[] = {
        "KSTREAM_LISTEN__HTTP=127.0.0.1:20", "KSTREAM_LISTEN__UNIX=/tmp/30", NULL};
    struct loaded loaded = LOAD(environment, "--unix", "/tmp/300", "--config", path);
    ck_assert_int_eq(loaded.status, KS_OK);
    snprintf(where, sizeof(where), "%s:3", path);
    expect_origin(&loaded.config, "listen.native", "file", where);
    expect_origin(&loaded.config, "listen.http", "environment", "KSTREAM_LISTEN__HTTP");
    expect_origin(&loaded.config, "listen.unix", "flag", "--unix");
    expect_origin(&loaded.config, "aws.region", "default", "");
    struct ks_config_setting setting = setting_of(&loaded.config, "listen.unix");
    ck_assert_str_eq(setting.value, "/tmp/300");
    ck_assert_str_eq(setting.fallback, "none");
    ck_assert(!setting.is_live && setting_of(&loaded.config, "limits.memory").is_live);
    temp_remove(folder);
}
END_TEST

/* What a reload changes brings its origin along, and what waits for a restart keeps its own. */
START_TEST(origins_follow_a_reload)
{
    struct loaded before = LOAD(NULL, "--config", "none");
    char *environment[] = {"KSTREAM_LIMITS__MEMORY=1GiB", "KSTREAM_AWS__REGION=eu-north-1", NULL};
    struct loaded after = LOAD(environment, "--config", "none");
    ck_assert_int_eq(before.status, KS_OK);
    ck_assert_int_eq(after.status, KS_OK);
    ks_config_copy_live(&after.config, &before.config);
    expect_origin(&before.config, "limits.memory", "environment", "KSTREAM_LIMITS__MEMORY");
    expect_origin(&before.config, "aws.region", "default", "");
}
END_TEST

START_TEST(later_files_of_conf_d_win)
{
    char folder[64];
    char path[128];
    temp_make(folder);
    temp_write(folder, "kstreamd.conf", "[aws]\nregion=a\n");
    snprintf(path, sizeof(path), "%s/conf.d", folder);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    temp_write(path, "20.conf", "[aws]\nregion=c\n");
    temp_write(path, "10.conf", "[aws]\nregion=b\naccount_id=000000000001\n");
    temp_write(path, "30.conf.off", "[aws]\nregion=d\n");
    snprintf(path, sizeof(path), "--config=%s/kstreamd.conf", folder);
    struct loaded loaded = LOAD(NULL, path);
    ck_assert_msg(loaded.status == KS_OK, "%s", loaded.error.text);
    ck_assert_str_eq(loaded.config.aws_region, "c");
    ck_assert_str_eq(loaded.config.aws_account_id, "000000000001");
    temp_remove(folder);
}
END_TEST

START_TEST(unknown_key_names_its_line_and_the_nearest_key)
{
    char folder[64];
    char path[128];
    temp_make(folder);
    temp_write(folder, "a.conf", "[listen]\n\n# ports\nnativ = 127.0.0.1:1\n");
    snprintf(path, sizeof(path), "%s/a.conf", folder);
    struct loaded loaded = LOAD(NULL, "--config", path);
    ck_assert_int_eq(loaded.status, KS_USAGE);
    ck_assert_ptr_nonnull(strstr(loaded.error.text, "line 4 of"));
    ck_assert_ptr_nonnull(strstr(loaded.error.text, "did you mean 'listen.native'"));
    temp_remove(folder);
}
END_TEST

struct mistake {
    const char *file;
    const char *said;
    const char *not_said;
};

static const struct mistake mistakes[] = {
    {"[storage\ndata_dir = /a\n", "line 1 of", "unknown key"},
    {"[listen]\n[storage\n", "'[storage' is no '[section]'", NULL},
    {"[storage] data_dir = /a\n", "line 1 of", NULL},
    {"[listen]\nnative = 127.0.0.1:1,127.0.0.1:2\n", "'listen.native' must be HOST:PORT", NULL},
    {"[listen]\nhttp = 127.0.0.1:1 127.0.0.1:2\n", "'listen.http' must be HOST:PORT", NULL},
    {"[storage]\nsegment_bytes = 1KiB\n", "out of range: 16MiB to 2147483647", NULL},
    {"[storage]\nflush_age = 2d\n", "out of range: 1ms to 1d", NULL},
    {"[zoo]\nelephants = 2\n", "unknown key 'zoo.elephants'", "did you mean"},
};

START_TEST(a_mistake_in_the_file_is_said_as_it_is)
{
    char folder[64];
    char path[128];
    temp_make(folder);
    temp_write(folder, "a.conf", mistakes[_i].file);
    snprintf(path, sizeof(path), "%s/a.conf", folder);
    struct loaded loaded = LOAD(NULL, "--config", path);
    ck_assert_int_eq(loaded.status, KS_USAGE);
    ck_assert_msg(strstr(loaded.error.text, mistakes[_i].said) != NULL, "%s", loaded.error.text);
    if (mistakes[_i].not_said)
        ck_assert_ptr_null(strstr(loaded.error.text, mistakes[_i].not_said));
    temp_remove(folder);
}
END_TEST

START_TEST(only_a_flag_that_is_near_is_offered)
{
    ck_assert_ptr_nonnull(strstr(LOAD(NULL, "--lisen", "x").error.text, "did you mean '--listen'"));
    ck_assert_ptr_null(strstr(LOAD(NULL, "--elephants", "x").error.text, "did you mean"));
}
END_TEST

START_TEST(a_section_may_have_a_comment)
{
    char folder[64];
    char path[128];
    temp_make(folder);
    temp_write(folder, "a.conf", "[storage] ; here\ndata_dir = /a\n[listen]\t# there\r\n");
    snprintf(path, sizeof(path), "%s/a.conf", folder);
    struct loaded loaded = LOAD(NULL, "--config", path);
    ck_assert_int_eq(loaded.status, KS_OK);
    ck_assert_str_eq(loaded.config.storage_data_dir, "/a");
    temp_remove(folder);
}
END_TEST

/* An indented key is a key: inih alone would make it more of the value before it. */
START_TEST(indented_lines_are_lines_of_their_own)
{
    char folder[64];
    char path[128];
    temp_make(folder);
    temp_write(folder, "a.conf", "[storage]\n  data_dir = /a\n\t unsafe_fs = yes\n  # a word\n");
    snprintf(path, sizeof(path), "%s/a.conf", folder);
    struct loaded loaded = LOAD(NULL, "--config", path);
    ck_assert_msg(loaded.status == KS_OK, "%s", loaded.error.text);
    ck_assert_str_eq(loaded.config.storage_data_dir, "/a");
    ck_assert(loaded.config.storage_unsafe_fs);
    temp_write(folder, "a.conf", "[storage]\ndata_dir = /a\n  unsafe = yes\n");
    loaded = LOAD(NULL, "--config", path);
    ck_assert_int_eq(loaded.status, KS_USAGE);
    ck_assert_ptr_nonnull(strstr(loaded.error.text, "line 3 of"));
    temp_remove(folder);
}
END_TEST

static unsigned files_seen;
static void count_file(void *arg, const char *path)
{
    files_seen++;
    strncpy(arg, path, 127);
}

START_TEST(default_file_is_read_if_it_is_there_and_no_other_is_named)
{
    char folder[64];
    char path[128];
    char seen[128] = "";
    temp_make(folder);
    snprintf(path, sizeof(path), "%s/a.conf", folder);
    struct ks_config config;
    enum ks_config_action action;
    struct ks_config_sources sources = {.argc = 1,
        .argv = (char *[]){"kstreamd"},
        .default_path = path,
        .on_file = count_file,
        .on_file_arg = seen};
    files_seen = 0;
    ck_assert_int_eq(ks_config_load(&sources, &config, &action, NULL), KS_OK);
    ck_assert_uint_eq(files_seen, 0);
    temp_write(folder, "a.conf", "[aws]\nregion=b\n");
    ck_assert_int_eq(ks_config_load(&sources, &config, &action, NULL), KS_OK);
    ck_assert_str_eq(config.aws_region, "b");
    ck_assert_uint_eq(files_seen, 1);
    ck_assert_str_eq(seen, path);
    sources.argc = 3;
    sources.argv = (char *[]){"kstreamd", "--config", "none"};
    ck_assert_int_eq(ks_config_load(&sources, &config, &action, NULL), KS_OK);
    ck_assert_str_eq(config.aws_region, "us-east-1");
    /* Its conf.d is there but no folder: that is no "there is none". */
    sources.argc = 1;
    temp_write(folder, "conf.d", "");
    ck_assert_int_eq(ks_config_load(&sources, &config, &action, NULL), KS_IO);
    temp_remove(folder);
}
END_TEST

struct seen_changes {
    unsigned count;
    struct ks_config_change last_live;
    struct ks_config_change last_restart;
};

static void see_change(void *arg, const struct ks_config_change *change)
{
    struct seen_changes *seen = arg;
    seen->count++;
    *(change->is_live ? &seen->last_live : &seen->last_restart) = *change;
}

START_TEST(diff_names_what_changed_and_what_needs_a_restart)
{
    struct loaded from = load(NULL, 1, (char *[]){"kstreamd"});
    struct loaded to = LOAD(NULL, "--in-flight", "8m", "--region", "eu-west-1");
    struct seen_changes seen = {.count = 0};
    ks_config_diff(&from.config, &to.config, see_change, &seen);
    ck_assert_uint_eq(seen.count, 2);
    ck_assert_str_eq(seen.last_live.key, "limits.in_flight");
    ck_assert_str_eq(seen.last_live.from, "16MiB");
    ck_assert_str_eq(seen.last_live.to, "8MiB");
    ck_assert_str_eq(seen.last_restart.key, "aws.region");
    ck_assert_str_eq(seen.last_restart.to, "eu-west-1");
    to = LOAD(NULL, "--log-level", "debug", "--write-timeout", "90s", "--unsafe-fs");
    ks_config_diff(&from.config, &to.config, see_change, &seen);
    ck_assert_uint_eq(seen.count, 5);
    ck_assert_str_eq(seen.last_live.from, "info");
    ck_assert_str_eq(seen.last_live.to, "debug");
    ck_assert_str_eq(seen.last_restart.from, "no");
    ck_assert_str_eq(seen.last_restart.to, "yes");
    struct ks_live live;
    ks_live_store(&live, &to.config);
    ck_assert_uint_eq(live.limits_write_timeout, 90000);
    ks_config_copy_live(&to.config, &from.config);
    seen.count = 0;
    ks_config_diff(&from.config, &to.config, see_change, &seen);
    ck_assert_uint_eq(seen.count, 1);
}
END_TEST

START_TEST(misspelt_environment_and_flags_are_not_passed_over)
{
    char *environment[] = {"KSTREAM_LISTEN__HTPP=127.0.0.1:20", "KSTREAM_HOME=/x", NULL};
    struct loaded loaded = load(environment, 1, (char *[]){"kstreamd"});
    ck_assert_int_eq(loaded.status, KS_USAGE);
    ck_assert_ptr_nonnull(strstr(loaded.error.text, "listen.http"));
    loaded = LOAD(NULL, "--data-dri", "/x");
    ck_assert_int_eq(loaded.status, KS_USAGE);
    ck_assert_ptr_nonnull(strstr(loaded.error.text, "--data-dir"));
    loaded = LOAD(NULL, "--data-dir");
    ck_assert_int_eq(loaded.status, KS_USAGE);
    loaded = LOAD(NULL, "stray");
    ck_assert_int_eq(loaded.status, KS_USAGE);
}
END_TEST

START_TEST(cut_line_is_an_error_not_a_cut_value)
{
    char folder[64];
    char path[128];
    char text[600] = "[listen]\nunix=/";
    memset(text + strlen(text), 'a', 400);
    temp_make(folder);
    temp_write(folder, "a.conf", text);
    snprintf(path, sizeof(path), "%s/a.conf", folder);
    struct loaded loaded = LOAD(NULL, "--config", path);
    ck_assert_int_eq(loaded.status, KS_USAGE);
    loaded = LOAD(NULL, "--config", "/nonexistent/kstreamd.conf");
    ck_assert_int_eq(loaded.status, KS_IO);
    temp_remove(folder);
}
END_TEST

START_TEST(values_out_of_range_or_shape_are_refused)
{
    ck_assert_int_eq(LOAD(NULL, "--segment-bytes", "1KiB").status, KS_USAGE);
    ck_assert_int_eq(LOAD(NULL, "--segment-bytes", "64 MiB x").status, KS_USAGE);
    /* Offsets in a segment have 31 bits: refused here, not by the engine. */
    ck_assert_int_eq(LOAD(NULL, "--segment-bytes", "2GiB").status, KS_USAGE);
    ck_assert_int_eq(LOAD(NULL, "--segment-bytes", "2147483647").status, KS_OK);
    ck_assert_int_eq(LOAD(NULL, "--stop-timeout", "30").status, KS_USAGE);
    ck_assert_int_eq(LOAD(NULL, "--loops", "-1").status, KS_USAGE);
    ck_assert_int_eq(LOAD(NULL, "--log-format", "xml").status, KS_USAGE);
    ck_assert_int_eq(LOAD(NULL, "--insecure=maybe").status, KS_USAGE);
    ck_assert_int_eq(LOAD(NULL, "--account-id", "1").status, KS_USAGE);
    ck_assert_int_eq(LOAD(NULL, "--journal-bytes", "32MiB").status, KS_USAGE);
    /* The most bytes in files of the default size are as many files as there may be. */
    ck_assert_int_eq(LOAD(NULL, "--journal-bytes", "1024GiB").status, KS_OK);
    ck_assert_int_eq(
        LOAD(NULL, "--journal-bytes", "1024GiB", "--journal-file-bytes", "31MiB").status, KS_USAGE);
    ck_assert_int_eq(LOAD(NULL, "--listen", "none").status, KS_USAGE);
    ck_assert_int_eq(LOAD(NULL, "--listen", "localhost").status, KS_USAGE);
    ck_assert_int_eq(LOAD(NULL, "--http", "127.0.0.1:99999").status, KS_USAGE);
    ck_assert_int_eq(
        LOAD(NULL, "--insecure", "--log-format", "json", "--stop-timeout=1m").status, KS_OK);
}
END_TEST

START_TEST(printed_defaults_can_be_read_back_whole)
{
    char folder[64];
    char path[128];
    temp_make(folder);
    snprintf(path, sizeof(path), "%s/a.conf", folder);
    FILE *file = fopen(path, "w");
    ks_config_print_defaults(file);
    fclose(file);
    /* With every "#key = value" uncommented. */
    char command[256];
    snprintf(command, sizeof(command), "sed -i 's/^#\\([a-z]\\)/\\1/' %s", path);
    ck_assert_int_eq(system(command), 0);
    struct loaded loaded = LOAD(NULL, "--config", path);
    ck_assert_msg(loaded.status == KS_OK, "%s", loaded.error.text);
    struct loaded defaults = load(NULL, 1, (char *[]){"kstreamd"});
    /* The values alone: where they come from differs. */
    memset(loaded.config.origins, 0, sizeof(loaded.config.origins));
    ck_assert_mem_eq(&loaded.config, &defaults.config, sizeof(loaded.config));
    temp_remove(folder);
}
END_TEST

START_TEST(units_are_exact)
{
    uint64_t n = 0;
    ck_assert(ks_units_bytes("64KiB", &n) && n == 65536);
    ck_assert(ks_units_bytes("64k", &n) && n == 65536);
    ck_assert(ks_units_bytes("1TiB", &n) && n == 1ull << 40);
    ck_assert(!ks_units_bytes("", &n) && !ks_units_bytes("k", &n) && !ks_units_bytes("1.5k", &n));
    ck_assert(!ks_units_bytes("18446744073709551616", &n));
    ck_assert(!ks_units_bytes("99999999999T", &n));
    ck_assert(ks_units_duration_ms("90s", &n) && n == 90000);
    ck_assert(ks_units_duration_ms("7d", &n) && n == 604800000);
    ck_assert(ks_units_duration_ms("500ms", &n) && n == 500);
    ck_assert(!ks_units_duration_ms("90", &n));
    char text[32];
    static const char *const sizes[] = {"0", "1", "1023", "64KiB", "10MiB", "1025MiB", "1TiB"};
    for (size_t i = 0; i < KS_COUNT_OF(sizes); i++) {
        ck_assert(ks_units_bytes(sizes[i], &n));
        ks_units_bytes_to_text(n, text, sizeof(text));
        ck_assert_str_eq(text, sizes[i]);
    }
    static const char *const durations[] = {"1ms", "1500ms", "90s", "15m", "25h", "7d"};
    for (size_t i = 0; i < KS_COUNT_OF(durations); i++) {
        ck_assert(ks_units_duration_ms(durations[i], &n));
        ks_units_duration_to_text(n, text, sizeof(text));
        ck_assert_str_eq(text, durations[i]);
    }
}
END_TEST

KS_SUITE("daemon/config")
{
    KS_TEST(defaults_need_no_source);
    KS_TEST(flag_beats_environment_beats_file_beats_default);
    KS_TEST(each_setting_knows_where_it_comes_from);
    KS_TEST(origins_follow_a_reload);
    KS_TEST(later_files_of_conf_d_win);
    KS_TEST(unknown_key_names_its_line_and_the_nearest_key);
    KS_TEST_LOOP(a_mistake_in_the_file_is_said_as_it_is, (int)KS_COUNT_OF(mistakes));
    KS_TEST(only_a_flag_that_is_near_is_offered);
    KS_TEST(a_section_may_have_a_comment);
    KS_TEST(indented_lines_are_lines_of_their_own);
    KS_TEST(default_file_is_read_if_it_is_there_and_no_other_is_named);
    KS_TEST(diff_names_what_changed_and_what_needs_a_restart);
    KS_TEST(misspelt_environment_and_flags_are_not_passed_over);
    KS_TEST(cut_line_is_an_error_not_a_cut_value);
    KS_TEST(values_out_of_range_or_shape_are_refused);
    KS_TEST(printed_defaults_can_be_read_back_whole);
    KS_TEST(units_are_exact);
}
