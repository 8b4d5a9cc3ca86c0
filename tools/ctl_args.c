#include "tools/ctl_args.h"

#include "tools/ctl_closest.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define NAME_BYTES_MAX 64
/* Every name of every option at once. */
#define NAMES_MAX (2 * CTL_OPTION_COUNT + 32)

struct parse {
    int argc;
    char **argv;
    int at; /* the next word */
    struct ctl_args *args;
    const char *operands[CTL_ITEMS_MAX]; /* bare words behind the verb */
    size_t operand_count;
    struct ks_error *err;
};

/* ---- did you mean ---- */

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
    const char *names[4 * CTL_VERB_COUNT + 1];
    size_t count = 0;
    for (size_t i = 0; i < CTL_VERB_COUNT; i++) {
        const struct ctl_verb *verb = ctl_verb_at(i);
        if (ctl_verb_is_hidden(verb))
            continue;
        names[count++] = verb->name;
        for (size_t j = 0; verb->also[j] && j < 3; j++)
            names[count++] = verb->also[j];
    }
    names[count] = NULL;
    return fail_unknown(err, "command", typed, names);
}

/* ---- options ---- */

/* The name of an option as typed, and the value behind its '=', or NULL. */
struct typed_option {
    char name[NAME_BYTES_MAX];
    const char *value;
};

static struct typed_option split_option(const char *word)
{
    struct typed_option typed = {.value = strchr(word, '=')};
    size_t bytes = typed.value ? (size_t)(typed.value - word) : strlen(word);
    snprintf(
        typed.name, sizeof typed.name, "%.*s", (int)KS_MIN(bytes, sizeof typed.name - 1), word);
    if (typed.value)
        typed.value++;
    return typed;
}

/* verb NULL: what may stand before the verb. */
static bool may_take(const struct ctl_verb *verb, enum ctl_option_id option)
{
    if (verb)
        return ctl_verb_takes(verb, option);
    for (const struct ctl_use *use = ctl_common_uses; use->text; use++)
        if (use->option == option)
            return true;
    return false;
}

struct named_option {
    const char *name;
    enum ctl_option_id option;
};

/* The names that count here, own ones first; an alias counts where no own name is the same. */
static size_t list_names(const struct ctl_verb *verb, struct named_option names[NAMES_MAX])
{
    size_t count = 0;
    for (int i = 0; i < CTL_OPTION_COUNT; i++)
        if (may_take(verb, (enum ctl_option_id)i))
            names[count++] = (struct named_option){
                ctl_option_name((enum ctl_option_id)i), (enum ctl_option_id)i};
    for (const struct ctl_alias *alias = ctl_aliases; alias->name; alias++) {
        KS_ASSERT(count < NAMES_MAX);
        if (may_take(verb, alias->option))
            names[count++] = (struct named_option){alias->name, alias->option};
    }
    return count;
}

enum ctl_option_id ctl_args_option(const struct ctl_verb *verb, const char *name)
{
    struct named_option names[NAMES_MAX];
    size_t count = list_names(verb, names);
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i].name, name) == 0)
            return names[i].option;
    return CTL_OPTION_COUNT;
}

enum ctl_option_id ctl_args_letter(const struct ctl_verb *verb, char letter)
{
    for (int i = 0; i < CTL_OPTION_COUNT; i++)
        if (ctl_option_letter((enum ctl_option_id)i) == letter &&
            may_take(verb, (enum ctl_option_id)i))
            return (enum ctl_option_id)i;
    return CTL_OPTION_COUNT;
}

static enum ks_status find_option(
    struct parse *p, const char *typed, enum ctl_option_id *out_option)
{
    struct named_option names[NAMES_MAX];
    size_t count = list_names(p->args->verb, names);
    const struct named_option *found = NULL;
    *out_option = ctl_args_option(p->args->verb, typed);
    if (*out_option != CTL_OPTION_COUNT)
        return KS_OK;
    for (size_t i = 0; i < count; i++) {
        if (strncmp(names[i].name, typed, strlen(typed)) != 0)
            continue;
        if (found && found->option != names[i].option)
            return ks_fail(p->err, KS_USAGE, 0, "option '--%s' could be '--%s' or '--%s'", typed,
                found->name, names[i].name);
        found = &names[i];
    }
    if (found) {
        *out_option = found->option;
        return KS_OK;
    }
    const char *texts[NAMES_MAX + 1] = {NULL};
    for (size_t i = 0; i < count; i++)
        texts[i] = names[i].name;
    return fail_unknown(p->err, "option", typed, texts);
}

