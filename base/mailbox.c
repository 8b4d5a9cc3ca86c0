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

/*
 * Wakes the owner unless a wake-up is already under way. Called with the mutex held: an owner that
 * sees the mail and closes the mailbox cannot do so between our push and our write. The write
 * cannot block: the counter is 0 or 1.
 */
static void mailbox_signal(struct ks_mailbox *box)
{
    ks_mutex_assert_held(&box->mu);
    if (box->event_fd < 0 || box->is_signalled)
        return;
    box->is_signalled = true;
    uint64_t one = 1;
    ssize_t written;
    do {
        written = write(box->event_fd, &one, sizeof one);
    } while (written < 0 && errno == EINTR);
    KS_ASSERT(written == sizeof one);
}

void ks_mailbox_send(struct ks_mailbox *box, struct ks_mail *mail)
{
    KS_LOCK_SCOPE(&box->mu);
    ks_list_push(&box->mails, &mail->link);
    mailbox_signal(box);
}

void ks_mailbox_send_all(struct ks_mailbox *box, struct ks_list *mails)
{
    if (ks_list_is_empty(mails))
        return;
    KS_LOCK_SCOPE(&box->mu);
    ks_list_splice(&box->mails, mails);
    mailbox_signal(box);
}

/* Moves everything to taken and swallows the wake-up, so that the next send signals again. */
static void mailbox_take(struct ks_mailbox *box, struct ks_list *taken)
{
    KS_LOCK_SCOPE(&box->mu);
    ks_list_splice(taken, &box->mails);
    if (!box->is_signalled)
        return;
    uint64_t wakes;
    ssize_t got;
    do {
        got = read(box->event_fd, &wakes, sizeof wakes);
    } while (got < 0 && errno == EINTR);
    KS_ASSERT(got == sizeof wakes);
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
