"""What the tests of kstreamctl share: running it on a broker of its own."""
import json, os, pty
from kstream_test import *

KSTREAMCTL = os.environ.get("KSTREAMCTL", "build/release/tools/kstreamctl")


class Ctl:
    """Runs kstreamctl on one broker; a fixed time zone, so that times can be compared."""

    def __init__(self, endpoint):
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("KSTREAM_")}
        self.environment.update(KSTREAM_ENDPOINT=endpoint, TZ="UTC")

    def start(self, *words, **named):
        named = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **named}
        return subprocess.Popen([KSTREAMCTL, *words], env=self.environment, **named)

    def run(self, *words, data=b""):
        """(exit code, stdout, stderr)"""
        process = self.start(*words, stdin=subprocess.PIPE)
        out, err = process.communicate(data, timeout=DEADLINE_S)
        return process.returncode, out, err.decode()

    def __call__(self, *words, data=b""):
        """stdout of a run that must succeed and say nothing on stderr."""
        code, out, err = self.run(*words, data=data)
        assert code == 0 and err == "", (words, code, out, err)
        return out.decode()

    def json(self, *words, data=b""):
        return json.loads(self(*words, data=data))

    def fails(self, code, text, *words, data=b""):
        got, out, err = self.run(*words, data=data)
        assert got == code and text in err, (words, got, out, err)
        return err


def begin(scratch):
    broker = Broker(scratch)
    return broker, Ctl(broker.addresses["native"])


def stopped_directory(scratch):
    """As far as restore-catalog looks: the lock, and a copy of the catalog."""
    path = os.path.join(scratch, "stopped")
    copy = os.path.join(path, "catalog.copies", "2026-01-02T03-04-05Z")
    os.makedirs(copy)
    open(os.path.join(path, "lock"), "w").close()
    with open(os.path.join(copy, "data.mdb"), "wb") as file:
        file.write(bytes(16) + struct.pack("<I", 0xBEEFC0DE) + bytes(8172))
    return path


def iterator(ctl, shard=0, stream="clicks"):
    return ctl("get-shard-iterator", stream, "--shard-id", str(shard), "--shard-iterator-type", "TRIM_HORIZON",
               "--query", "ShardIterator", "-o", "text").strip()


def commands():
    """The command table, as kstreamctl prints it."""
    return json.loads(subprocess.check_output([KSTREAMCTL, "help", "-o", "json"]))


def on_terminal(ctl, *words, typed=b""):
    """(exit code, everything it showed) of a run whose input, output and errors are a terminal of 24x100."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.clear()
        os.environ.update(ctl.environment)
        os.execv(KSTREAMCTL, [KSTREAMCTL, *words])
    import fcntl, termios
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    os.write(terminal, typed)
    shown = b""
    while True:
        try:
            more = os.read(terminal, 65536)
        except OSError:
            break
        if not more:
            break
        shown += more
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode().replace("\r\n", "\n")
