/*
 * Completion in shells: the scripts that `completion` prints ask the hidden `__complete` each time,
 * so that they know every command and option of the kstreamctl they call, and the names of streams
 * and shards from the broker, if it says them within LOOKUP_MS.
 */
#include "base/alloc.h"
#include "tools/ctl.h"
#include "tools/ctl_complete.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#define LOOKUP_MS 300
#define NAMES_MAX 1000u

/* ---- completion SHELL ---- */

static const char bash_script[] =
    "# Completion of kstreamctl in bash. Made by: kstreamctl completion bash\n"
    "_kstreamctl() {\n"
    "    # bash takes words apart at = and : as well; what no blank parts belongs together.\n"
    "    local rest=$COMP_LINE words=() stripped i\n"
    "    for ((i = 0; i <= COMP_CWORD; i++)); do\n"
    "        stripped=${rest#\"${rest%%[![:space:]]*}\"}\n"
    "        if ((i > 0)) && [ \"$rest\" = \"$stripped\" ]; then\n"
    "            words[${#words[@]} - 1]+=${COMP_WORDS[i]}\n"
    "        else\n"
    "            words+=(\"${COMP_WORDS[i]}\")\n"
    "        fi\n"
    "        rest=${stripped#\"${COMP_WORDS[i]}\"}\n"
    "    done\n"
    "    local current=${words[${#words[@]} - 1]}\n"
    "    local IFS=$'\\n'\n"
    "    COMPREPLY=($(\"$1\" __complete -- \"${words[@]:1}\" 2>/dev/null | cut -f 1))\n"
    "    if [ \"${COMPREPLY[0]}\" = :files ]; then\n"
    "        COMPREPLY=()\n"
    "        compopt -o default\n"
    "        return\n"
    "    fi\n"
    "    # The part up to the last = or : stays on the line.\n"
    "    local kept=${current%\"${current##*[=:]}\"}\n"
    "    COMPREPLY=(\"${COMPREPLY[@]#\"$kept\"}\")\n"
    "}\n"
    "complete -F _kstreamctl kstreamctl\n";

static const char zsh_script[] =
    "#compdef kstreamctl\n"
    "# Completion of kstreamctl in zsh. Made by: kstreamctl completion zsh\n"
    "_kstreamctl() {\n"
    "    local -a lines candidates\n"
    "    local line\n"
    "    lines=(\"${(@f)$(\"${words[1]}\" __complete -- \"${(@Q)words[2,CURRENT]}\" "
    "2>/dev/null)}\")\n"
    "    if [[ ${lines[1]} == :files ]]; then\n"
    "        _files\n"
    "        return\n"
    "    fi\n"
    "    for line in $lines; do\n"
    "        # A colon parts a candidate from its description.\n"
    "        candidates+=(\"${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}\")\n"
    "    done\n"
    "    _describe -V kstreamctl candidates\n"
    "}\n"
    "if [[ ${funcstack[1]} == _kstreamctl ]]; then\n"
    "    _kstreamctl \"$@\"\n"
    "else\n"
    "    compdef _kstreamctl kstreamctl\n"
    "fi\n";

static const char fish_script[] =
    "# Completion of kstreamctl in fish. Made by: kstreamctl completion fish\n"
    "function __kstreamctl_complete\n"
    "    set -l words (commandline -opc) (commandline -ct)\n"
    "    set -l lines (command $words[1] __complete -- $words[2..-1] 2>/dev/null)\n"
    "    if test \"$lines[1]\" = :files\n"
    "        __fish_complete_path (commandline -ct)\n"
    "    else\n"
    "        printf '%s\\n' $lines\n"
    "    end\n"
    "end\n"
    "complete -c kstreamctl -f -a '(__kstreamctl_complete)'\n";

enum kstream_status ctl_run_completion(struct ctl *ctl, struct kstream_error *err)
{
    const char *shell = ctl_text(ctl, CTL_SHELL);
    const char *script = strcmp(shell, "bash") == 0  ? bash_script
                         : strcmp(shell, "zsh") == 0 ? zsh_script
                                                     : fish_script;
    if (ctl_wants_prose(ctl)) {
        fputs(script, stdout);
        return KSTREAM_OK;
    }
    ctl->result = json_pack("{s:s, s:s}", "shell", shell, "script", script);
    return ctl->result ? KSTREAM_OK : ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
}

/* ---- __complete ---- */

