/*
 * top: asks again and again, and shows it on the whole terminal, which is as it was afterwards
 * however it ends. Where there is no terminal, or with --once, one picture is the result.
 */
#include "base/clock.h"
#include "tools/ctl_native.h"
#include "tools/ctl_time.h"
#include "tools/ctl_top.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define EVERY_MS 1000u
#define EVERY_MS_MIN 100u
#define EVERY_MS_MAX 3600000u
#define SCREEN_BYTES_MAX (1u << 20)
#define ENTER "\033[?1049h\033[?25l" /* another screen, no cursor */
#define LEAVE "\033[?25h\033[?1049l"
#define HOME "\033[H"
#define CLEAR_LINE "\033[K"
#define CLEAR_BELOW "\033[J"

/* ---- the terminal ---- */

static struct termios saved;
static volatile sig_atomic_t is_entered;

/* Only what a signal handler may do. */
static void terminal_leave(void)
{
    if (!is_entered)
        return;
    is_entered = 0;
    KS_IGNORE(write(STDOUT_FILENO, LEAVE, sizeof LEAVE - 1), "there is nothing else to be done");
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &saved);
}

static void on_end(int signal_number)
{
    terminal_leave();
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void on_resize(int signal_number)
{
    (void)signal_number; /* the wait ends, and the next picture fits */
}

static enum kstream_status terminal_enter(struct kstream_error *err)
{
    struct termios raw;
    struct sigaction end = {.sa_handler = on_end, .sa_flags = (int)SA_RESETHAND};
    struct sigaction resize = {.sa_handler = on_resize};
    if (tcgetattr(STDIN_FILENO, &saved))
        return ctl_fail(err, KSTREAM_IO, "the terminal cannot be used: %s", strerror(errno));
    raw = saved;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    is_entered = 1;
    atexit(terminal_leave);
    sigaction(SIGTERM, &end, NULL);
    sigaction(SIGHUP, &end, NULL);
    sigaction(SIGQUIT, &end, NULL);
    sigaction(SIGABRT, &end, NULL);
    sigaction(SIGSEGV, &end, NULL);
    sigaction(SIGWINCH, &resize, NULL);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw);
    KS_IGNORE(write(STDOUT_FILENO, ENTER, sizeof ENTER - 1), "the first picture will show");
    return KSTREAM_OK;
}

/* ---- asking ---- */

static uint64_t now_ms(void)
{
    return ks_clock_mono_ns(&ks_clock_system) / 1000000;
}

struct top {
    struct ctl *ctl;
    struct ks_arena arenas[2]; /* of the last two answers, in turns */
    unsigned turn;
    const Kstream__DescribeLoadResponse *before;
    const Kstream__DescribeLoadResponse *now;
    enum ctl_top_order order;
    uint64_t every_ms;
    uint64_t due_ms; /* the next question */
    json_t *picture; /* of the last two answers */
    char notice[256];
};

/* The answers stay as they are when there is none. */
static enum kstream_status picture_make(struct top *top, struct kstream_error *err)
{
    json_t *picture = ctl_top_picture(top->before, top->now, top->order);
    if (!picture)
        return ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
    json_decref(top->picture);
    top->picture = picture;
    return KSTREAM_OK;
}

static enum kstream_status ask(struct top *top, struct kstream_error *err)
{
    Kstream__DescribeLoadRequest request = KSTREAM__DESCRIBE_LOAD_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    struct ks_arena *arena = &top->arenas[top->turn ^ 1]; /* of the one before the last */
    top->before = NULL;
    top->due_ms = now_ms() + top->every_ms;
    ks_arena_reset(arena);
    enum kstream_status st =
        ctl_call(top->ctl, KS_OP_DESCRIBE_LOAD, &request.base, arena, &message, err);
    if (st)
        return st;
    top->turn ^= 1;
    top->before = top->now;
    top->now = (const void *)message;
    return picture_make(top, err);
}

/* False: a key says that it is enough. */
static bool obey(struct top *top, char key)
{
    switch (key) {
    case 'q':
    case 'Q':
    case 3:
        return false;
    case 'i':
        top->order = CTL_TOP_BY_IN;
        break;
    case 'o':
        top->order = CTL_TOP_BY_OUT;
        break;
    case 'b':
        top->order = CTL_TOP_BY_LAG;
        break;
    case 'n':
        top->order = CTL_TOP_BY_NAME;
        break;
    default:
        break;
    }
    return true;
}

enum waited { WAITED_DUE, WAITED_CHANGE, WAITED_END };

/* Until the next question is due, a key was pressed, or the terminal has another size. */
static enum waited wait_a_while(struct top *top)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    char keys[16];
    uint64_t now = now_ms();
    int got = now >= top->due_ms ? 0 : poll(&input, 1, (int)(top->due_ms - now));
    if (ctl_is_interrupted())
        return WAITED_END;
    if (got <= 0)
        return got == 0 ? WAITED_DUE : WAITED_CHANGE;
    ssize_t n = read(STDIN_FILENO, keys, sizeof keys);
    for (ssize_t i = 0; i < n; i++)
        if (!obey(top, keys[i]))
            return WAITED_END;
    return n <= 0 ? WAITED_END : WAITED_CHANGE; /* 0: the terminal has gone */
}

