#include "tools/ctl_complete.h"

#include <string.h>

/* ---- where the line stands ---- */

struct walk {
    const char *const *words;
    size_t count; /* the unfinished one included */
    size_t at;
    bool has_only_bare;
    bool is_lost;     /* there is no such command */
    bool wants_value; /* the unfinished word is a value of option */
    struct ctl_completion *out;
};

static bool is_finished(const struct walk *walk, size_t index)
{
    return index + 1 < walk->count;
}

/* The option's value is the next word, or the unfinished one. */
static void walk_value(struct walk *walk, enum ctl_option_id option)
{
    struct ctl_completion *out = walk->out;
    enum ctl_option_kind kind = ctl_option_kind(option);
    const char *choices = ctl_option_choices(option);
    if (kind == CTL_SWITCH) {
        out->args.values[option] = "";
        return;
    }
    if (kind == CTL_OPTIONAL) {
        bool has_choice = choices && is_finished(walk, walk->at) &&
                          ctl_words_have(choices, walk->words[walk->at]);
        out->args.values[option] = has_choice ? walk->words[walk->at++] : "";
        return;
    }
    do {
        if (!is_finished(walk, walk->at)) {
            walk->wants_value = true;
            out->option = option;
            return;
        }
        out->args.values[option] = walk->words[walk->at++];
    } while (kind == CTL_LIST && walk->words[walk->at][0] != '-');
}

static void walk_long(struct walk *walk, const char *word)
{
    char name[64];
    const char *equals = strchr(word, '=');
    snprintf(name, sizeof name, "%.*s",
        equals ? (int)KS_MIN((size_t)(equals - word), sizeof name - 1) : (int)sizeof name - 1,
        word);
    enum ctl_option_id option = ctl_args_option(walk->out->args.verb, name);
    if (option == CTL_OPTION_COUNT)
        return;
    if (equals)
        walk->out->args.values[option] = equals + 1;
    else
        walk_value(walk, option);
}

static void walk_letters(struct walk *walk, const char *letters)
{
    for (; *letters; letters++) {
        enum ctl_option_id option = ctl_args_letter(walk->out->args.verb, *letters);
        if (option == CTL_OPTION_COUNT)
            return;
        if (ctl_option_kind(option) == CTL_SWITCH) {
            walk->out->args.values[option] = "";
            continue;
        }
        if (letters[1])
            walk->out->args.values[option] = letters + 1;
        else
            walk_value(walk, option);
        return;
    }
}

/* The option that the next bare word fills; CTL_OPTION_COUNT: none. */
static enum ctl_option_id next_arg(const struct ctl_args *args)
{
    const enum ctl_option_id *arg = args->verb->args;
    while (*arg != CTL_OPTION_COUNT && args->values[*arg] && ctl_option_kind(*arg) != CTL_LIST)
        arg++;
    return *arg;
}

static void walk_bare(struct walk *walk, const char *word)
{
    struct ctl_args *args = &walk->out->args;
    if (args->verb) {
        enum ctl_option_id option = next_arg(args);
        if (option != CTL_OPTION_COUNT)
            args->values[option] = word;
        return;
    }
    if (args->noun) {
        char both[64];
        snprintf(both, sizeof both, "%s %s", args->noun, word);
        args->verb = ctl_verb_find(both);
        walk->is_lost = args->verb == NULL;
        return;
    }
    if (strcmp(word, "kinesis") == 0)
        return; /* `kstreamctl kinesis list-streams` */
    args->verb = ctl_verb_find(word);
    if (!args->verb && ctl_is_noun(word))
        args->noun = word;
    else if (!args->verb)
        walk->is_lost = true;
}

static void walk_words(struct walk *walk)
{
    while (is_finished(walk, walk->at) && !walk->wants_value) {
        const char *word = walk->words[walk->at++];
        if (walk->has_only_bare || word[0] != '-' || word[1] == '\0')
            walk_bare(walk, word);
        else if (strcmp(word, "--") == 0)
            walk->has_only_bare = true;
        else if (word[1] == '-')
            walk_long(walk, word + 2);
        else
            walk_letters(walk, word + 1);
    }
}

/* ---- what the unfinished word is ---- */

/* "--output=js": a value behind its option. */
static bool look_at_assignment(struct ctl_completion *out, const char *word)
{
    const char *equals = strchr(word, '=');
    if (!equals || strncmp(word, "--", 2) != 0 || equals - word >= (int)sizeof out->lead - 1)
        return false;
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)(equals - word - 2), word + 2);
    out->option = ctl_args_option(out->args.verb, name);
    if (out->option == CTL_OPTION_COUNT)
        return false;
    snprintf(out->lead, sizeof out->lead, "%.*s", (int)(equals - word + 1), word);
    out->typed = equals + 1;
    out->kind = CTL_COMPLETE_VALUES;
    return true;
}

void ctl_complete_look(const char *const *words, size_t count, struct ctl_completion *out)
{
    *out = (struct ctl_completion){
        .kind = CTL_COMPLETE_NOTHING, .option = CTL_OPTION_COUNT, .typed = words[count - 1]};
    struct walk walk = {.words = words, .count = count, .out = out};
    walk_words(&walk);
    if (walk.is_lost)
        return;
    if (walk.wants_value) {
        out->kind = CTL_COMPLETE_VALUES;
        return;
    }
    if (!walk.has_only_bare && look_at_assignment(out, out->typed))
        return;
    if (!walk.has_only_bare && out->typed[0] == '-') {
        out->kind = CTL_COMPLETE_OPTIONS;
        return;
    }
    if (!out->args.verb) {
        out->kind = CTL_COMPLETE_COMMANDS;
        return;
    }
    out->option = next_arg(&out->args);
    if (out->option != CTL_OPTION_COUNT)
        out->kind = CTL_COMPLETE_VALUES;
}

