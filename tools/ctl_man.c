#include "tools/ctl_man.h"

#include "tools/ctl_settings.h"

#include <ctype.h>

#define LINE_BYTES 79u

/* ---- roff ---- */

/* What stands for a character that roff or a terminal would change; NULL: it stands for itself. */
static const char *escape_of(char character)
{
    static const struct {
        char character;
        const char *escape;
    } escapes[] = {{'\\', "\\e"}, {'-', "\\-"}, {'^', "\\(ha"}, {'~', "\\(ti"}, {'`', "\\(ga"},
        {'\'', "\\(aq"}};
    for (size_t i = 0; i < KS_COUNT_OF(escapes); i++)
        if (escapes[i].character == character)
            return escapes[i].escape;
    return NULL;
}

/* A text as it is: no character of it is a command. Returns the bytes written. */
static size_t put_text(FILE *to, const char *text)
{
    size_t bytes = 0;
    for (const char *at = text; *at; at++) {
        bool is_command = *at == '.' && (at == text || at[-1] == '\n');
        const char one[] = {*at, '\0'};
        const char *escape = is_command ? "\\&." : escape_of(*at);
        fputs(escape ? escape : one, to);
        bytes += strlen(escape ? escape : one);
    }
    return bytes;
}

/* The same, as the argument of a macro. */
static void put_argument(FILE *to, const char *text)
{
    fputc('"', to);
    for (; *text; text++) {
        char one[] = {*text, '\0'};
        if (*text == '"')
            fputs("\"\"", to);
        else
            put_text(to, one);
    }
    fputc('"', to);
}

/* Text that runs on: blanks and ends of lines are the same, a sentence ends its line, and no line
 * gets long. */
static void put_running(FILE *to, const char *text)
{
    size_t column = 0;
    for (const char *at = text; *at;) {
        size_t bytes = strcspn(at, " \n");
        char word[128];
        snprintf(word, sizeof word, "%.*s", (int)KS_MIN(bytes, sizeof word - 1), at);
        column += put_text(to, word) + 1;
        at += bytes;
        bool is_sentence =
            bytes > 1 && at[-1] == '.' && *at == ' ' && isupper((unsigned char)at[1]);
        at += strspn(at, " \n");
        bool has_room = column + 2 * strcspn(at, " \n") < LINE_BYTES;
        if (*at)
            fputc(is_sentence || !has_room ? '\n' : ' ', to);
        column = is_sentence || !has_room ? 0 : column;
    }
    fputc('\n', to);
}

static void put_section(FILE *to, const char *name)
{
    fprintf(to, ".SH ");
    for (const char *at = name; *at; at++)
        fputc(*at == '-' ? ' ' : toupper((unsigned char)*at), to);
    fputc('\n', to);
}

static void put_head(const struct ctl_man *man, const char *page, const char *summary)
{
    fputs(".\\\" Made from tools/ctl_commands.def.\n.TH ", man->to);
    for (const char *at = page; *at; at++)
        fputc(toupper((unsigned char)*at), man->to);
    fprintf(man->to, " 1 %s \"kstream %s\" \"kstream manual\"\n.nh\n.ad l\n.SH NAME\n", man->date,
        man->version);
    put_text(man->to, page);
    fputs(" \\- ", man->to);
    put_running(man->to, summary);
}

static void put_code(FILE *to, const char *before, const char *text)
{
    fputs(".EX\n", to);
    put_text(to, before);
    put_text(to, text);
    fputs("\n.EE\n", to);
}

/* ---- options ---- */

static void put_use(FILE *to, const struct ctl_use *use)
{
    const char *metavar = ctl_option_metavar(use->option);
    fputs(".TP\n", to);
    if (ctl_option_letter(use->option))
        fprintf(to, "\\fB\\-%c\\fR, ", ctl_option_letter(use->option));
    fputs("\\fB\\-\\-", to);
    put_text(to, ctl_option_name(use->option));
    fputs("\\fR", to);
    if (metavar[0]) {
        fputs(metavar[0] == '[' ? "[=\\fI" : " \\fI", to);
        char name[32];
        snprintf(name, sizeof name, "%s", metavar + (metavar[0] == '['));
        if (metavar[0] == '[')
            name[strlen(name) - 1] = '\0';
        put_text(to, name);
        fputs(metavar[0] == '[' ? "\\fR]" : "\\fR", to);
    }
    fputc('\n', to);
    put_running(to, use->text);
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
    put_text(to, verb->name);
    fputs("\\fR ", to);
    put_text(to, usage);
    fprintf(to, "%s[OPTIONS]\n", usage[0] ? " " : "");
}

static void put_example(FILE *to, const char *text)
{
    /* A pipe begins with its other command. */
    put_code(to, strstr(text, "| kstreamctl") ? "$ " : "$ kstreamctl ", text);
}

static void put_verb(FILE *to, const struct ctl_verb *verb)
{
    fputs(".SS ", to);
    put_argument(to, verb->name);
    fputc('\n', to);
    put_usage(to, verb);
    fputs(".PP\n", to);
    fputc(toupper((unsigned char)verb->summary[0]), to);
    put_text(to, verb->summary + 1);
    fputs(".\n", to);
    for (const char *const *also = verb->also; *also; also++) {
        fputs(also == verb->also ? "Also: \\fB" : ", \\fB", to);
        put_text(to, *also);
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
        put_argument(to, group->summary);
        fputs("\nSee\n.BR kstreamctl\\-", to);
        put_text(to, group->name);
        fputs(" (1).\n", to);
        for (size_t j = 0; ctl_verb_at(j); j++) {
            if (!is_in_group(ctl_verb_at(j), group))
                continue;
            fputs(".TP\n\\fB", to);
            put_text(to, ctl_verb_at(j)->name);
            fputs("\\fR\n", to);
            put_running(to, ctl_verb_at(j)->summary);
        }
    }
}

static void put_topic(FILE *to, const struct ctl_topic *topic)
{
    /* Where readers of manuals look for it. */
    put_section(to, strcmp(topic->name, "exit-codes") == 0 ? "exit-status" : topic->name);
    bool is_first = true;
    for (const struct ctl_topic_line *line = topic->lines; line->text; line++) {
        if (line->left) {
            fputs(".TP\n\\fB", to);
            put_text(to, line->left);
            fputs("\\fR\n", to);
        } else if (!is_first) {
            fputs(".PP\n", to);
        }
        is_first = false;
        put_running(to, line->text);
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
        put_text(to, variable);
        fputs("\\fR\nas \\fB\\-\\-", to);
        put_text(to, ctl_option_name((enum ctl_option_id)i));
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
    put_code(to, "",
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
        put_text(to, ctl_group_at(i)->name);
        fprintf(to, " (1)%s\n", ctl_group_at(i + 1) ? "," : "");
    }
}
