#include "tools/ctl_args.h"

#include "base/bytes.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

struct option_row {
    const char *name;
    char letter;
    const char *metavar;
};

struct alias_row {
    const char *name;
    enum ctl_option_id option;
};

static const struct option_row option_rows[] = {
#define CTL_OPTION(id, name, letter, metavar) [CTL_##id] = {name, letter, metavar},
#define CTL_ALIAS(name, id)
#define CTL_VERB(id, name, arguments, summary)
#define CTL_TAKES(id, text)
#define CTL_NEEDS(id, text)
#define CTL_EXAMPLE(text)
#define CTL_END()
#include "tools/ctl_commands.def"
#undef CTL_OPTION
#undef CTL_ALIAS
#undef CTL_VERB
#undef CTL_TAKES
#undef CTL_NEEDS
#undef CTL_EXAMPLE
#undef CTL_END
};

static const struct alias_row alias_rows[] = {
#define CTL_OPTION(id, name, letter, metavar)
#define CTL_ALIAS(name, id) {name, CTL_##id},
#define CTL_VERB(id, name, arguments, summary)
#define CTL_TAKES(id, text)
#define CTL_NEEDS(id, text)
#define CTL_EXAMPLE(text)
#define CTL_END()
#include "tools/ctl_commands.def"
#undef CTL_OPTION
#undef CTL_ALIAS
#undef CTL_VERB
#undef CTL_TAKES
#undef CTL_NEEDS
#undef CTL_EXAMPLE
#undef CTL_END
};

/* One array of uses per verb. */
#define CTL_OPTION(id, name, letter, metavar)
#define CTL_ALIAS(name, id)
#define CTL_VERB(id, name, arguments, summary) static const struct ctl_use uses_##id[] = {
#define CTL_TAKES(id, text) {CTL_##id, false, text},
#define CTL_NEEDS(id, text) {CTL_##id, true, text},
#define CTL_EXAMPLE(text)
#define CTL_END()                                                                                  \
    {                                                                                              \
        CTL_OPTION_COUNT, false, NULL                                                              \
    }                                                                                              \
    }                                                                                              \
    ;
#include "tools/ctl_commands.def"
#undef CTL_VERB
#undef CTL_TAKES
#undef CTL_NEEDS
#undef CTL_EXAMPLE
#undef CTL_END

/* And one of examples. */
#define CTL_VERB(id, name, arguments, summary) static const char *const examples_##id[] = {
#define CTL_TAKES(id, text)
#define CTL_NEEDS(id, text)
#define CTL_EXAMPLE(text) text,
#define CTL_END()                                                                                  \
    NULL                                                                                           \
    }                                                                                              \
    ;
#include "tools/ctl_commands.def"
#undef CTL_VERB
#undef CTL_EXAMPLE
#undef CTL_END