/* ---- candidates ---- */

void ctl_complete_offer(
    const struct ctl_completion *completion, FILE *to, const char *value, const char *description)
{
    if (strncmp(value, completion->typed, strlen(completion->typed)) != 0)
        return;
    fprintf(to, "%s%s\t", completion->lead, value);
    /* The first line of a text is enough here. */
    for (; *description && *description != '\n'; description++)
        fputc(*description == '\t' ? ' ' : *description, to);
    fputc('\n', to);
}

/* The words of "a|b" that need no look-up. */
static void offer_words(const struct ctl_completion *completion, FILE *to, const char *words)
{
    while (words) {
        const char *end = strchr(words, '|');
        char word[64];
        snprintf(word, sizeof word, "%.*s", end ? (int)(end - words) : (int)sizeof word - 1, words);
        if (word[0] != '<')
            ctl_complete_offer(completion, to, word, "");
        words = end ? end + 1 : NULL;
    }
}

static void offer_options(
    const struct ctl_completion *completion, FILE *to, const struct ctl_use *uses)
{
    for (; uses->text; uses++) {
        char name[80];
        bool is_given = completion->args.values[uses->option] != NULL;
        snprintf(name, sizeof name, "--%s", ctl_option_name(uses->option));
        if (!is_given || ctl_option_kind(uses->option) == CTL_LIST)
            ctl_complete_offer(completion, to, name, uses->text);
    }
}

/* A name of a verb: the word that fits here, if one does. */
static void offer_name(const struct ctl_completion *completion, FILE *to, const char *name,
    const struct ctl_verb *verb)
{
    const char *noun = completion->args.noun;
    const char *blank = strchr(name, ' ');
    if (noun) {
        size_t bytes = strlen(noun);
        if (blank && (size_t)(blank - name) == bytes && strncmp(name, noun, bytes) == 0)
            ctl_complete_offer(completion, to, blank + 1, verb->summary);
    } else if (!blank) {
        ctl_complete_offer(completion, to, name, verb->summary);
    }
}

/* Whether a name before this one begins with the same word. */
static bool is_noun_known(const char *name, size_t noun_bytes)
{
    for (size_t i = 0; ctl_verb_at(i); i++) {
        const struct ctl_verb *verb = ctl_verb_at(i);
        for (size_t j = 0; j == 0 || verb->also[j - 1]; j++) {
            const char *other = j == 0 ? verb->name : verb->also[j - 1];
            if (other == name)
                return false;
            if (strncmp(other, name, noun_bytes + 1) == 0)
                return true;
        }
    }
    return false;
}

/* "stream", of names such as "stream create", once each. */
static void offer_nouns(const struct ctl_completion *completion, FILE *to)
{
    for (size_t i = 0; ctl_verb_at(i); i++) {
        const struct ctl_verb *verb = ctl_verb_at(i);
        for (size_t j = 0; j == 0 || verb->also[j - 1]; j++) {
            const char *name = j == 0 ? verb->name : verb->also[j - 1];
            const char *blank = strchr(name, ' ');
            if (!blank || is_noun_known(name, (size_t)(blank - name)))
                continue;
            char noun[32];
            snprintf(noun, sizeof noun, "%.*s", (int)(blank - name), name);
            ctl_complete_offer(completion, to, noun, ctl_verb_group(verb)->summary);
        }
    }
}

static void offer_commands(const struct ctl_completion *completion, FILE *to)
{
    for (size_t i = 0; ctl_verb_at(i); i++) {
        const struct ctl_verb *verb = ctl_verb_at(i);
        if (ctl_verb_is_hidden(verb))
            continue;
        offer_name(completion, to, verb->name, verb);
        for (const char *const *also = verb->also; *also; also++)
            offer_name(completion, to, *also, verb);
    }
    if (!completion->args.noun)
        offer_nouns(completion, to);
}

/* What `kstreamctl help` explains besides. */
static void offer_groups(const struct ctl_completion *completion, FILE *to)
{
    for (size_t i = 0; ctl_group_at(i); i++)
        if (!ctl_is_noun(ctl_group_at(i)->name)) /* those are offered as commands */
            ctl_complete_offer(completion, to, ctl_group_at(i)->name, ctl_group_at(i)->summary);
}

static void offer_topics(const struct ctl_completion *completion, FILE *to)
{
    struct ctl_topic topic;
    for (size_t i = 0; ctl_topic_at(i, &topic); i++)
        ctl_complete_offer(completion, to, topic.name, topic.summary);
}

bool ctl_complete_wants(const struct ctl_completion *completion, const char *lookup)
{
    const char *hints =
        completion->kind == CTL_COMPLETE_VALUES ? ctl_option_hints(completion->option) : NULL;
    return hints && ctl_words_have(hints, lookup);
}

void ctl_complete_print(const struct ctl_completion *completion, FILE *to)
{
    switch (completion->kind) {
    case CTL_COMPLETE_NOTHING:
        return;
    case CTL_COMPLETE_COMMANDS:
        offer_commands(completion, to);
        return;
    case CTL_COMPLETE_OPTIONS:
        if (completion->args.verb)
            offer_options(completion, to, completion->args.verb->uses);
        offer_options(completion, to, ctl_common_uses);
        return;
    case CTL_COMPLETE_VALUES:
        break;
    }
    if (ctl_complete_wants(completion, "<commands>"))
        offer_commands(completion, to);
    if (ctl_complete_wants(completion, "<groups>"))
        offer_groups(completion, to);
    if (ctl_complete_wants(completion, "<topics>"))
        offer_topics(completion, to);
    offer_words(completion, to, ctl_option_choices(completion->option));
    offer_words(completion, to, ctl_option_hints(completion->option));
}
