#include "tools/cli.h"

#include "tools/ctl_closest.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_HELP 1000
#define VALUE_VERSION 1001
#define VALUE_FIRST 1100
#define LABEL_COLUMNS 28

static bool verb_takes(
    const struct cli_program *program, const struct cli_verb *verb, size_t option)
{
    uint32_t verbs = program->options[option].verbs;
    return verbs == 0 || (verb && (verbs >> (verb - program->verbs) & 1));
}

/* ---- parsing ---- */

struct getopt_tables {
    struct option longs[CLI_OPTIONS_MAX + 3];
    char shorts[2 * CLI_OPTIONS_MAX + 8];
};

static void tables_make(const struct cli_program *program, struct getopt_tables *tables)
{
    memset(tables, 0, sizeof *tables);
    size_t at = 0;
    tables->shorts[at++] = '-'; /* operands in their place */
    tables->shorts[at++] = ':';
    tables->shorts[at++] = 'h';
    for (size_t i = 0; i < program->option_count; i++) {
        const struct cli_option *option = &program->options[i];
        tables->longs[i] = (struct option){.name = option->name,
            .has_arg = option->metavar ? required_argument : no_argument,
            .val = VALUE_FIRST + (int)i};
        if (!option->letter)
            continue;
        tables->shorts[at++] = option->letter;
        if (option->metavar)
            tables->shorts[at++] = ':';
    }
    tables->longs[program->option_count] = (struct option){.name = "help", .val = VALUE_HELP};
    tables->longs[program->option_count + 1] =
        (struct option){.name = "version", .val = VALUE_VERSION};
}

static enum ks_status fail_unknown(
    const struct cli_program *program, const char *typed, struct ks_error *err)
{
    const char *names[CLI_OPTIONS_MAX + 1] = {NULL};
    for (size_t i = 0; i < program->option_count; i++)
        names[i] = program->options[i].name;
    size_t dashes = strspn(typed, "-");
    const char *closest = dashes == 2 ? ctl_closest(typed + 2, names) : NULL;
    if (closest)
        return ks_fail(
            err, KS_USAGE, 0, "unknown option '%.60s'; did you mean '--%s'?", typed, closest);
    return ks_fail(err, KS_USAGE, 0, "unknown option '%.60s'", typed);
}

static enum ks_status take_word(const struct cli_program *program, const char *word,
    struct cli_args *args, struct ks_error *err)
{
    if (!args->verb && strcmp(word, "help") == 0) {
        args->wants_help = true;
        return KS_OK;
    }
    if (args->verb) {
        if (args->operand_count == CLI_OPERANDS_MAX)
            return ks_fail(err, KS_USAGE, 0, "'%.60s' is one word too many", word);
        args->operands[args->operand_count++] = word;
        return KS_OK;
    }
    const char *names[CLI_OPTIONS_MAX + 1] = {NULL};
    for (size_t i = 0; i < program->verb_count; i++) {
        names[i] = program->verbs[i].name;
        if (strcmp(names[i], word) == 0)
            args->verb = &program->verbs[i];
    }
    if (args->verb)
        return KS_OK;
    const char *closest = ctl_closest(word, names);
    if (closest)
        return ks_fail(err, KS_USAGE, 0, "no verb '%.60s'; did you mean '%s'?", word, closest);
    return ks_fail(err, KS_USAGE, 0, "no verb '%.60s'", word);
}

static size_t option_of_letter(const struct cli_program *program, int letter)
{
    size_t i = 0;
    while (program->options[i].letter != letter)
        i++;
    return i;
}

/* One answer of getopt_long. */
static enum ks_status take(const struct cli_program *program, int answer, char **argv,
    struct cli_args *args, struct ks_error *err)
{
    switch (answer) {
    case 1:
        return take_word(program, optarg, args, err);
    case 'h':
    case VALUE_HELP:
        args->wants_help = true;
        return KS_OK;
    case VALUE_VERSION:
        args->wants_version = true;
        return KS_OK;
    case ':':
        return ks_fail(err, KS_USAGE, 0, "'%.60s' needs a value", argv[optind - 1]);
    case '?':
        /* A short one may stand inside a cluster: its letter is in optopt. */
        if (optopt > 0 && optopt < VALUE_HELP)
            return ks_fail(err, KS_USAGE, 0, "unknown option '-%c'", optopt);
        if (optopt >= VALUE_HELP)
            return ks_fail(err, KS_USAGE, 0, "'%.60s' takes no value", argv[optind - 1]);
        return fail_unknown(program, argv[optind - 1], err);
    default: {
        size_t i = answer >= VALUE_FIRST ? (size_t)(answer - VALUE_FIRST)
                                         : option_of_letter(program, answer);
        args->values[i] = program->options[i].metavar ? optarg : "";
        return KS_OK;
    }
    }
}

