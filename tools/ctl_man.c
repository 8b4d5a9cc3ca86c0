#include "tools/ctl_man.h"

#include "base/roff.h"
#include "tools/ctl_settings.h"

#include <ctype.h>

static void put_head(const struct ctl_man *man, const char *name, const char *summary)
{
    const struct ks_roff_page page = {.name = name,
        .section = 1,
        .summary = summary,
        .source = "tools/ctl_commands.def",
        .version = man->version,
        .date = man->date};
    ks_roff_head(man->to, &page);
}

/* ---- options ---- */

static void put_use(FILE *to, const struct ctl_use *use)
{
    ks_roff_option(to, ctl_option_letter(use->option), ctl_option_name(use->option),
        ctl_option_metavar(use->option));
    ks_roff_running(to, use->text);
}

static void put_uses(FILE *to, const struct ctl_use *uses)
{
    for (; uses->text; uses++)
        put_use(to, uses);
}

/* ---- a group ---- */

static void put_usage(FILE *to, const struct ctl_verb *verb)
{
    char usage[CTL_USAGE_BYTES];
    ctl_verb_usage(verb, usage);
    fputs("\\fBkstreamctl ", to);
    ks_roff_text(to, verb->name);
    fputs("\\fR ", to);
    ks_roff_text(to, usage);
    fprintf(to, "%s[OPTIONS]\n", usage[0] ? " " : "");
}

static void put_example(FILE *to, const char *text)
{
    /* A pipe begins with its other command. */
    ks_roff_code(to, strstr(text, "| kstreamctl") ? "$ " : "$ kstreamctl ", text);
}

static void put_verb(FILE *to, const struct ctl_verb *verb)
{
    fputs(".SS ", to);
    ks_roff_argument(to, verb->name);
    fputc('\n', to);
    put_usage(to, verb);
    fputs(".PP\n", to);
    fputc(toupper((unsigned char)verb->summary[0]), to);
    ks_roff_text(to, verb->summary + 1);
    fputs(".\n", to);
    for (const char *const *also = verb->also; *also; also++) {
        fputs(also == verb->also ? "Also: \\fB" : ", \\fB", to);
        ks_roff_text(to, *also);
        fputs(also[1] ? "\\fR" : "\\fR.\n", to);
    }
    put_uses(to, verb->uses);
    if (verb->examples[0])
        fputs(".PP\n", to);
    for (const char *const *example = verb->examples; *example; example++)
        put_example(to, *example);
}

static bool is_in_group(const struct ctl_verb *verb, const struct ctl_group *group)
{
    return !ctl_verb_is_hidden(verb) && ctl_verb_group(verb) == group;
}

void ctl_man_group(const struct ctl_man *man, const struct ctl_group *group)
{
    char page[64];
    snprintf(page, sizeof page, "kstreamctl-%s", group->name);
    put_head(man, page, group->summary);
    fputs(".SH SYNOPSIS\n", man->to);
    bool is_first = true;
    for (size_t i = 0; ctl_verb_at(i); i++) {
        if (!is_in_group(ctl_verb_at(i), group))
            continue;
        fputs(is_first ? "" : ".br\n", man->to);
        put_usage(man->to, ctl_verb_at(i));
        is_first = false;
    }
    fputs(".SH COMMANDS\n", man->to);
    for (size_t i = 0; ctl_verb_at(i); i++)
        if (is_in_group(ctl_verb_at(i), group))
            put_verb(man->to, ctl_verb_at(i));
    fputs(".SH \"SEE ALSO\"\n"
          "The options of every command, outputs, settings and exit codes are in\n"
          ".BR kstreamctl (1).\n",
        man->to);
}

/* ---- kstreamctl(1) ---- */

static void put_groups(FILE *to)
{
    fputs(".SH COMMANDS\nThe pages of the groups have the options of each command.\n", to);
    for (size_t i = 0; ctl_group_at(i); i++) {
        const struct ctl_group *group = ctl_group_at(i);
        fputs(".SS ", to);
        ks_roff_argument(to, group->summary);
        fputs("\nSee\n.BR kstreamctl\\-", to);
        ks_roff_text(to, group->name);
        fputs(" (1).\n", to);
        for (size_t j = 0; ctl_verb_at(j); j++) {
            if (!is_in_group(ctl_verb_at(j), group))
                continue;
            fputs(".TP\n\\fB", to);
            ks_roff_text(to, ctl_verb_at(j)->name);
            fputs("\\fR\n", to);
            ks_roff_running(to, ctl_verb_at(j)->summary);
        }
    }
}

