"""Stopping one thread of a process, and no other."""
import ctypes, os
from kstream_test import Skip, wait_until

PTRACE_ATTACH, PTRACE_DETACH, WALL = 16, 17, 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def thread_of(process, name):
    for tid in os.listdir("/proc/%d/task" % process.pid):
        with open("/proc/%d/task/%s/comm" % (process.pid, tid)) as file:
            if file.read().strip() == name:
                return int(tid)
    raise AssertionError("no thread " + name)


def hold_thread(tid):
    """Everything of ptrace must come from the thread that attached: this one."""
    if LIBC.ptrace(PTRACE_ATTACH, tid, None, None) != 0:
        raise Skip("needs ptrace: " + os.strerror(ctypes.get_errno()))
    os.waitpid(tid, WALL)


def end_of_held(broker, tid):
    """The exit code of a broker that dies with a held thread: the kernel tells us of that one first."""
    wait_until(lambda: os.waitpid(tid, WALL | os.WNOHANG)[0] == tid, "the held thread has died")
    return broker.wait_end()


def let_thread_go(tid):
    assert LIBC.ptrace(PTRACE_DETACH, tid, None, None) == 0, os.strerror(ctypes.get_errno())
