"""kstreamctl top: on a terminal of its own, through its keys, sizes and ends, and as one picture without a terminal."""
import fcntl, pty, re, select, termios, threading
from ctl_test import *


class Screen:
    """A terminal on which top runs; what it shows is kept as lines."""

    def __init__(self, ctl, *words, rows=24, columns=120):
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.environ.clear()
            os.environ.update(ctl.environment)
            termios.tcsetwinsize(0, (rows, columns)) if hasattr(termios, "tcsetwinsize") else fcntl.ioctl(
                0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.execv(KSTREAMCTL, [KSTREAMCTL, "top", *words])
        self.raw = self.all = b""  # since the last forget(); ever

    def resize(self, rows, columns):
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.kill(self.pid, signal.SIGWINCH)

    def read(self):
        """False: it has ended."""
        ready, _, _ = select.select([self.terminal], [], [], 0.05)
        if not ready:
            return True
        try:
            more = os.read(self.terminal, 65536)
        except OSError:
            return False
        self.raw += more
        self.all += more
        return bool(more)

    def pictures(self):
        """Each picture as its lines, the last one perhaps unfinished."""
        shown = []
        for picture in self.raw.decode().split("\x1b[H")[1:]:
            plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", picture)
            shown.append([line.rstrip("\r") for line in plain.split("\n")])
        return shown

    def wait(self, condition, what):
        def seen():
            self.read()
            return any(condition(picture) for picture in self.pictures()[:-1])
        wait_until(seen, what)

    def forget(self):
        self.raw = self.raw[self.raw.rindex(b"\x1b[H"):]

    def key(self, key):
        os.write(self.terminal, key.encode())

    def settings(self):
        return termios.tcgetattr(self.terminal)

    def end(self):
        """The exit status, with everything that was shown until then."""
        while self.read():
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                while self.read() and select.select([self.terminal], [], [], 0)[0]:
                    pass
                self.close()
                return status
        status = os.waitpid(self.pid, 0)[1]
        self.close()
        return status

    def close(self):
        os.close(self.terminal)

    def check_restored(self):
        """The other screen and the hidden cursor were undone, last of all."""
        assert self.all.count(b"\x1b[?1049h") == self.all.count(b"\x1b[?1049l") == 1, self.all[-200:]
        assert self.all.rindex(b"\x1b[?25h") > self.all.rindex(b"\x1b[?25l")
        assert self.all.rindex(b"\x1b[?1049l") > self.all.rindex(b"\x1b[H")


def prepare(scratch):
    broker, ctl = begin(scratch)
    client = broker.client()
    client.create_stream("busy", 2)
    client.create_stream("calm")
    client.put("busy", [("k%d" % i, b"x" * 100) for i in range(300)])
    client.put("calm", [("k", b"x")])
    return broker, ctl, client


def row_of(picture, name):
    return next((line for line in picture if line.startswith(name + " ")), None)


def test_a_picture_without_a_terminal(scratch):
    broker, ctl, client = prepare(scratch)
    stop = threading.Event()

    def load():
        while not stop.is_set():
            client.put("busy", [("k%d" % i, b"x" * 100) for i in range(20)])
            client.get(client.iterator("busy", 0), limit=10)
    thread = threading.Thread(target=load)
    thread.start()
    try:
        picture = ctl.json("top", "--once", "--interval", "500ms")
    finally:
        stop.set()
        thread.join()
    busy = next(stream for stream in picture["streams"] if stream["stream_name"] == "busy")
    calm = next(stream for stream in picture["streams"] if stream["stream_name"] == "calm")
    assert busy["in_records_per_s"] > 20 and busy["out_records_per_s"] > 5 and busy["behind_ms"] >= 0, busy
    assert calm["in_records_per_s"] == 0 and calm["behind_ms"] is None, calm
    assert picture["streams"][0] == busy and {shard["stream_name"] for shard in picture["shards"]} == {"busy", "calm"}, picture
    about = picture["broker"]
    assert 0 < about["sync_average_ms"] and about["requests_per_s"] > 1 and 0.4 < about["seconds"] < 30, about
    assert about["connections"] >= 2 and about["disk_free_bytes"] > 0 and about["errors_per_s"] == 0, about
    table = ctl("top", "--once", "--interval", "100ms", "-o", "table")
    assert table.splitlines()[0].split()[0] == "stream_name" and "calm" in table
    ctl.fails(2, "100ms to 1h", "top", "--once", "--interval", "1ms")
    # Into a pipe there is no screen.
    assert "\x1b" not in ctl("top", "--interval", "100ms")
    broker.stop()


def test_keys_sizes_and_the_way_out(scratch):
    broker, ctl, client = prepare(scratch)
    screen = Screen(ctl, "--interval", "100ms")
    screen.wait(lambda picture: row_of(picture, "busy") and row_of(picture, "calm"), "both streams are shown")
    before = [line for line in screen.pictures()[0] if line]
    assert before[0].startswith("kstream 127.0.0.1:") and "sync" in before[1] and "journal" in before[2], before
    assert any("HOTTEST SHARDS" in line for line in before) and "q quit" in before[-1], before
    for key, first in (("n", "busy"), ("i", "busy")):
        screen.key(key)
        screen.forget()
        screen.wait(lambda picture: row_of(picture, first), "the key has done its work")
    screen.resize(8, 40)
    screen.forget()
    screen.wait(lambda picture: len(picture) <= 8 and all(len(line) <= 40 for line in picture), "it fits a small terminal")
    screen.resize(24, 120)
    screen.key("q")
    assert screen.end() == 0
    screen.check_restored()
    broker.stop()


def test_every_end_gives_the_terminal_back(scratch):
    broker, ctl, client = prepare(scratch)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        screen = Screen(ctl, "--interval", "100ms")
        screen.wait(lambda picture: row_of(picture, "busy"), "the streams are shown")
        during = screen.settings()
        assert not during[3] & termios.ICANON and not during[3] & termios.ECHO
        os.kill(screen.pid, number)
        holder = os.dup(screen.terminal)
        status = screen.end()
        code = os.waitstatus_to_exitcode(status)
        assert code == (130 if number == signal.SIGINT else -number), (number, code)
        screen.check_restored()
        after = termios.tcgetattr(holder)
        assert after[3] & termios.ICANON and after[3] & termios.ECHO, "the terminal echoes again"
        os.close(holder)
    broker.stop()


def test_a_broker_that_goes_and_comes_back(scratch):
    broker, ctl, client = prepare(scratch)
    port = broker.addresses["native"].rsplit(":", 1)[1]
    screen = Screen(ctl, "--interval", "100ms", "--timeout", "1s")
    screen.wait(lambda picture: row_of(picture, "busy"), "the streams are shown")
    broker.kill()
    screen.forget()
    screen.wait(lambda picture: row_of(picture, "busy") and any("127.0.0.1:" + port in line for line in picture[3:5]),
                "the last picture stays, with a word about the broker")
    broker = Broker(scratch, "--listen", "127.0.0.1:" + port)
    broker.client().put("calm", [("k", b"x")])
    screen.forget()
    screen.wait(lambda picture: row_of(picture, "calm") and picture[3] == "", "it goes on")
    screen.key("q")
    assert screen.end() == 0
    screen.check_restored()
    ctl.environment["KSTREAM_ENDPOINT"] = "127.0.0.1:1"
    screen = Screen(ctl)
    assert os.waitstatus_to_exitcode(screen.end()) == 7
    assert b"\x1b[?1049h" not in screen.all and b"hint:" in screen.all, screen.all
    broker.stop()


run_tests(test_a_picture_without_a_terminal, test_keys_sizes_and_the_way_out, test_every_end_gives_the_terminal_back,
          test_a_broker_that_goes_and_comes_back)
