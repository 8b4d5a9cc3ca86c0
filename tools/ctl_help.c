#include "tools/ctl_help.h"

#include "tools/ctl_json.h"
#include "tools/ctl_settings.h"

#include <ctype.h>

#define TEXT_COLUMN 28

void ctl_help_overview(FILE *to)
{
    fputs("Usage: kstreamctl COMMAND [NAME] [OPTIONS]\n\n"
          "  $ kstreamctl create-stream clicks --shards 4\n"
          "  $ echo hello | kstreamctl put clicks\n"
          "  $ kstreamctl tail clicks --from trim-horizon\n\n"
          "Groups of commands (kstreamctl help GROUP lists its commands):\n",
        to);
    for (size_t i = 0; ctl_group_at(i); i++)
        fprintf(to, "  %-12s %s\n", ctl_group_at(i)->name, ctl_group_at(i)->summary);
    fputs("\nEvery command takes, among others (kstreamctl help options):\n"
          "  -o, --output FORMAT      table (on a terminal), json (else), text...\n"
          "      --query EXPRESSION   a part of the result, such as Shards[0].ShardId\n"
          "      --endpoint ADDRESS   HOST:PORT or unix:PATH (also KSTREAM_ENDPOINT)\n"
          "  -h, --help               kstreamctl COMMAND --help has examples\n\n"
          "Also: kstreamctl help",
        to);
    struct ctl_topic topic;
    fputs(" commands", to);
    for (size_t i = 0; ctl_topic_at(i, &topic); i++)
        fprintf(to, ", %s", topic.name);
    fputc('\n', to);
}

/* "Also: stream create, stream list." */
static void print_also(FILE *to, const struct ctl_group *group)
{
    size_t column = 0;
    for (size_t i = 0; ctl_verb_at(i); i++) {
        const struct ctl_verb *verb = ctl_verb_at(i);
        for (const char *const *also = verb->also; *also && ctl_verb_group(verb) == group; also++) {
            const char *before = column == 0 ? "  also: " : column > 60 ? ",\n        " : ", ";
            column = (column > 60 ? 0 : column) + strlen(before) + strlen(*also);
            fprintf(to, "%s%s", before, *also);
        }
    }
    if (column > 0)
        fputc('\n', to);
}

static void print_group(FILE *to, const struct ctl_group *group)
{
    fprintf(to, "%s: %s\n", group->name, group->summary);
    for (size_t i = 0; ctl_verb_at(i); i++) {
        const struct ctl_verb *verb = ctl_verb_at(i);
        if (ctl_verb_group(verb) == group && !ctl_verb_is_hidden(verb))
            fprintf(to, "  %-24s %s\n", verb->name, verb->summary);
    }
    print_also(to, group);
}

void ctl_help_group(FILE *to, const struct ctl_group *group)
{
    for (size_t i = 0; ctl_group_at(i); i++) {
        if (group && ctl_group_at(i) != group)
            continue;
        print_group(to, ctl_group_at(i));
        fputc('\n', to);
    }
    fputs("kstreamctl help COMMAND says more about each.\n", to);
}

/* "-o, --output FORMAT", "    --wait[=SECONDS]". */
static void option_text(enum ctl_option_id option, char *text, size_t text_bytes)
{
    const char *metavar = ctl_option_metavar(option);
    const char *between = metavar[0] == '[' ? "[=" : metavar[0] ? " " : "";
    char letter[8] = "    ";
    if (ctl_option_letter(option))
        snprintf(letter, sizeof letter, "-%c, ", ctl_option_letter(option));
    snprintf(text, text_bytes, "  %s--%s%s%s", letter, ctl_option_name(option), between,
        metavar[0] == '[' ? metavar + 1 : metavar);
}

/* A text of several lines, each after the first indented to the same column. */
static void print_use(FILE *to, const struct ctl_use *use)
{
    char left[64];
    option_text(use->option, left, sizeof left);
    if (strlen(left) >= TEXT_COLUMN)
        fprintf(to, "%s\n%*s", left, TEXT_COLUMN, "");
    else
        fprintf(to, "%-*s", TEXT_COLUMN, left);
    for (const char *text = use->text; *text; text++) {
        fputc(*text, to);
        if (*text == '\n')
            fprintf(to, "%*s", TEXT_COLUMN, "");
    }
    fputc('\n', to);
}

static void print_uses(FILE *to, const struct ctl_use *uses)
{
    for (; uses->text; uses++)
        print_use(to, uses);
}

void ctl_help_options(FILE *to)
{
    fputs("Every command takes these options, which may also stand before it:\n\n", to);
    print_uses(to, ctl_common_uses);
}

