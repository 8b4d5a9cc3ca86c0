#include "base/mailbox.h"
#include "tests/unit/ks_check.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

struct letter {
    struct ks_mail mail;
    struct ks_mailbox *again; /* sends itself there once more when delivered */
    unsigned sender;
    unsigned number;
};

static unsigned received[8]; /* the next number expected of each sender */
static unsigned received_all;

static void letter_deliver(struct ks_mail *mail)
{
    struct letter *letter = KS_CONTAINER_OF(mail, struct letter, mail);
    ck_assert(!ks_list_is_linked(&mail->link));
    ck_assert_uint_eq(letter->number, received[letter->sender]);
    received[letter->sender]++;
    received_all++;
    if (letter->again) {
        struct ks_mailbox *box = letter->again;
        letter->again = NULL;
        letter->number++;
        ks_mailbox_send(box, mail);
    }
}

static bool is_woken(const struct ks_mailbox *box, int timeout_ms)
{
    struct pollfd watched = {.fd = box->event_fd, .events = POLLIN};
    int ready;
    do {
        ready = poll(&watched, 1, timeout_ms);
    } while (ready < 0 && errno == EINTR);
    return ready == 1;
}

/* How often the owner was woken since it last looked: the counter of the eventfd, without reading
 * it empty. */
static int wake_ups(const struct ks_mailbox *box)
{
    char path[64];
    char line[128];
    int count = -1;
    (void)snprintf(path, sizeof path, "/proc/self/fdinfo/%d", box->event_fd);
    FILE *info = fopen(path, "r");
    ck_assert_ptr_nonnull(info);
    while (fgets(line, sizeof line, info)) {
        if (strncmp(line, "eventfd-count:", 14) == 0)
            count = (int)strtol(line + 14, NULL, 16);
    }
    (void)fclose(info);
    return count;
}

static void letters_init(struct letter *letters, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        letters[i] = (struct letter){.mail = {.deliver = letter_deliver}, .number = i};
}

START_TEST(mail_arrives_in_order_with_one_wake_up)
{
    struct ks_mailbox box;
    struct letter letters[10];
    ck_assert_int_eq(ks_mailbox_init(&box, true, NULL), KS_OK);
    letters_init(letters, 10);
    ck_assert(!is_woken(&box, 0));
    for (int round = 0; round < 3; round++) {
        received[0] = 0;
        for (size_t i = 0; i < 10; i++)
            ks_mailbox_send(&box, &letters[i].mail);
        ck_assert(is_woken(&box, 0));
        ck_assert_int_eq(wake_ups(&box), 1);
        ck_assert_uint_eq(received[0], 0);
        ck_assert_uint_eq(ks_mailbox_deliver(&box), 10);
        ck_assert_uint_eq(received[0], 10);
        ck_assert(!is_woken(&box, 0));
        ck_assert_uint_eq(ks_mailbox_deliver(&box), 0);
    }
    ks_mailbox_fini(&box);
}
END_TEST

START_TEST(a_list_is_sent_as_a_whole)
{
    struct ks_mailbox box;
    struct letter letters[5];
    struct ks_list list;
    ck_assert_int_eq(ks_mailbox_init(&box, true, NULL), KS_OK);
    ks_list_init(&list);
    ks_mailbox_send_all(&box, &list);
    ck_assert(!is_woken(&box, 0));
    letters_init(letters, 5);
    ks_mailbox_send(&box, &letters[0].mail);
    for (size_t i = 1; i < 5; i++)
        ks_list_push(&list, &letters[i].mail.link);
    ks_mailbox_send_all(&box, &list);
    ck_assert(ks_list_is_empty(&list));
    ck_assert_uint_eq(ks_mailbox_deliver(&box), 5);
    ks_mailbox_fini(&box);
}
END_TEST

START_TEST(mail_sent_while_delivering_waits_for_the_next_turn)
{
    struct ks_mailbox box;
    struct letter letter;
    ck_assert_int_eq(ks_mailbox_init(&box, true, NULL), KS_OK);
    letters_init(&letter, 1);
    letter.again = &box;
    ks_mailbox_send(&box, &letter.mail);
    ck_assert_uint_eq(ks_mailbox_deliver(&box), 1);
    ck_assert(is_woken(&box, 0));
    ck_assert_uint_eq(ks_mailbox_deliver(&box), 1);
    ck_assert_uint_eq(received[0], 2);
    ks_mailbox_fini(&box);
}
END_TEST

