#include "base/alloc.h"
#include "tests/unit/ks_check.h"
#include "tools/ctl_settings.h"

#include <ctype.h>
#include <stdio.h>
#include <unistd.h>

static char user_path[64];
static char system_path[64];

/* A file with this text; NULL: none. */
static void write_file(char *path, size_t path_bytes, const char *text)
{
    snprintf(path, path_bytes, "/tmp/ks-settings-XXXXXX");
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    if (text)
        ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    if (!text)
        unlink(path);
}

static void files(const char *user, const char *system)
{
    write_file(user_path, sizeof user_path, user);
    write_file(system_path, sizeof system_path, system);
}

static void remove_files(void)
{
    unlink(user_path);
    unlink(system_path);
}

static enum ks_status load(const char *profile, struct ctl_settings *settings, struct ks_error *err)
{
    struct ctl_settings_sources sources = {
        .user_path = user_path, .system_path = system_path, .profile = profile};
    return ctl_settings_load(&sources, settings, err);
}

static const char user_text[] = "# mine\n"
                                "output = table\n"
                                "[prod]\n"
                                "endpoint=prod:1\n"
                                " timeout =  5s \n"
                                "; and\n"
                                "[default]\n"
                                "endpoint = first:1\n"
                                "endpoint = home:1\n";
static const char system_text[] = "[default]\n"
                                  "endpoint = system:1\n"
                                  "timeout = 9s\n"
                                  "color = never\n"
                                  "[prod]\n"
                                  "endpoint = system-prod:1\n"
                                  "progress = none\n"
                                  "[other]\n"
                                  "output = text\n";

static void expect(
    const struct ctl_settings *settings, enum ctl_option_id option, const char *value)
{
    if (value)
        ck_assert_str_eq(settings->settings[option].value, value);
    else
        ck_assert_ptr_null(settings->settings[option].value);
}

START_TEST(the_users_profile_wins_over_the_systems_and_that_over_its_default)
{
    struct ctl_settings settings;
    files(user_text, system_text);
    ck_assert_int_eq(load(NULL, &settings, NULL), KS_OK);
    expect(&settings, CTL_ENDPOINT, "home:1"); /* the last of the same section */
    expect(&settings, CTL_OUTPUT, "table");    /* before any section: default */
    expect(&settings, CTL_TIMEOUT, "9s");
    expect(&settings, CTL_COLOR, "never");
    expect(&settings, CTL_PROGRESS, NULL);
    char from[100];
    snprintf(from, sizeof from, "%s:9: endpoint", user_path);
    ck_assert_str_eq(settings.settings[CTL_ENDPOINT].from, from);
    ctl_settings_fini(&settings);
    ck_assert_int_eq(load("prod", &settings, NULL), KS_OK);
    expect(&settings, CTL_ENDPOINT, "prod:1");
    expect(&settings, CTL_TIMEOUT, "5s");
    expect(&settings, CTL_PROGRESS, "none");
    expect(&settings, CTL_OUTPUT, NULL); /* the user's default is another profile */
    expect(&settings, CTL_COLOR, "never");
    ctl_settings_fini(&settings);
    ck_assert_int_eq(load("other", &settings, NULL), KS_OK);
    expect(&settings, CTL_OUTPUT, "text");
    expect(&settings, CTL_ENDPOINT, "system:1");
    ctl_settings_fini(&settings);
    remove_files();
}
END_TEST

START_TEST(files_need_not_be_there_unless_they_are_named)
{
    struct ctl_settings settings;
    struct ks_error err = KS_ERROR_INIT;
    files(NULL, NULL);
    ck_assert_int_eq(load(NULL, &settings, NULL), KS_OK);
    ctl_settings_fini(&settings);
    ck_assert_int_eq(load("default", &settings, NULL), KS_OK);
    ctl_settings_fini(&settings);
    ck_assert_int_eq(load("prod", &settings, &err), KS_USAGE);
    ck_assert_ptr_nonnull(strstr(err.text, "no profile 'prod'"));
    ctl_settings_fini(&settings);
    struct ctl_settings_sources named = {.user_path = user_path, .must_have_user = true};
    ck_assert_int_eq(ctl_settings_load(&named, &settings, &err), KS_USAGE);
    ck_assert_ptr_nonnull(strstr(err.text, "cannot open"));
    ctl_settings_fini(&settings);
    struct ctl_settings_sources nowhere = {.user_path = NULL};
    ck_assert_int_eq(ctl_settings_load(&nowhere, &settings, NULL), KS_OK);
    ctl_settings_fini(&settings);
}
END_TEST

struct bad_case {
    const char *text;
    const char *error;
};

static const struct bad_case bad[] = {
    {"output = table\nendpiont = x\n", ":2: unknown key 'endpiont'; did you mean 'endpoint'?"},
    {"[other]\nshards = 4\n", ":2: unknown key 'shards'"},
    {"output = yaml\n", ":1: output yaml': table, json, text, ndjson, csv or none is needed"},
    {"[a\n", ":1: a section is [NAME]"},
    {"[a] b\n", ":1: a section is [NAME]"},
    {"[]\n", ":1: the name of a section"},
    {"endpoint\n", ":1: a line is KEY = VALUE or [PROFILE]"},
    {"endpoint = \xff\n", ":1: not UTF-8"},
    {"help = 1\n", ":1: unknown key 'help'"},
};

START_TEST(a_mistake_is_named_with_its_line_whichever_profile_it_is_in)
{
    struct ctl_settings settings;
    struct ks_error err = KS_ERROR_INIT;
    files(bad[_i].text, NULL);
    ck_assert_int_eq(load(NULL, &settings, &err), KS_USAGE);
    ck_assert_msg(strstr(err.text, bad[_i].error), "%s", err.text);
    ctl_settings_fini(&settings);
    remove_files();
}
END_TEST