static void put_topic(FILE *to, const struct ctl_topic *topic)
{
    /* Where readers of manuals look for it. */
    ks_roff_section(to, strcmp(topic->name, "exit-codes") == 0 ? "exit-status" : topic->name);
    bool is_first = true;
    for (const struct ctl_topic_line *line = topic->lines; line->text; line++) {
        if (line->left) {
            fputs(".TP\n\\fB", to);
            ks_roff_text(to, line->left);
            fputs("\\fR\n", to);
        } else if (!is_first) {
            fputs(".PP\n", to);
        }
        is_first = false;
        ks_roff_running(to, line->text);
    }
}

static void put_environment(FILE *to)
{
    fputs(".SH ENVIRONMENT\n", to);
    for (int i = 0; i < CTL_OPTION_COUNT; i++) {
        const char *variable = ctl_setting_variable((enum ctl_option_id)i);
        if (!variable)
            continue;
        fputs(".TP\n\\fB", to);
        ks_roff_text(to, variable);
        fputs("\\fR\nas \\fB\\-\\-", to);
        ks_roff_text(to, ctl_option_name((enum ctl_option_id)i));
        fputs("\\fR\n", to);
    }
    fputs(".TP\n\\fBKSTREAM_PROFILE\\fR, \\fBKSTREAM_CONFIG\\fR\n"
          "as \\fB\\-\\-profile\\fR and \\fB\\-\\-config\\fR\n"
          ".TP\n\\fBNO_COLOR\\fR, \\fBCLICOLOR_FORCE\\fR, \\fBTERM\\fR\n"
          "whether \\fB\\-\\-color auto\\fR colours\n"
          ".TP\n\\fBXDG_CONFIG_HOME\\fR\n"
          "where the file of profiles is, instead of \\(ti/.config\n"
          ".SH FILES\n"
          ".TP\n\\(ti/.config/kstream/config\nprofiles of the user\n"
          ".TP\n" CTL_SETTINGS_SYSTEM_PATH "\nprofiles for all users\n",
        to);
}

void ctl_man_main(const struct ctl_man *man)
{
    FILE *to = man->to;
    put_head(man, "kstreamctl", "control and use a kstream broker");
    fputs(
        ".SH SYNOPSIS\n"
        "\\fBkstreamctl\\fR [OPTIONS] \\fICOMMAND\\fR [NAME] [OPTIONS]\n"
        ".SH DESCRIPTION\n"
        "kstream keeps streams as Amazon Kinesis Data Streams does, on your own machine.\n"
        "\\fBkstreamctl\\fR makes streams, stores and reads records, and looks after the broker.\n"
        "Commands have the names of the aws CLI, and the word \\fBkinesis\\fR may stand\n"
        "before them; most have a shorter form as well, such as \\fBstream create\\fR.\n"
        "\\fBkstreamctl help\\fR \\fICOMMAND\\fR shows what is here on a screen.\n",
        to);
    ks_roff_code(to, "",
        "$ kstreamctl create-stream clicks --shards 4\n"
        "$ echo hello | kstreamctl put clicks\n"
        "$ kstreamctl tail clicks --from trim-horizon");
    put_groups(to);
    fputs(".SH OPTIONS\nEvery command takes these, which may also stand before it.\n", to);
    put_uses(to, ctl_common_uses);
    struct ctl_topic topic;
    for (size_t i = 0; ctl_topic_at(i, &topic); i++)
        put_topic(to, &topic);
    put_environment(to);
    fputs(".SH \"SEE ALSO\"\n", to);
    for (size_t i = 0; ctl_group_at(i); i++) {
        fputs(".BR kstreamctl\\-", to);
        ks_roff_text(to, ctl_group_at(i)->name);
        fprintf(to, " (1)%s\n", ctl_group_at(i + 1) ? "," : "");
    }
}