static bool is_known_option(struct parse *p, const char *word)
{
    if (strncmp(word, "--", 2) != 0)
        return false;
    struct typed_option typed = split_option(word + 2);
    return ctl_args_option(p->args->verb, typed.name) != CTL_OPTION_COUNT;
}

static enum ks_status add_item(struct parse *p, enum ctl_option_id option, const char *text)
{
    struct ctl_args *args = p->args;
    if (args->item_count == CTL_ITEMS_MAX)
        return ks_fail(p->err, KS_USAGE, 0, "more than %d values of '--%s'", CTL_ITEMS_MAX,
            ctl_option_name(option));
    args->items[args->item_count++] = (struct ctl_item){option, text};
    if (!args->values[option])
        args->values[option] = text;
    return KS_OK;
}

/* as: "--output" or "-o". value: behind '=' or the letter, NULL: the next word. */
static enum ks_status take_value(
    struct parse *p, enum ctl_option_id option, const char *as, const char *value)
{
    bool has_next = p->at < p->argc && !is_known_option(p, p->argv[p->at]);
    const char *choices = ctl_option_choices(option);
    enum ctl_option_kind kind = ctl_option_kind(option);
    switch (kind) {
    case CTL_SWITCH:
        if (value)
            return ks_fail(p->err, KS_USAGE, 0, "option '%s' takes no value", as);
        p->args->values[option] = "";
        return KS_OK;
    case CTL_OPTIONAL:
        if (!value && has_next && choices && ctl_words_have(choices, p->argv[p->at]))
            value = p->argv[p->at++];
        p->args->values[option] = value ? value : "";
        return KS_OK;
    case CTL_VALUE:
    case CTL_LIST:
        break;
    }
    if (!value && !has_next)
        return ks_fail(p->err, KS_USAGE, 0, "option '%s' needs a value", as);
    if (!value)
        value = p->argv[p->at++];
    if (kind == CTL_VALUE) {
        p->args->values[option] = value;
        return KS_OK;
    }
    enum ks_status st = add_item(p, option, value);
    while (!st && p->at < p->argc && p->argv[p->at][0] != '-')
        st = add_item(p, option, p->argv[p->at++]);
    return st;
}

static enum ks_status take_long(struct parse *p, const char *word)
{
    struct typed_option typed = split_option(word + 2);
    enum ctl_option_id option = CTL_OPTION_COUNT;
    enum ks_status st = find_option(p, typed.name, &option);
    if (st)
        return st;
    for (const struct ctl_alias *alias = ctl_aliases; alias->name; alias++)
        if (alias->option == option && strcmp(alias->name, typed.name) == 0)
            p->args->aliases[option] = alias->name;
    char as[NAME_BYTES_MAX + 2];
    snprintf(as, sizeof as, "--%s", typed.name);
    return take_value(p, option, as, typed.value);
}

/* "-qn5": switches, and perhaps a last one with its value. */
static enum ks_status take_letters(struct parse *p, const char *word)
{
    for (const char *letter = word + 1; *letter; letter++) {
        enum ctl_option_id option = ctl_args_letter(p->args->verb, *letter);
        if (option == CTL_OPTION_COUNT)
            return ks_fail(p->err, KS_USAGE, 0, "unknown option '-%c'", *letter);
        const char as[] = {'-', *letter, '\0'};
        bool is_switch = ctl_option_kind(option) == CTL_SWITCH;
        enum ks_status st = take_value(p, option, as, is_switch || !letter[1] ? NULL : letter + 1);
        if (st || !is_switch)
            return st;
    }
    return KS_OK;
}

/* ---- the verb ---- */