static enum ks_status check_options(
    const struct cli_program *program, const struct cli_args *args, struct ks_error *err)
{
    for (size_t i = 0; i < program->option_count; i++) {
        if (args->values[i] && !verb_takes(program, args->verb, i))
            return ks_fail(err, KS_USAGE, 0, "'%s' takes no option '--%s'", args->verb->name,
                program->options[i].name);
    }
    return KS_OK;
}

enum ks_status cli_parse(const struct cli_program *program, int argc, char **argv,
    struct cli_args *out_args, struct ks_error *err)
{
    KS_ASSERT(program->option_count <= CLI_OPTIONS_MAX && program->verb_count <= CLI_OPTIONS_MAX);
    *out_args = (struct cli_args){.verb = NULL};
    struct getopt_tables tables;
    tables_make(program, &tables);
    optind = 0; /* glibc: begin anew */
    opterr = 0;
    int answer;
    while ((answer = getopt_long(argc, argv, tables.shorts, tables.longs, NULL)) != -1) {
        enum ks_status st = take(program, answer, argv, out_args, err);
        if (st)
            return st;
    }
    while (optind < argc) { /* behind "--" */
        enum ks_status st = take_word(program, argv[optind++], out_args, err);
        if (st)
            return st;
    }
    if (out_args->wants_help || out_args->wants_version)
        return KS_OK;
    if (!out_args->verb)
        return ks_fail(err, KS_USAGE, 0, "a verb is missing");
    return check_options(program, out_args, err);
}

enum ks_status cli_number(
    const char *text, const struct cli_range *range, uint64_t *out_number, struct ks_error *err)
{
    if (!text) {
        *out_number = range->fallback;
        return KS_OK;
    }
    char *end = NULL;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    bool is_number = text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0;
    if (!is_number || number < range->min || number > range->max)
        return ks_fail(err, KS_USAGE, 0, "'--%s %.40s': a number from %llu to %llu is needed",
            range->name, text, (unsigned long long)range->min, (unsigned long long)range->max);
    *out_number = number;
    return KS_OK;
}

/* ---- help ---- */

static void help_options(const struct cli_program *program, const struct cli_verb *verb, FILE *to)
{
    fputs("\nOptions:\n", to);
    for (size_t i = 0; i < program->option_count; i++) {
        const struct cli_option *option = &program->options[i];
        if (!verb_takes(program, verb, i))
            continue;
        char label[64];
        snprintf(label, sizeof label, "%s%c%s--%s%s%s", option->letter ? "-" : "",
            option->letter ? option->letter : ' ', option->letter ? ", " : "   ", option->name,
            option->metavar ? " " : "", option->metavar ? option->metavar : "");
        fprintf(to, "  %-*s %s\n", LABEL_COLUMNS, label, option->text);
    }
    fprintf(to, "  %-*s %s\n", LABEL_COLUMNS, "-h, --help", "this text");
}

void cli_help_print(const struct cli_program *program, const struct cli_verb *verb, FILE *to)
{
    if (!verb) {
        fprintf(to, "%s: %s\n\nUsage: %s VERB ... [options]\n\n", program->name, program->summary,
            program->name);
        for (size_t i = 0; i < program->verb_count; i++)
            fprintf(to, "  %-10s %-22s %s\n", program->verbs[i].name, program->verbs[i].arguments,
                program->verbs[i].summary);
        fprintf(to, "\n%s VERB --help says more.\n", program->name);
        return;
    }
    fprintf(to, "%s %s %s: %s\n", program->name, verb->name, verb->arguments, verb->summary);
    if (verb->details[0])
        fprintf(to, "\n%s\n", verb->details);
    help_options(program, verb, to);
    if (verb->examples[0])
        fprintf(to, "\nExamples:\n%s\n", verb->examples);
}
