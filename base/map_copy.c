#include "base/map_copy.h"

#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>

/* The smallest page there is: a fault may be reported at the start of the page that could not be
 * read. */
#define GUARD_PAGE_BYTES 4096

struct map_guard {
    sigjmp_buf back;
    uintptr_t first; /* of the guarded bytes, rounded down to a page */
    uintptr_t end;
};

static _Thread_local struct map_guard *volatile map_guard; /* NULL: this thread is not copying */
static volatile sig_atomic_t map_guard_is_installed;

static void map_guard_handle(int signal_number, siginfo_t *info, void *context)
{
    struct map_guard *guard = map_guard;
    uintptr_t address = (uintptr_t)info->si_addr;
    /* si_code is above 0 only if the kernel found a fault: one sent by kill(2) carries no address.
     */
    if (guard && info->si_code > 0 && address >= guard->first && address < guard->end) {
        /*
         * The jump skips the return that would unblock SIGBUS, and a second fault while it is
         * blocked kills the process. Restoring the mask here costs a system call per fault; in
         * sigsetjmp it would cost one per copy.
         */
        const ucontext_t *interrupted = context;
        pthread_sigmask(SIG_SETMASK, &interrupted->uc_sigmask, NULL);
        siglongjmp(guard->back, 1);
    }
    /* Takes effect when this handler returns: the signal is blocked until then. */
    (void)signal(signal_number, SIG_DFL);
    (void)raise(signal_number);
}

void ks_map_guard_install(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = map_guard_handle;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    KS_ASSERT(sigaction(SIGBUS, &action, NULL) == 0);
    map_guard_is_installed = 1;
}

bool ks_map_copy(void *to, const void *from_mapping, size_t bytes)
{
    KS_ASSERT(map_guard_is_installed);
    KS_ASSERT(!map_guard); /* not from a signal handler in the middle of another copy */
    if (bytes == 0)
        return true;
    uintptr_t first = (uintptr_t)from_mapping;
    struct map_guard guard = {
        .first = first & ~(uintptr_t)(GUARD_PAGE_BYTES - 1),
        .end = first + bytes,
    };
    if (sigsetjmp(guard.back, 0) != 0) {
        map_guard = NULL;
        return false;
    }
    map_guard = &guard;
    /* The handler reads the guard behind the compiler's back: it must be complete before the copy,
     * and stay until after. */
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    memcpy(to, from_mapping, bytes);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    map_guard = NULL;
    return true;
}