static enum ks_status take_verb(struct parse *p, const char *word)
{
    struct ctl_args *args = p->args;
    const char *next = p->at < p->argc && p->argv[p->at][0] != '-' ? p->argv[p->at] : NULL;
    char both[NAME_BYTES_MAX];
    snprintf(both, sizeof both, "%s%s%s", word, next ? " " : "", next ? next : "");
    if (args->noun)
        return ks_fail(p->err, KS_USAGE, 0, "unexpected argument '%.80s'", word);
    if (strcmp(word, "kinesis") == 0 && next)
        return KS_OK; /* `kstreamctl kinesis list-streams` */
    args->verb = next ? ctl_verb_find(both) : NULL;
    if (args->verb) {
        p->at++;
        return KS_OK;
    }
    args->verb = ctl_verb_find(word);
    if (args->verb)
        return KS_OK;
    if (!ctl_is_noun(word))
        return fail_unknown_verb(p->err, word);
    if (next)
        return fail_unknown_verb(p->err, both);
    args->noun = word;
    return KS_OK;
}

/* ---- bare words ---- */

static enum ks_status take_operands(struct parse *p)
{
    struct ctl_args *args = p->args;
    const enum ctl_option_id *arg = args->verb->args;
    for (size_t i = 0; i < p->operand_count; i++) {
        bool is_list = false;
        while (*arg != CTL_OPTION_COUNT) {
            is_list = ctl_option_kind(*arg) == CTL_LIST;
            if (is_list || !args->values[*arg])
                break;
            arg++;
        }
        if (*arg == CTL_OPTION_COUNT)
            return ks_fail(p->err, KS_USAGE, 0, "unexpected argument '%.80s'", p->operands[i]);
        enum ks_status st = KS_OK;
        if (is_list)
            st = add_item(p, *arg, p->operands[i]);
        else
            args->values[*arg] = p->operands[i];
        args->is_bare[*arg] = true;
        if (st)
            return st;
    }
    return KS_OK;
}

static enum ks_status take_bare(struct parse *p, const char *word)
{
    if (!p->args->verb)
        return take_verb(p, word);
    if (p->operand_count == CTL_ITEMS_MAX)
        return ks_fail(p->err, KS_USAGE, 0, "more than %d arguments", CTL_ITEMS_MAX);
    p->operands[p->operand_count++] = word;
    return KS_OK;
}

/* ---- the whole line ---- */

static enum ks_status parse_words(struct parse *p)
{
    bool has_only_bare = false;
    enum ks_status st = KS_OK;
    while (!st && p->at < p->argc) {
        const char *word = p->argv[p->at++];
        if (has_only_bare || word[0] != '-' || word[1] == '\0')
            st = take_bare(p, word);
        else if (strcmp(word, "--") == 0)
            has_only_bare = true;
        else
            st = word[1] == '-' ? take_long(p, word) : take_letters(p, word);
    }
    return st;
}

/* Whether it is given, or another option that says the same. */
static bool is_met(const struct ctl_args *args, enum ctl_option_id option)
{
    if (args->values[option])
        return true;
    for (const struct ctl_use *use = args->verb->uses; use->text; use++)
        if (args->values[use->option] && ctl_option_is_instead(use->option, option))
            return true;
    return false;
}

enum ks_status ctl_args_check(const struct ctl_args *args, struct ks_error *err)
{
    for (const struct ctl_use *use = args->verb->uses; use->text; use++)
        if (use->is_needed && !is_met(args, use->option))
            return ks_fail(
                err, KS_USAGE, 0, "option '--%s' is missing", ctl_option_name(use->option));
    return KS_OK;
}

/* Any bytes may be data, part of a path or a separator; all else are texts of the protocol. */
static bool is_any_bytes(enum ctl_option_id option)
{
    return option == CTL_DATA || option == CTL_ENDPOINT || option == CTL_FORMAT ||
           option == CTL_KEY_FIELD || option == CTL_DATA_FIELD || option == CTL_FILE;
}