void ctl_help_verb(FILE *to, const struct ctl_verb *verb)
{
    char usage[CTL_USAGE_BYTES];
    ctl_verb_usage(verb, usage);
    fprintf(to, "Usage: kstreamctl %s %s%s[OPTIONS]\n", verb->name, usage, usage[0] ? " " : "");
    fprintf(to, "%c%s.", toupper((unsigned char)verb->summary[0]), verb->summary + 1);
    for (const char *const *also = verb->also; *also; also++)
        fprintf(to, "%s%s", also == verb->also ? " Also: " : ", ", *also);
    fputs("\n\n", to);
    for (size_t i = 0; verb->examples[i]; i++) {
        /* A pipe begins with its other command. */
        bool is_pipe = strstr(verb->examples[i], "| kstreamctl") != NULL;
        fprintf(to, "  $ %s%s\n", is_pipe ? "" : "kstreamctl ", verb->examples[i]);
    }
    fputc('\n', to);
    print_uses(to, verb->uses);
    fputs("Also --output, --query, --endpoint...: kstreamctl help options.\n", to);
}

/* Breaks the text at blanks, so that lines end before column 79 and begin at indent. */
static void print_wrapped(FILE *to, const char *text, int indent, int column)
{
    while (*text) {
        int bytes = (int)strcspn(text, " ");
        if (column > indent && column + 1 + bytes > 78) {
            fprintf(to, "\n%*s", indent, "");
            column = indent;
        } else if (column > indent) {
            fputc(' ', to);
            column++;
        }
        fprintf(to, "%.*s", bytes, text);
        column += bytes;
        text += bytes;
        text += strspn(text, " ");
    }
    fputc('\n', to);
}

static void print_topic(FILE *to, const struct ctl_topic *topic)
{
    bool is_behind_row = false;
    fprintf(to, "%s: %s\n", topic->name, topic->summary);
    for (const struct ctl_topic_line *line = topic->lines; line->text; line++) {
        if (!line->left || !is_behind_row)
            fputc('\n', to);
        is_behind_row = line->left != NULL;
        if (!line->left) {
            print_wrapped(to, line->text, 0, 0);
            continue;
        }
        bool is_wide = strlen(line->left) > 12;
        fprintf(to, is_wide ? "  %s\n%*s" : "  %-12s%*s", line->left, is_wide ? 16 : 2, "");
        print_wrapped(to, line->text, 16, 16);
    }
}

/* The settings and their variables stand in the table as well. */
static void print_variables(FILE *to)
{
    fputs("\nOptions that can be set so:\n", to);
    for (int i = 0; i < CTL_OPTION_COUNT; i++)
        if (ctl_setting_variable((enum ctl_option_id)i))
            fprintf(to, "  %-20s %s\n", ctl_option_name((enum ctl_option_id)i),
                ctl_setting_variable((enum ctl_option_id)i));
}

bool ctl_help_topic(FILE *to, const char *topic)
{
    struct ctl_topic found;
    if (ctl_topic_find(topic, &found)) {
        print_topic(to, &found);
        if (strcmp(topic, "settings") == 0)
            print_variables(to);
        return true;
    }
    const struct ctl_verb *verb = ctl_verb_find(topic);
    const struct ctl_group *group = ctl_group_find(topic);
    if (verb)
        ctl_help_verb(to, verb);
    else if (group || strcmp(topic, "commands") == 0)
        ctl_help_group(to, group);
    else if (strcmp(topic, "options") == 0)
        ctl_help_options(to);
    else
        return false;
    return true;
}

/* ---- as JSON ---- */

static json_t *use_to_json(const struct ctl_use *use)
{
    static const char *const kinds[] = {
        [CTL_SWITCH] = "switch",
        [CTL_VALUE] = "value",
        [CTL_OPTIONAL] = "optional value",
        [CTL_LIST] = "list",
    };
    const char letter[] = {ctl_option_letter(use->option), '\0'};
    return json_pack("{s:s, s:s*, s:s, s:s, s:s*, s:b, s:s}", "name", ctl_option_name(use->option),
        "letter", letter[0] ? letter : NULL, "kind", kinds[ctl_option_kind(use->option)], "metavar",
        ctl_option_metavar(use->option), "choices", ctl_option_choices(use->option), "needed",
        (int)use->is_needed, "text", use->text);
}

static bool add_uses(json_t *verb, const struct ctl_use *uses)
{
    json_t *options = json_array();
    bool is_fine = ctl_json_add(verb, "options", options);
    for (; is_fine && uses->text; uses++)
        is_fine = json_array_append_new(options, use_to_json(uses)) == 0;
    return is_fine;
}

static bool add_texts(json_t *object, const char *name, const char *const *texts)
{
    json_t *array = json_array();
    bool is_fine = ctl_json_add(object, name, array);
    for (; is_fine && *texts; texts++)
        is_fine = json_array_append_new(array, json_string(*texts)) == 0;
    return is_fine;
}

json_t *ctl_help_json(void)
{
    json_t *array = json_array();
    bool is_fine = array != NULL;
    for (size_t i = 0; is_fine && ctl_verb_at(i); i++) {
        const struct ctl_verb *verb = ctl_verb_at(i);
        if (ctl_verb_is_hidden(verb))
            continue;
        json_t *object = json_pack("{s:s, s:s, s:s}", "command", verb->name, "group",
            ctl_verb_group(verb)->name, "summary", verb->summary);
        is_fine = json_array_append_new(array, object) == 0 &&
                  add_texts(object, "also", verb->also) && add_uses(object, verb->uses) &&
                  add_texts(object, "examples", verb->examples);
    }
    if (is_fine)
        return array;
    json_decref(array);
    return NULL;
}
