#include "base/mailbox.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum ks_status ks_mailbox_init(struct ks_mailbox *box, bool with_event_fd, struct ks_error *err)
{
    int event_fd = -1;
    if (with_event_fd) {
        event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (event_fd < 0)
            return ks_fail(err, KS_INTERNAL, errno, "cannot create an eventfd");
    }
    ks_mutex_init(&box->mu, KS_RANK_MAILBOX);
    ks_list_init(&box->mails);
    box->event_fd = event_fd;
    box->is_signalled = false;
    return KS_OK;
}

void ks_mailbox_fini(struct ks_mailbox *box)
{
    KS_ASSERT(ks_list_is_empty(&box->mails));
    if (box->event_fd >= 0)
        close(box->event_fd);
    box->event_fd = -1;
    ks_mutex_fini(&box->mu);
}

/* mu held. True: the caller must wake the owner, after the unlock. */
static bool mailbox_note(struct ks_mailbox *box)
{
    if (box->event_fd < 0 || box->is_signalled)
        return false;
    box->is_signalled = true;
    return true;
}

/*
 * Without the mutex, for which an owner that wakes on another core would only wait. The write
 * cannot block: the counter stays far below its maximum.
 */
static void mailbox_wake(const struct ks_mailbox *box)
{
    uint64_t one = 1;
    ssize_t written;
    do {
        written = write(box->event_fd, &one, sizeof one);
    } while (written < 0 && errno == EINTR);
    KS_ASSERT(written == sizeof one);
}

void ks_mailbox_send(struct ks_mailbox *box, struct ks_mail *mail)
{
    bool must_wake;
    {
        KS_LOCK_SCOPE(&box->mu);
        ks_list_push(&box->mails, &mail->link);
        must_wake = mailbox_note(box);
    }
    if (must_wake)
        mailbox_wake(box);
}

void ks_mailbox_send_all(struct ks_mailbox *box, struct ks_list *mails)
{
    if (ks_list_is_empty(mails))
        return;
    bool must_wake;
    {
        KS_LOCK_SCOPE(&box->mu);
        ks_list_splice(&box->mails, mails);
        must_wake = mailbox_note(box);
    }
    if (must_wake)
        mailbox_wake(box);
}

/*
 * Swallows the wake-up, then moves everything to taken, so that the next send wakes again. In this
 * order no mail is left without one. A sender may not have come to its write yet: then nothing is
 * swallowed, and the write wakes the owner once more for nothing.
 */
static void mailbox_take(struct ks_mailbox *box, struct ks_list *taken)
{
    uint64_t wakes;
    ssize_t got = 0;
    if (box->event_fd >= 0) {
        do {
            got = read(box->event_fd, &wakes, sizeof wakes);
        } while (got < 0 && errno == EINTR);
        KS_ASSERT(got == sizeof wakes || errno == EAGAIN);
    }
    KS_LOCK_SCOPE(&box->mu);
    ks_list_splice(taken, &box->mails);
    box->is_signalled = false;
}

size_t ks_mailbox_deliver(struct ks_mailbox *box)
{
    struct ks_list taken;
    ks_list_init(&taken);
    mailbox_take(box, &taken);
    size_t delivered = 0;
    struct ks_list *node;
    while ((node = ks_list_pop(&taken)) != NULL) {
        /* Unlinked by now: deliver may free the mail or send it again. */
        struct ks_mail *mail = KS_CONTAINER_OF(node, struct ks_mail, link);
        mail->deliver(mail);
        delivered++;
    }
    return delivered;
}