enum ks_status ctl_option_check(
    enum ctl_option_id option, const char *from, const char *value, struct ks_error *err)
{
    const char *choices = ctl_option_choices(option);
    if (!is_any_bytes(option) && !ks_view_is_utf8(ks_view_of_text(value)))
        return ks_fail(err, KS_USAGE, 0, "the value of '%s' is not UTF-8", from);
    bool is_left_out = ctl_option_kind(option) == CTL_OPTIONAL && value[0] == '\0';
    if (!choices || is_left_out || ctl_words_have(choices, value))
        return KS_OK;
    char list[128];
    size_t bytes = 0;
    for (const char *at = choices; *at && bytes + 8 < sizeof list; at++) {
        if (*at == '|')
            bytes += (size_t)snprintf(
                list + bytes, sizeof list - bytes, "%s", strchr(at + 1, '|') ? ", " : " or ");
        else
            list[bytes++] = *at;
    }
    list[bytes] = '\0';
    return ks_fail(err, KS_USAGE, 0, "'%s %.40s': %s is needed", from, value, list);
}

static enum ks_status check_texts(const struct ctl_args *args, struct ks_error *err)
{
    for (int i = 0; i < CTL_OPTION_COUNT; i++) {
        enum ctl_option_id option = (enum ctl_option_id)i;
        char from[NAME_BYTES_MAX + 2];
        snprintf(from, sizeof from, "--%s", ctl_option_name(option));
        enum ks_status st = KS_OK;
        if (args->values[i] && ctl_option_kind(option) != CTL_LIST)
            st = ctl_option_check(option, from, args->values[i], err);
        if (st)
            return st;
    }
    for (size_t i = 0; i < args->item_count; i++) {
        char from[NAME_BYTES_MAX + 2];
        snprintf(from, sizeof from, "--%s", ctl_option_name(args->items[i].option));
        enum ks_status st = ctl_option_check(args->items[i].option, from, args->items[i].text, err);
        if (st)
            return st;
    }
    return KS_OK;
}

/* After an error: in which form it is wanted, wherever in the line that is said. */
static void find_output(int argc, char **argv, struct ctl_args *args)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        const char *word = argv[i];
        if (strncmp(word, "--output=", 9) == 0)
            args->values[CTL_OUTPUT] = word + 9;
        else if (strncmp(word, "-o", 2) == 0 && word[2])
            args->values[CTL_OUTPUT] = word + 2;
        else if ((strcmp(word, "-o") == 0 || strcmp(word, "--output") == 0) && i + 1 < argc)
            args->values[CTL_OUTPUT] = argv[++i];
    }
}

static enum ks_status check_whole(const struct ctl_args *args, struct ks_error *err)
{
    if (args->noun)
        return ks_fail(err, KS_USAGE, 0, "'%.40s' needs a verb; see kstreamctl help %.40s",
            args->noun, args->noun);
    if (!args->verb)
        return ks_fail(err, KS_USAGE, 0, "no command given");
    return check_texts(args, err);
}

enum ks_status ctl_args_parse(
    int argc, char **argv, struct ctl_args *out_args, struct ks_error *err)
{
    struct parse p = {.argc = argc, .argv = argv, .at = 1, .args = out_args, .err = err};
    memset(out_args, 0, sizeof *out_args);
    enum ks_status st = parse_words(&p);
    if (!st && (ctl_args_has(out_args, CTL_HELP) || ctl_args_has(out_args, CTL_VERSION)))
        return KS_OK;
    if (!st && out_args->verb)
        st = take_operands(&p);
    if (!st)
        st = check_whole(out_args, err);
    if (st)
        find_output(argc, argv, out_args);
    return st;
}

const char *ctl_args_item(const struct ctl_args *args, enum ctl_option_id option, size_t n)
{
    for (size_t i = 0; i < args->item_count; i++)
        if (args->items[i].option == option && n-- == 0)
            return args->items[i].text;
    return NULL;
}

/* As the user knows it. */
static const char *name_typed(const struct ctl_args *args, enum ctl_option_id option)
{
    return args->aliases[option] ? args->aliases[option] : ctl_option_name(option);
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
            name_typed(args, option), text, (unsigned long long)range.min,
            (unsigned long long)range.max);
    *out_number = number;
    return KS_OK;
}

enum ks_status ctl_args_fail(const struct ctl_args *args, enum ctl_option_id option,
    const char *needed, struct ks_error *err)
{
    const char *origin = args->origins[option];
    return ks_fail(err, KS_USAGE, 0, "'%s%.100s %.60s': %s", origin ? "" : "--",
        origin ? origin : name_typed(args, option), args->values[option], needed);
}