/* A lookup that takes too long: what has been found is on its way already. */
static void on_alarm(int signal_number)
{
    (void)signal_number;
    _exit(0);
}

static void limit_time(void)
{
    struct sigaction action = {.sa_handler = on_alarm};
    struct itimerval timer = {
        .it_value = {.tv_sec = LOOKUP_MS / 1000, .tv_usec = LOOKUP_MS % 1000 * 1000L}};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
}

static void offer_streams(const struct ctl_completion *completion, struct ctl *ctl)
{
    char last[160] = "";
    struct kstream_error err = KSTREAM_ERROR_INIT;
    bool has_more = ctl_connect(ctl, &err) == KSTREAM_OK;
    for (size_t seen = 0; has_more && seen < NAMES_MAX;) {
        struct kstream_list_streams_options options = KSTREAM_LIST_STREAMS_OPTIONS_INIT;
        options.exclusive_start_stream_name = last[0] ? last : NULL;
        struct kstream_stream_list *page = NULL;
        if (kstream_list_streams(ctl->client, &options, &page, &err))
            return;
        for (size_t i = 0; i < page->stream_count; i++) {
            ctl_complete_offer(
                completion, stdout, page->streams[i].stream_name, page->streams[i].stream_status);
            snprintf(last, sizeof last, "%s", page->streams[i].stream_name);
        }
        fflush(stdout);
        seen += page->stream_count;
        has_more = page->has_more && page->stream_count > 0;
        kstream_stream_list_free(page);
    }
}

static bool offer_shard(const struct kstream_shard *shard, void *arg)
{
    ctl_complete_offer(
        arg, stdout, shard->shard_id, shard->ending_sequence_number ? "closed" : "open");
    return fflush(stdout) == 0;
}

static void offer_profile(const char *name, void *arg)
{
    ctl_complete_offer(arg, stdout, name, "");
}

/* What the table does not know. Errors mean that there is nothing to offer. */
static void look_up(struct ctl_completion *completion)
{
    struct ctl ctl = {.args = completion->args, .timeout_ms = LOOKUP_MS};
    /* Only the words that say where the broker is count. */
    for (int i = 0; i < CTL_OPTION_COUNT; i++)
        if (i != CTL_ENDPOINT && i != CTL_PROFILE && i != CTL_CONFIG && i != CTL_STREAM_NAME &&
            i != CTL_STREAM_ARN)
            ctl.args.values[i] = NULL;
    ctl.args.verb = NULL;
    struct kstream_error err = KSTREAM_ERROR_INIT;
    if (ctl_complete_wants(completion, "<profiles>")) {
        KS_AUTO_FREE char *path = NULL;
        struct ctl_settings_sources sources;
        ctl_setup_sources(&ctl, &path, &sources);
        KS_IGNORE(ctl_settings_profiles(&sources, offer_profile, completion), "none to offer");
        return;
    }
    limit_time();
    if (ctl_setup(&ctl, NULL) == KS_OK) {
        ctl.timeout_ms = LOOKUP_MS;
        if (ctl_complete_wants(completion, "<streams>"))
            offer_streams(completion, &ctl);
        else if (ctl.stream && ctl_connect(&ctl, &err) == KSTREAM_OK)
            KS_IGNORE(ctl_each_shard(&ctl, offer_shard, completion, &err), "none to offer");
    }
    kstream_close(ctl.client);
    ctl_settings_fini(&ctl.settings);
}

enum kstream_status ctl_run_complete(struct ctl *ctl, struct kstream_error *err)
{
    (void)err;
    const char *words[CTL_ITEMS_MAX + 1];
    size_t count = 0;
    while (count < CTL_ITEMS_MAX && ctl_args_item(&ctl->args, CTL_WORDS, count)) {
        words[count] = ctl_args_item(&ctl->args, CTL_WORDS, count);
        count++;
    }
    if (count == 0)
        words[count++] = "";
    static struct ctl_completion completion;
    ctl_complete_look(words, count, &completion);
    ctl_complete_print(&completion, stdout);
    fflush(stdout);
    if (ctl_complete_wants(&completion, "<files>"))
        puts(":files");
    else if (ctl_complete_wants(&completion, "<streams>") ||
             ctl_complete_wants(&completion, "<shards>") ||
             ctl_complete_wants(&completion, "<profiles>"))
        look_up(&completion);
    return KSTREAM_OK;
}
