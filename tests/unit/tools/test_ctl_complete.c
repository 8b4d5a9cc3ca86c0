#include "tests/unit/ks_check.h"
#include "tools/ctl_complete.h"

#include <stdio.h>

struct complete_case {
    const char *line;       /* the last word is unfinished; "~" stands for nothing typed */
    const char *candidates; /* the first ones, without descriptions */
};

static const struct complete_case cases[] = {
    {"describe-stream-", "describe-stream-summary "},
    {"stream del", "delete "},
    {"wait ~", "stream-exists stream-not-exists "},
    {"stre", "stream "},
    {"__co", ""},
    {"frobnicate ~", ""},
    {"frobnicate --out", ""},
    {"stream frobnicate ~", ""},
    {"kinesis describe-stream-", "describe-stream-summary "},
    {"list-streams --outp", "--output "},
    {"list-streams -o text --outp", ""},
    {"list-streams --output=j", "--output=json "},
    {"list-streams --output j", "json "},
    {"list-streams -o ~", "table json text ndjson csv none "},
    {"list-streams -qo js", "json "},
    {"-o js", "json "},
    {"--color=~", "--color=auto --color=always --color=never "},
    {"--color always list-str", "list-streams "},
    {"create-stream x --shar", "--shard-count "},
    {"create-stream --shards ~", ""},
    {"create-stream x --wai", "--wait "},
    {"create-stream --wait ~", ""},
    {"list-shards x --generate-cli-skeleton i", ""},
    {"completion ~", "bash zsh fish "},
    {"tail x --from l", "latest "},
    {"tail x --unknown --from l", "latest "},
    {"put-records x --records a b --rec", "--records "},
    {"put-records x -- --rec", ""},
    {"list-streams ~", ""},
    {"help completion", "completion "},
    {"help cli", "client "},
};

/* Splits the line; the words stay valid until the next call. */
static size_t split(const char *line, const char *words[16])
{
    static char copy[256];
    size_t count = 0;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " ")) {
        char *nothing = strchr(word, '~');
        if (nothing)
            *nothing = '\0';
        words[count++] = word;
    }
    return count;
}

START_TEST(what_may_stand_next_is_offered)
{
    const char *words[16];
    size_t count = split(cases[_i].line, words);
    static struct ctl_completion completion;
    ctl_complete_look(words, count, &completion);
    char *text = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&text, &bytes);
    ctl_complete_print(&completion, to);
    fclose(to);
    char candidates[2048] = "";
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        line[strcspn(line, "\t")] = '\0';
        strcat(strcat(candidates, line), " ");
    }
    ck_assert_str_eq(candidates, cases[_i].candidates);
    free(text);
}
END_TEST

struct lookup_case {
    const char *line;
    const char *lookup; /* "" for none */
    const char *stream; /* that it is about; NULL: not known */
};

static const struct lookup_case lookups[] = {
    {"describe-stream ~", "<streams>", NULL},
    {"describe-stream --stream-name c", "<streams>", "c"},
    {"describe-stream --stream c", "<streams>", NULL},
    {"list-shards clicks --exclusive-start-shard-id=~", "<shards>", "clicks"},
    {"tail clicks --shard ~", "<shards>", "clicks"},
    {"get-shard-iterator --stream-name clicks --shard-id ~", "<shards>", "clicks"},
    {"put clicks ~", "<files>", "clicks"},
    {"put clicks --file ~", "<files>", "clicks"},
    {"list-streams --profile ~", "<profiles>", NULL},
    {"-p ~", "<profiles>", NULL},
    {"list-streams --query ~", "", NULL},
    {"put clicks x ~", "", "clicks"},
};

START_TEST(what_has_to_be_looked_up_is_said_with_its_stream)
{
    static const char *const all[] = {"<streams>", "<shards>", "<files>", "<profiles>"};
    const char *words[16];
    size_t count = split(lookups[_i].line, words);
    static struct ctl_completion completion;
    ctl_complete_look(words, count, &completion);
    for (size_t i = 0; i < KS_COUNT_OF(all); i++)
        ck_assert_int_eq(
            ctl_complete_wants(&completion, all[i]), strcmp(all[i], lookups[_i].lookup) == 0);
    const char *stream = completion.args.values[CTL_STREAM_NAME];
    if (lookups[_i].stream && strcmp(lookups[_i].lookup, "<streams>") != 0)
        ck_assert_str_eq(stream, lookups[_i].stream);
}
END_TEST

/* Every option of every command is offered, and every command by every name. */
START_TEST(nothing_of_the_table_is_left_out)
{
    for (size_t i = 0; ctl_verb_at(i); i++) {
        const struct ctl_verb *verb = ctl_verb_at(i);
        for (size_t j = 0; j == 0 || verb->also[j - 1]; j++) {
            char line[200];
            const char *words[16];
            snprintf(line, sizeof line, "%s --~", j == 0 ? verb->name : verb->also[j - 1]);
            static struct ctl_completion completion;
            ctl_complete_look(words, split(line, words), &completion);
            ck_assert_ptr_eq(completion.args.verb, verb);
            char *text = NULL;
            size_t bytes = 0;
            FILE *to = open_memstream(&text, &bytes);
            ctl_complete_print(&completion, to);
            fclose(to);
            for (const struct ctl_use *use = verb->uses; use->text; use++) {
                char option[80];
                snprintf(option, sizeof option, "--%s\t", ctl_option_name(use->option));
                ck_assert_msg(strstr(text, option), "%s %s", line, option);
            }
            free(text);
        }
    }
}
END_TEST

KS_SUITE("tools/ctl_complete")
{
    KS_TEST_LOOP(what_may_stand_next_is_offered, (int)KS_COUNT_OF(cases));
    KS_TEST_LOOP(what_has_to_be_looked_up_is_said_with_its_stream, (int)KS_COUNT_OF(lookups));
    KS_TEST(nothing_of_the_table_is_left_out);
}
