#include "tests/unit/ks_check.h"
#include "tools/ctl_color.h"

struct color_case {
    const char *mode;
    const char *no_color;
    const char *force;
    const char *terminal;
    bool is_terminal;
    bool is_wanted;
};

static const struct color_case cases[] = {
    {NULL, NULL, NULL, "xterm", true, true},
    {"auto", NULL, NULL, "xterm", true, true},
    {"auto", NULL, NULL, "xterm", false, false},
    {"auto", NULL, NULL, "dumb", true, false},
    {"auto", NULL, NULL, NULL, true, false},
    {"auto", "1", NULL, "xterm", true, false},
    {"auto", "", NULL, "xterm", true, true},
    {"auto", NULL, "1", "xterm", false, true},
    {"auto", NULL, "0", "xterm", false, false},
    {"auto", "1", "1", "xterm", true, false},
    {"always", "1", NULL, "dumb", false, true},
    {"never", NULL, "1", "xterm", true, false},
};

static void set(const char *name, const char *value)
{
    if (value)
        ck_assert_int_eq(setenv(name, value, 1), 0);
    else
        ck_assert_int_eq(unsetenv(name), 0);
}

START_TEST(the_option_wins_over_the_environment_and_that_over_the_terminal)
{
    const struct color_case *c = &cases[_i];
    set("NO_COLOR", c->no_color);
    set("CLICOLOR_FORCE", c->force);
    set("TERM", c->terminal);
    ck_assert_int_eq(ctl_color_is_wanted(c->mode, c->is_terminal), c->is_wanted);
}
END_TEST

KS_SUITE("tools/ctl_color")
{
    KS_TEST_LOOP(
        the_option_wins_over_the_environment_and_that_over_the_terminal, (int)KS_COUNT_OF(cases));
}