static const struct ctl_verb verbs[] = {
#define CTL_VERB(id, name, arguments, summary)                                                     \
    {CTL_VERB_##id, name, arguments, summary, uses_##id, examples_##id},
#define CTL_EXAMPLE(text)
#define CTL_END()
#include "tools/ctl_commands.def"
#undef CTL_OPTION
#undef CTL_ALIAS
#undef CTL_VERB
#undef CTL_TAKES
#undef CTL_NEEDS
#undef CTL_EXAMPLE
#undef CTL_END
};

const struct ctl_verb *ctl_verb_at(size_t index)
{
    return index < KS_COUNT_OF(verbs) ? &verbs[index] : NULL;
}

const struct ctl_verb *ctl_verb_find(const char *name)
{
    for (size_t i = 0; i < KS_COUNT_OF(verbs); i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

const char *ctl_option_name(enum ctl_option_id option)
{
    return option_rows[option].name;
}

/* ---- did you mean ---- */

#define CLOSEST_BYTES_MAX 48

/* Levenshtein's distance; texts longer than CLOSEST_BYTES_MAX are never close. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t a_bytes = strlen(a);
    size_t b_bytes = strlen(b);
    if (a_bytes > CLOSEST_BYTES_MAX || b_bytes > CLOSEST_BYTES_MAX)
        return SIZE_MAX;
    size_t row[CLOSEST_BYTES_MAX + 1];
    for (size_t j = 0; j <= b_bytes; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_bytes; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_bytes; j++) {
            size_t above = row[j];
            size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
            row[j] = KS_MIN(KS_MIN(row[j], row[j - 1]) + 1, replaced);
            diagonal = above;
        }
    }
    return row[b_bytes];
}

const char *ctl_closest(const char *typed, const char *const *names)
{
    const char *best = NULL;
    size_t best_distance = KS_MAX(strlen(typed) / 3, (size_t)1) + 1;
    for (size_t i = 0; names[i]; i++) {
        size_t distance = edit_distance(typed, names[i]);
        if (distance < best_distance) {
            best = names[i];
            best_distance = distance;
        }
    }
    return best;
}

static enum ks_status fail_unknown(
    struct ks_error *err, const char *what, const char *typed, const char *const *names)
{
    const char *dashes = strcmp(what, "option") == 0 ? "--" : "";
    const char *closest = ctl_closest(typed, names);
    if (closest)
        return ks_fail(err, KS_USAGE, 0, "unknown %s '%s%.60s'; did you mean '%s%s'?", what, dashes,
            typed, dashes, closest);
    return ks_fail(err, KS_USAGE, 0, "unknown %s '%s%.60s'", what, dashes, typed);
}

static enum ks_status fail_unknown_verb(struct ks_error *err, const char *typed)
{
    const char *names[KS_COUNT_OF(verbs) + 1] = {NULL};
    for (size_t i = 0; i < KS_COUNT_OF(verbs); i++)
        names[i] = verbs[i].name;
    return fail_unknown(err, "command", typed, names);
}

/* ---- getopt ---- */

#define GETOPT_ROWS_MAX (CTL_OPTION_COUNT + KS_COUNT_OF(alias_rows) + 1)
/* What getopt_long returns for option 0; above every letter. */
#define GETOPT_FIRST 256

struct getopt_table {
    struct option rows[GETOPT_ROWS_MAX];
    size_t count;
    char letters[2 * CTL_OPTION_COUNT + 3];
    const char *names[GETOPT_ROWS_MAX];
};

static void table_add_name(struct getopt_table *table, const char *name, enum ctl_option_id option)
{
    KS_ASSERT(table->count + 1 < GETOPT_ROWS_MAX);
    table->rows[table->count] = (struct option){
        .name = name,
        .has_arg = option_rows[option].metavar[0] ? required_argument : no_argument,
        .val = GETOPT_FIRST + (int)option,
    };
    table->names[table->count++] = name;
}

static void table_add(struct getopt_table *table, enum ctl_option_id option)
{
    const struct option_row *row = &option_rows[option];
    table_add_name(table, row->name, option);
    for (size_t i = 0; i < KS_COUNT_OF(alias_rows); i++)
        if (alias_rows[i].option == option)
            table_add_name(table, alias_rows[i].name, option);
    if (row->letter) {
        size_t length = strlen(table->letters);
        table->letters[length++] = row->letter;
        if (row->metavar[0])
            table->letters[length++] = ':';
        table->letters[length] = '\0';
    }
}

/* verb NULL: what may stand before the verb. */
static void table_fill(struct getopt_table *table, const struct ctl_verb *verb)
{
    memset(table, 0, sizeof *table);
    snprintf(table->letters, sizeof table->letters, "%s", verb ? ":" : "+:");
    for (int i = 0; i < CTL_COMMON_COUNT; i++)
        table_add(table, (enum ctl_option_id)i);
    for (const struct ctl_use *use = verb ? verb->uses : NULL; use && use->text; use++)
        table_add(table, use->option);
}

static enum ctl_option_id option_of(int getopt_result)
{
    if (getopt_result >= GETOPT_FIRST)
        return (enum ctl_option_id)(getopt_result - GETOPT_FIRST);
    for (int i = 0; i < CTL_OPTION_COUNT; i++)
        if (option_rows[i].letter && option_rows[i].letter == getopt_result)
            return (enum ctl_option_id)i;
    return CTL_OPTION_COUNT;
}

/* getopt_long said '?' or ':' about the word before optind. */
static enum ks_status fail_option(
    struct ks_error *err, const struct getopt_table *table, int result, const char *word)
{
    if (result == ':')
        return ks_fail(err, KS_USAGE, 0, "option '%.60s' needs a value", word);
    if (word[0] != '-' || word[1] != '-')
        return ks_fail(err, KS_USAGE, 0, "unknown option '-%c'", optopt);
    char typed[64];
    snprintf(typed, sizeof typed, "%s", word + 2);
    typed[strcspn(typed, "=")] = '\0';
    if (optopt != 0)
        return ks_fail(err, KS_USAGE, 0, "option '--%s' takes no value", typed);
    const char *first = NULL;
    for (size_t i = 0; i < table->count; i++) {
        if (strncmp(table->names[i], typed, strlen(typed)) != 0)
            continue;
        if (first)
            return ks_fail(err, KS_USAGE, 0, "option '--%s' could be '--%s' or '--%s'", typed,
                first, table->names[i]);
        first = table->names[i];
    }
    return fail_unknown(err, "option", typed, table->names);
}

/* After an error: in which form it is wanted, wherever in the line that is said. */
static void find_output(int argc, char **argv, struct ctl_args *args)
{
    static const struct option only_output[] = {
        {"output", required_argument, NULL, 'o'}, {NULL, 0, NULL, 0}};
    optind = 0;
    int result;
    while ((result = getopt_long(argc, argv, ":o:", only_output, NULL)) != -1)
        if (result == 'o')
            args->values[CTL_OUTPUT] = optarg;
}

/* Reads options of argv up to its end, or for verb NULL up to the first word that is none. */
static enum ks_status parse_options(
    int argc, char **argv, const struct ctl_verb *verb, struct ctl_args *args, struct ks_error *err)
{
    struct getopt_table table;
    table_fill(&table, verb);
    optind = 0; /* glibc: begin anew */
    opterr = 0;
    for (;;) {
        int result = getopt_long(argc, argv, table.letters, table.rows, NULL);
        if (result == -1)
            return KS_OK;
        if (result == '?' || result == ':') {
            enum ks_status st = fail_option(err, &table, result, argv[optind - 1]);
            find_output(argc, argv, args);
            return st;
        }
        enum ctl_option_id option = option_of(result);
        KS_ASSERT(option < CTL_OPTION_COUNT);
        args->values[option] = optarg ? optarg : "";
    }
}

static bool verb_takes(const struct ctl_verb *verb, enum ctl_option_id option)
{
    for (const struct ctl_use *use = verb->uses; use->text; use++)
        if (use->option == option)
            return true;
    return false;
}

static enum ks_status take_operands(
    int argc, char **argv, struct ctl_args *args, struct ks_error *err)
{
    const struct ctl_verb *verb = args->verb;
    size_t allowed = strstr(verb->arguments, "[FILE]") ? 1 : 0;
    for (int i = optind; i < argc; i++) {
        if (!args->values[CTL_STREAM_NAME] && verb_takes(verb, CTL_STREAM_NAME))
            args->values[CTL_STREAM_NAME] = argv[i];
        else if (args->operand_count < allowed)
            args->operands[args->operand_count++] = argv[i];
        else
            return ks_fail(err, KS_USAGE, 0, "unexpected argument '%.80s'", argv[i]);
    }
    return KS_OK;
}

static enum ks_status check_needs(const struct ctl_args *args, struct ks_error *err)
{
    for (const struct ctl_use *use = args->verb->uses; use->text; use++)
        if (use->is_needed && !args->values[use->option])
            return ks_fail(
                err, KS_USAGE, 0, "option '--%s' is missing", option_rows[use->option].name);
    return KS_OK;
}

/* Any bytes may be data, part of a path or a separator; all else are texts of the protocol. */
static bool is_any_bytes(enum ctl_option_id option)
{
    return option == CTL_DATA || option == CTL_ENDPOINT || option == CTL_FORMAT ||
           option == CTL_KEY_FIELD || option == CTL_DATA_FIELD;
}

static enum ks_status check_texts(const struct ctl_args *args, struct ks_error *err)
{
    for (int i = 0; i < CTL_OPTION_COUNT; i++) {
        const char *value = args->values[i];
        if (value && !is_any_bytes((enum ctl_option_id)i) &&
            !ks_view_is_utf8(ks_view_of_text(value)))
            return ks_fail(
                err, KS_USAGE, 0, "the value of '--%s' is not UTF-8", option_rows[i].name);
    }
    return KS_OK;
}

/* `help VERB`, `help`. */
static enum ks_status parse_help(const char *name, struct ctl_args *args, struct ks_error *err)
{
    args->values[CTL_HELP] = "";
    if (!name)
        return KS_OK;
    args->verb = ctl_verb_find(name);
    return args->verb ? KS_OK : fail_unknown_verb(err, name);
}

enum ks_status ctl_args_parse(
    int argc, char **argv, struct ctl_args *out_args, struct ks_error *err)
{
    memset(out_args, 0, sizeof *out_args);
    enum ks_status st = parse_options(argc, argv, NULL, out_args, err);
    if (st)
        return st;
    int at = optind;
    if (at < argc && strcmp(argv[at], "kinesis") == 0)
        at++;
    bool is_only_help = ctl_args_has(out_args, CTL_HELP) || ctl_args_has(out_args, CTL_VERSION);
    if (at >= argc)
        return is_only_help ? KS_OK : ks_fail(err, KS_USAGE, 0, "no command given");
    if (strcmp(argv[at], "help") == 0)
        return parse_help(at + 1 < argc ? argv[at + 1] : NULL, out_args, err);
    out_args->verb = ctl_verb_find(argv[at]);
    if (!out_args->verb) {
        st = fail_unknown_verb(err, argv[at]);
        find_output(argc - at, argv + at, out_args);
        return st;
    }
    st = parse_options(argc - at, argv + at, out_args->verb, out_args, err);
    if (st)
        return st;
    if (ctl_args_has(out_args, CTL_HELP) || ctl_args_has(out_args, CTL_VERSION))
        return KS_OK;
    st = take_operands(argc - at, argv + at, out_args, err);
    if (!st)
        st = check_needs(out_args, err);
    return st ? st : check_texts(out_args, err);
}

enum ks_status ctl_args_number(const struct ctl_args *args, enum ctl_option_id option,
    struct ctl_range range, uint64_t *out_number, struct ks_error *err)
{
    const char *text = args->values[option];
    if (!text) {
        *out_number = range.fallback;
        return KS_OK;
    }
    errno = 0;
    char *end = NULL;
    unsigned long long number = isdigit((unsigned char)text[0]) ? strtoull(text, &end, 10) : 0;
    if (!end || *end || errno || number < range.min || number > range.max)
        return ks_fail(err, KS_USAGE, 0, "'--%s %.60s': a number from %llu to %llu is needed",
            option_rows[option].name, text, (unsigned long long)range.min,
            (unsigned long long)range.max);
    *out_number = number;
    return KS_OK;
}

/* ---- help ---- */

static void print_overview(FILE *to)
{
    fputs("Usage: kstreamctl COMMAND [NAME] [OPTIONS]\n\n", to);
    for (size_t i = 0; i < KS_COUNT_OF(verbs); i++)
        fprintf(to, "  %-24s %s\n", verbs[i].name, verbs[i].summary);
    fputs("\nEvery command takes:\n"
          "  -o, --output FORMAT      table (on a terminal), json (else), text or none\n"
          "      --query PATH         a part of the result, such as Shards[0].ShardId\n"
          "      --no-header          tables without their first line\n"
          "      --endpoint ADDRESS   HOST:PORT or unix:PATH (also KSTREAM_ENDPOINT)\n"
          "      --timeout DURATION   limit for a request (default 30s)\n"
          "  -h, --help, --version    kstreamctl COMMAND --help has examples\n",
        to);
}

/* A text of several lines, each after the first indented to the same column. */
static void print_use(FILE *to, const struct ctl_use *use)
{
    const struct option_row *row = &option_rows[use->option];
    char left[64];
    if (row->letter)
        snprintf(left, sizeof left, "  -%c, --%s %s", row->letter, row->name, row->metavar);
    else
        snprintf(left, sizeof left, "      --%s %s", row->name, row->metavar);
    const char *text = use->text;
    bool is_wide = strlen(left) > 27;
    fprintf(to, is_wide ? "%s\n%27s " : "%-27s ", left, "");
    for (; *text; text++) {
        fputc(*text, to);
        if (*text == '\n')
            fprintf(to, "%28s", "");
    }
    fputc('\n', to);
}

void ctl_help_print(FILE *to, const struct ctl_verb *verb)
{
    if (!verb) {
        print_overview(to);
        return;
    }
    fprintf(to, "Usage: kstreamctl %s %s%s[OPTIONS]\n", verb->name, verb->arguments,
        verb->arguments[0] ? " " : "");
    fprintf(to, "%c%s.\n\n", toupper((unsigned char)verb->summary[0]), verb->summary + 1);
    for (size_t i = 0; verb->examples[i]; i++) {
        /* A pipe begins with its other command. */
        bool is_pipe = strstr(verb->examples[i], "| kstreamctl") != NULL;
        fprintf(to, "  $ %s%s\n", is_pipe ? "" : "kstreamctl ", verb->examples[i]);
    }
    fputc('\n', to);
    for (const struct ctl_use *use = verb->uses; use->text; use++)
        print_use(to, use);
    fputs("Also --output, --query, --endpoint, --timeout: see kstreamctl --help.\n", to);
}
