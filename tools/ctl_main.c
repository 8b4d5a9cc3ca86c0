/* kstreamctl: reads the command line, runs one verb, prints its result or its error. */
#include "base/alloc.h"
#include "tools/ctl.h"
#include "tools/ctl_help.h"
#include "tools/ctl_time.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define EXIT_INTERRUPTED 130
#define EXIT_BAD_NEWS 3

static const ctl_verb_fn verb_functions[] = {
#define CTL_VERB(id, name, summary) [CTL_VERB_##id] = ctl_run_##id,
#include "tools/ctl_commands.def"
};

/* ---- file descriptors, signals ---- */

/*
 * A standard stream that the caller has closed would become the next file or socket opened, and
 * `put` would read its own connection. /dev/null in the wrong direction takes its place: reading or
 * writing there fails as it should.
 */
static void std_fds_fill(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            KS_IGNORE(open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY),
                "it takes the lowest free number, which is fd");
}

static volatile sig_atomic_t interrupts;
static volatile sig_atomic_t is_catching;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    if (!is_catching || ++interrupts > 1)
        _exit(EXIT_INTERRUPTED);
}

void ctl_interrupt_catch(void)
{
    is_catching = 1;
}

bool ctl_is_interrupted(void)
{
    return interrupts > 0;
}

static void signals_install(void)
{
    struct sigaction action = {.sa_handler = on_interrupt};
    sigaction(SIGINT, &action, NULL);
    /* A reader that went away is an error of write(), which ends the verb quietly. */
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
}

/* ---- running ---- */

/* Where only the list is shown, what stands around it is not. */
static void note_next_page(const struct ctl *ctl)
{
    const char *token = json_string_value(json_object_get(ctl->result, "NextToken"));
    if (token && ctl->list_member && !ctl->is_quiet && ctl_output_shows_list(&ctl->output))
        fprintf(stderr, "There is more: --starting-token %s\n", token);
}

static int run_verb(struct ctl *ctl)
{
    struct kstream_error err = KSTREAM_ERROR_INIT;
    enum kstream_status st = KSTREAM_OK;
    if (!ctl_has(ctl, CTL_CLI_SKELETON)) /* which ctl_setup has answered */
        st = verb_functions[ctl->args.verb->id](ctl, &err);
    if (st)
        err.status = st;
    int exit_code = 0;
    if (ctl->result) {
        struct ks_error print_err = KS_ERROR_INIT;
        enum ks_status print_st =
            ctl_output_print(&ctl->output, ctl->result, ctl->list_member, stdout, &print_err);
        if (print_st && !st)
            st = ctl_fail_from(&err, print_st, &print_err);
        if (print_st == KS_INVALID)
            ctl->hint = "only the query failed: what the command does is done";
        if (!print_st)
            note_next_page(ctl);
    }
    /* head(1) has read enough: that is no failure. */
    if (st == KSTREAM_IO && err.system_error == EPIPE)
        return 0;
    if (st)
        exit_code = ctl_report(ctl, &err);
    else if (ctl->has_bad_news)
        exit_code = EXIT_BAD_NEWS;
    return ctl_is_interrupted() ? EXIT_INTERRUPTED : exit_code;
}

/* What --help asks about. */
static void print_help(const struct ctl_args *args)
{
    if (args->verb)
        ctl_help_verb(stdout, args->verb);
    else if (!args->noun || !ctl_help_topic(stdout, args->noun))
        ctl_help_overview(stdout);
}

int main(int argc, char **argv)
{
    std_fds_fill();
    signals_install();
    struct ctl ctl = {.client = NULL};
    struct ks_error usage = KS_ERROR_INIT;
    enum ks_status st = ctl_args_parse(argc, argv, &ctl.args, &usage);
    if (!st && ctl_args_has(&ctl.args, CTL_VERSION)) {
        printf("kstreamctl %s\n", kstream_version());
        return 0;
    }
    if (!st && ctl_args_has(&ctl.args, CTL_HELP)) {
        print_help(&ctl.args);
        return 0;
    }
    /* After an error it still says in which form that is to be printed. */
    enum ks_status set_up = ctl_setup(&ctl, st ? NULL : &usage);
    int exit_code = 0;
    if (st || set_up) {
        struct kstream_error err = KSTREAM_ERROR_INIT;
        KS_IGNORE(ctl_fail_from(&err, st ? st : set_up, &usage), "reported below");
        exit_code = ctl_report(&ctl, &err);
    } else {
        exit_code = run_verb(&ctl);
    }
    json_decref(ctl.result);
    jmes_free(ctl.query);
    json_decref(ctl.input);
    json_decref(ctl.input_texts);
    kstream_close(ctl.client);
    ctl_settings_fini(&ctl.settings);
    return exit_code;
}