START_TEST(a_mailbox_without_descriptor_is_polled)
{
    struct ks_mailbox box;
    struct letter letter;
    ck_assert_int_eq(ks_mailbox_init(&box, false, NULL), KS_OK);
    ck_assert_int_eq(box.event_fd, -1);
    letters_init(&letter, 1);
    ks_mailbox_send(&box, &letter.mail);
    ck_assert_uint_eq(ks_mailbox_deliver(&box), 1);
    ks_mailbox_fini(&box);
}
END_TEST

START_TEST(no_descriptor_left_is_an_error)
{
    struct rlimit ordinary;
    struct ks_mailbox box;
    struct ks_error err = KS_ERROR_INIT;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &ordinary), 0);
    struct rlimit none = {.rlim_cur = 0, .rlim_max = ordinary.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    enum ks_status status = ks_mailbox_init(&box, true, &err);
    /* A sanitizer opens files when the process ends. */
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &ordinary), 0);
    ck_assert_int_eq(status, KS_INTERNAL);
    ck_assert_int_eq(err.errnum, EMFILE);
}
END_TEST

#define SENDERS 4
#define LETTERS_EACH 2000

struct sender {
    struct ks_mailbox *box;
    struct letter *letters;
};

static void *send_letters(void *argument)
{
    struct sender *sender = argument;
    for (unsigned i = 0; i < LETTERS_EACH; i++)
        ks_mailbox_send(sender->box, &sender->letters[i].mail);
    return NULL;
}

/* The owner sleeps on the descriptor: a lost wake-up would leave it there until the test's time is
 * over. */
START_TEST(nothing_is_lost_between_threads)
{
    static struct letter letters[SENDERS][LETTERS_EACH];
    struct ks_mailbox box;
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];
    ck_assert_int_eq(ks_mailbox_init(&box, true, NULL), KS_OK);
    for (unsigned i = 0; i < SENDERS; i++) {
        letters_init(letters[i], LETTERS_EACH);
        for (unsigned j = 0; j < LETTERS_EACH; j++)
            letters[i][j].sender = i;
        senders[i] = (struct sender){.box = &box, .letters = letters[i]};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, send_letters, &senders[i]), 0);
    }
    while (received_all < SENDERS * LETTERS_EACH) {
        ck_assert(is_woken(&box, 30000));
        ks_mailbox_deliver(&box);
    }
    for (unsigned i = 0; i < SENDERS; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_uint_eq(received[i], LETTERS_EACH);
    }
    ks_mailbox_fini(&box);
}
END_TEST

START_TEST(ending_a_mailbox_with_mail_in_it_aborts)
{
    struct ks_mailbox box;
    struct letter letter;
    KS_IGNORE(ks_mailbox_init(&box, false, NULL), "cannot fail without descriptor");
    letters_init(&letter, 1);
    ks_mailbox_send(&box, &letter.mail);
    ks_mailbox_fini(&box);
}
END_TEST

START_TEST(sending_a_mail_that_is_under_way_aborts)
{
    struct ks_mailbox box;
    struct letter letter;
    KS_IGNORE(ks_mailbox_init(&box, false, NULL), "cannot fail without descriptor");
    letters_init(&letter, 1);
    ks_mailbox_send(&box, &letter.mail);
    ks_mailbox_send(&box, &letter.mail);
}
END_TEST

KS_SUITE("base/mailbox")
{
    KS_TEST(mail_arrives_in_order_with_one_wake_up);
    KS_TEST(a_list_is_sent_as_a_whole);
    KS_TEST(mail_sent_while_delivering_waits_for_the_next_turn);
    KS_TEST(a_mailbox_without_descriptor_is_polled);
    KS_TEST(no_descriptor_left_is_an_error);
    KS_TEST(nothing_is_lost_between_threads);
    KS_TEST_ABORTS(ending_a_mailbox_with_mail_in_it_aborts);
    KS_TEST_ABORTS(sending_a_mail_that_is_under_way_aborts);
}