/* ---- the screen ---- */

static struct ctl_top_screen screen_of(const struct top *top)
{
    struct winsize size = {.ws_row = 24, .ws_col = 80};
    struct winsize found;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &found) == 0 && found.ws_row > 0 && found.ws_col > 0)
        size = found;
    /* The last line says which keys there are. */
    return (struct ctl_top_screen){.rows = size.ws_row > 1u ? size.ws_row - 1u : 1u,
        .columns = size.ws_col,
        .has_color = top->ctl->output.has_color,
        .title = top->ctl->endpoint,
        .notice = top->notice};
}

/* Each line ends by clearing what was behind it. False: the terminal takes nothing. */
static bool put_screen(const struct ks_buf *text, unsigned columns)
{
    static const char keys[] = "q quit   order by: i in  o out  b behind  n name";
    bool is_fine = fwrite(HOME, 1, sizeof HOME - 1, stdout) > 0;
    for (size_t i = 0; i < text->bytes && is_fine; i++) {
        if (text->data[i] == '\n')
            fputs(CLEAR_LINE "\r", stdout);
        is_fine = putchar(text->data[i]) != EOF;
    }
    printf("%.*s" CLEAR_LINE CLEAR_BELOW, (int)KS_MIN(columns, (unsigned)sizeof keys - 1), keys);
    return fflush(stdout) == 0 && is_fine;
}

static enum kstream_status draw(struct top *top, struct kstream_error *err)
{
    KS_CLEANUP(ks_buf_fini) struct ks_buf text;
    struct ctl_top_screen screen = screen_of(top);
    ks_buf_init(&text, SCREEN_BYTES_MAX);
    if (!ctl_top_draw(top->picture, &screen, &text))
        return ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
    if (!put_screen(&text, screen.columns))
        return ctl_fail(err, KSTREAM_IO, "the terminal has gone");
    return KSTREAM_OK;
}

/* A broker that restarts is waited for: the last picture stays, with a word about it. */
static enum kstream_status ask_again(struct top *top, struct kstream_error *err)
{
    struct kstream_error trouble = KSTREAM_ERROR_INIT;
    top->notice[0] = '\0';
    if (ask(top, &trouble) == KSTREAM_NO_MEMORY)
        return ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
    if (trouble.status)
        snprintf(top->notice, sizeof top->notice, "%.200s", trouble.text);
    return KSTREAM_OK;
}

static enum kstream_status show(struct top *top, struct kstream_error *err)
{
    enum kstream_status st = ask(top, err);
    if (!st)
        st = terminal_enter(err);
    while (!st) {
        st = draw(top, err);
        enum waited waited = st ? WAITED_END : wait_a_while(top);
        if (waited == WAITED_END)
            break;
        if (waited == WAITED_DUE)
            st = ask_again(top, err);
        else if (top->before) /* the order may be another */
            st = picture_make(top, err);
    }
    terminal_leave();
    return st;
}

static enum kstream_status show_once(struct top *top, struct kstream_error *err)
{
    struct timespec pause = {.tv_sec = (time_t)(top->every_ms / 1000),
        .tv_nsec = (long)(top->every_ms % 1000) * 1000000};
    enum kstream_status st = ask(top, err);
    if (!st)
        nanosleep(&pause, NULL);
    if (!st)
        st = ask(top, err);
    if (st)
        return st;
    top->ctl->list_member = "streams";
    top->ctl->result = json_incref(top->picture);
    return KSTREAM_OK;
}

enum kstream_status ctl_run_top(struct ctl *ctl, struct kstream_error *err)
{
    struct top top = {.ctl = ctl, .every_ms = EVERY_MS};
    struct ks_error inner = KS_ERROR_INIT;
    const char *every = ctl_text(ctl, CTL_INTERVAL);
    if (every && (ctl_duration_from_text(every, &top.every_ms, &inner) ||
                     top.every_ms < EVERY_MS_MIN || top.every_ms > EVERY_MS_MAX))
        return ctl_fail(err, KSTREAM_USAGE, "'--interval %.40s': 100ms to 1h is needed", every);
    bool is_screen = !ctl_has(ctl, CTL_ONCE) && ctl_wants_prose(ctl) && isatty(STDOUT_FILENO) &&
                     isatty(STDIN_FILENO);
    ks_arena_init(&top.arenas[0], CTL_ANSWER_BYTES_MAX);
    ks_arena_init(&top.arenas[1], CTL_ANSWER_BYTES_MAX);
    if (is_screen)
        ctl_interrupt_catch();
    enum kstream_status st = is_screen ? show(&top, err) : show_once(&top, err);
    json_decref(top.picture);
    ks_arena_fini(&top.arenas[0]);
    ks_arena_fini(&top.arenas[1]);
    return st;
}
