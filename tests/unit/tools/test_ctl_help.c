#include "tests/unit/ks_check.h"
#include "tools/ctl_help.h"

#include <stdio.h>

/* A help fits a screen of 24 lines and 80 columns, unless it is a list of everything. */
static void check_screen(const char *text, bool is_list)
{
    int lines = 0;
    int column = 0;
    for (const char *at = text; *at; at++) {
        column = *at == '\n' ? 0 : column + 1;
        lines += *at == '\n';
        ck_assert_msg(column <= 80, "%s", text);
    }
    ck_assert_msg(is_list || lines <= 24, "%d lines:\n%s", lines, text);
}

/* To be freed. */
static char *help_on(const char *topic)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&text, &bytes);
    if (topic)
        ck_assert_msg(ctl_help_topic(to, topic), "%s", topic);
    else
        ctl_help_overview(to);
    fclose(to);
    return text;
}

START_TEST(the_overview_fits_a_screen_and_names_every_group)
{
    char *text = help_on(NULL);
    check_screen(text, false);
    for (size_t i = 0; ctl_group_at(i); i++)
        ck_assert_ptr_nonnull(strstr(text, ctl_group_at(i)->name));
    ck_assert_ptr_nonnull(strstr(text, "  $ kstreamctl "));
    free(text);
}
END_TEST

START_TEST(every_command_is_listed_under_its_group_and_under_all)
{
    char *all = help_on("commands");
    check_screen(all, true);
    for (size_t i = 0; ctl_verb_at(i); i++) {
        const struct ctl_verb *verb = ctl_verb_at(i);
        char *own = help_on(ctl_verb_group(verb)->name);
        check_screen(own, true);
        ck_assert_int_eq(strstr(all, verb->name) != NULL, !ctl_verb_is_hidden(verb));
        ck_assert_int_eq(strstr(own, verb->name) != NULL, !ctl_verb_is_hidden(verb));
        for (const char *const *also = verb->also; *also; also++)
            ck_assert_ptr_nonnull(strstr(own, *also));
        free(own);
    }
    free(all);
}
END_TEST

START_TEST(every_commands_help_fits_a_screen_and_has_an_example_and_all_options)
{
    for (size_t i = 0; ctl_verb_at(i); i++) {
        const struct ctl_verb *verb = ctl_verb_at(i);
        char *text = help_on(verb->name);
        check_screen(text, false);
        ck_assert(ctl_verb_is_hidden(verb) || strstr(text, "\n  $ kstreamctl "));
        for (const struct ctl_use *use = verb->uses; use->text; use++)
            ck_assert_ptr_nonnull(strstr(text, ctl_option_name(use->option)));
        free(text);
        for (const char *const *also = verb->also; *also; also++) {
            text = help_on(*also);
            ck_assert_ptr_nonnull(strstr(text, verb->name));
            free(text);
        }
    }
}
END_TEST

START_TEST(the_options_of_every_command_have_a_page)
{
    char *text = help_on("options");
    check_screen(text, true);
    for (const struct ctl_use *use = ctl_common_uses; use->text; use++)
        ck_assert_ptr_nonnull(strstr(text, ctl_option_name(use->option)));
    free(text);
}
END_TEST

START_TEST(every_topic_is_explained_within_80_columns)
{
    struct ctl_topic topic;
    size_t count = 0;
    for (; ctl_topic_at(count, &topic); count++) {
        char *text = help_on(topic.name);
        check_screen(text, true);
        ck_assert_ptr_nonnull(strstr(text, topic.summary));
        for (const struct ctl_topic_line *line = topic.lines; line->text; line++)
            ck_assert(!line->left || strstr(text, line->left));
        ck_assert_ptr_null(ctl_verb_find(topic.name));
        ck_assert_ptr_null(ctl_group_find(topic.name));
        free(text);
    }
    ck_assert_uint_ge(count, 5);
    char *text = help_on("settings");
    ck_assert_ptr_nonnull(strstr(text, "KSTREAM_ENDPOINT"));
    free(text);
}
END_TEST

START_TEST(an_unknown_topic_is_none)
{
    ck_assert(!ctl_help_topic(stderr, "frobnicate"));
    ck_assert(!ctl_help_topic(stderr, ""));
}
END_TEST

START_TEST(the_whole_table_is_there_for_programs)
{
    json_t *table = ctl_help_json();
    ck_assert_ptr_nonnull(table);
    size_t shown = 0;
    for (size_t i = 0; ctl_verb_at(i); i++) {
        if (ctl_verb_is_hidden(ctl_verb_at(i)))
            continue;
        json_t *row = json_array_get(table, shown++);
        ck_assert_str_eq(json_string_value(json_object_get(row, "command")), ctl_verb_at(i)->name);
        ck_assert(json_is_array(json_object_get(row, "options")));
    }
    ck_assert_uint_eq(json_array_size(table), shown);
    json_decref(table);
}
END_TEST

/* A name that stands for two things would hide one of them. */
START_TEST(no_two_names_are_the_same)
{
    for (size_t i = 0; ctl_verb_at(i); i++) {
        ck_assert_ptr_eq(ctl_verb_find(ctl_verb_at(i)->name), ctl_verb_at(i));
        for (const char *const *also = ctl_verb_at(i)->also; *also; also++)
            ck_assert_ptr_eq(ctl_verb_find(*also), ctl_verb_at(i));
        const struct ctl_use *uses = ctl_verb_at(i)->uses;
        for (const struct ctl_use *use = uses; use->text; use++) {
            for (const struct ctl_use *common = ctl_common_uses; common->text; common++)
                ck_assert_int_ne(use->option, common->option);
            for (const struct ctl_use *other = uses; other < use; other++) {
                ck_assert_int_ne(use->option, other->option);
                char letter = ctl_option_letter(use->option);
                ck_assert(!letter || letter != ctl_option_letter(other->option));
            }
        }
        for (const enum ctl_option_id *arg = ctl_verb_at(i)->args; *arg != CTL_OPTION_COUNT; arg++)
            ck_assert(ctl_verb_takes(ctl_verb_at(i), *arg));
    }
}
END_TEST

KS_SUITE("tools/ctl_help")
{
    KS_TEST(the_overview_fits_a_screen_and_names_every_group);
    KS_TEST(every_command_is_listed_under_its_group_and_under_all);
    KS_TEST(every_commands_help_fits_a_screen_and_has_an_example_and_all_options);
    KS_TEST(the_options_of_every_command_have_a_page);
    KS_TEST(every_topic_is_explained_within_80_columns);
    KS_TEST(an_unknown_topic_is_none);
    KS_TEST(the_whole_table_is_there_for_programs);
    KS_TEST(no_two_names_are_the_same);
}