START_TEST(a_line_that_is_too_long_is_none)
{
    static char text[8192];
    memset(text, 'x', sizeof text - 1);
    struct ctl_settings settings;
    struct ks_error err = KS_ERROR_INIT;
    files(text, NULL);
    ck_assert_int_eq(load(NULL, &settings, &err), KS_USAGE);
    ck_assert_ptr_nonnull(strstr(err.text, "longer than 4095 bytes"));
    ctl_settings_fini(&settings);
    remove_files();
}
END_TEST

START_TEST(the_command_line_wins_over_the_environment_and_that_over_files)
{
    struct ctl_settings settings;
    files("endpoint = file:1\noutput = text\ntimeout = 1s\n", NULL);
    ck_assert_int_eq(load(NULL, &settings, NULL), KS_OK);
    ck_assert_int_eq(setenv("KSTREAM_ENDPOINT", "variable:1", 1), 0);
    ck_assert_int_eq(setenv("KSTREAM_OUTPUT", "json", 1), 0);
    ck_assert_int_eq(setenv("KSTREAM_COLOR", "", 1), 0); /* empty: as if it were not set */
    struct ctl_args args = {.values = {[CTL_OUTPUT] = "csv"}};
    ck_assert_int_eq(ctl_settings_apply(&settings, &args, NULL), KS_OK);
    ck_assert_str_eq(args.values[CTL_OUTPUT], "csv");
    ck_assert_ptr_null(args.origins[CTL_OUTPUT]);
    ck_assert_str_eq(args.values[CTL_ENDPOINT], "variable:1");
    ck_assert_str_eq(args.origins[CTL_ENDPOINT], "KSTREAM_ENDPOINT");
    ck_assert_str_eq(args.values[CTL_TIMEOUT], "1s");
    ck_assert_ptr_nonnull(strstr(args.origins[CTL_TIMEOUT], ":3: timeout"));
    ck_assert_ptr_null(args.values[CTL_COLOR]);
    struct ks_error err = KS_ERROR_INIT;
    ck_assert_int_eq(ctl_args_fail(&args, CTL_TIMEOUT, "too short", &err), KS_USAGE);
    ck_assert_ptr_nonnull(strstr(err.text, ":3: timeout 1s': too short"));
    ck_assert_int_eq(ctl_args_fail(&args, CTL_OUTPUT, "no", &err), KS_USAGE);
    ck_assert_str_eq(err.text, "'--output csv': no");
    ck_assert_int_eq(setenv("KSTREAM_OUTPUT", "yaml", 1), 0);
    struct ctl_args none = {.values = {NULL}};
    ck_assert_int_eq(ctl_settings_apply(&settings, &none, &err), KS_USAGE);
    ck_assert_ptr_nonnull(strstr(err.text, "'KSTREAM_OUTPUT yaml': table, json"));
    ctl_settings_fini(&settings);
    remove_files();
}
END_TEST

START_TEST(a_variable_is_named_as_its_option)
{
    size_t count = 0;
    for (int i = 0; i < CTL_OPTION_COUNT; i++) {
        const char *variable = ctl_setting_variable((enum ctl_option_id)i);
        if (!variable)
            continue;
        count++;
        char name[80];
        snprintf(name, sizeof name, "KSTREAM_%s", ctl_option_name((enum ctl_option_id)i));
        for (char *at = name; *at; at++)
            *at = *at == '-' ? '_' : (char)toupper((unsigned char)*at);
        ck_assert_str_eq(variable, name);
    }
    ck_assert_uint_ge(count, 4);
}
END_TEST

START_TEST(the_users_file_is_where_the_environment_says)
{
    ck_assert_int_eq(setenv("HOME", "/home/me", 1), 0);
    ck_assert_int_eq(unsetenv("XDG_CONFIG_HOME"), 0);
    char *path = ctl_settings_user_path();
    ck_assert_str_eq(path, "/home/me/.config/kstream/config");
    ks_free(path);
    ck_assert_int_eq(setenv("XDG_CONFIG_HOME", "/else", 1), 0);
    path = ctl_settings_user_path();
    ck_assert_str_eq(path, "/else/kstream/config");
    ks_free(path);
    ck_assert_int_eq(setenv("XDG_CONFIG_HOME", "relative", 1), 0);
    ck_assert_int_eq(unsetenv("HOME"), 0);
    ck_assert_ptr_null(ctl_settings_user_path());
}
END_TEST

static void add_name(const char *name, void *arg)
{
    char *names = arg;
    strcat(strcat(names, name), " ");
}

START_TEST(profiles_can_be_listed)
{
    char names[200] = "";
    files(user_text, system_text);
    struct ctl_settings_sources sources = {.user_path = user_path, .system_path = system_path};
    ck_assert_int_eq(ctl_settings_profiles(&sources, add_name, names), KS_OK);
    ck_assert_str_eq(names, "prod default default prod other ");
    remove_files();
}
END_TEST

KS_SUITE("tools/ctl_settings")
{
    KS_TEST(the_users_profile_wins_over_the_systems_and_that_over_its_default);
    KS_TEST(files_need_not_be_there_unless_they_are_named);
    KS_TEST_LOOP(
        a_mistake_is_named_with_its_line_whichever_profile_it_is_in, (int)KS_COUNT_OF(bad));
    KS_TEST(a_line_that_is_too_long_is_none);
    KS_TEST(the_command_line_wins_over_the_environment_and_that_over_files);
    KS_TEST(a_variable_is_named_as_its_option);
    KS_TEST(the_users_file_is_where_the_environment_says);
    KS_TEST(profiles_can_be_listed);
}
