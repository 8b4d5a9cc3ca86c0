"""What the broker logs: for people, for programs, for the systemd journal; and requests that take long."""
import ctypes, fcntl, json, termios, threading
from kstream_test import *
from test_service import hold_thread, let_thread_go, thread_of


class Journal:
    """systemd-journald's socket, and its stream: the file that standard error of the broker is."""

    def __init__(self, scratch):
        self.path = os.path.join(scratch, "journal")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(DEADLINE_S)

    def event(self, name):
        while True:
            fields = dict(line.split("=", 1) for line in self.socket.recv(8192).decode().splitlines())
            if fields["KSTREAM_EVENT"] == name:
                return fields


class JournaledBroker(Broker):
    """Its standard error is a stream that systemd reads, and says so."""

    def popen(self, environment):
        stat = os.fstat(self.log_file.fileno())
        return super().popen({**environment, "JOURNAL_STREAM": "%d:%d" % (stat.st_dev, stat.st_ino)})


def test_journal_gets_events_with_their_fields(scratch):
    journal = Journal(scratch)
    broker = JournaledBroker(scratch, "--log-journal-socket", journal.path, wait=False)
    ready = journal.event("daemon.ready")
    broker.read_addresses()
    assert ready["KSTREAM_NATIVE"] == broker.addresses["native"] and ready["PRIORITY"] == "6", ready
    assert ready["SYSLOG_IDENTIFIER"] == "kstreamd" and len(ready["MESSAGE_ID"]) == 32, ready
    assert ready["MESSAGE"].startswith("daemon.ready native=" + broker.addresses["native"]), ready
    assert broker.log() == "", "the stream repeats what the journal has"
    broker.process.send_signal(signal.SIGTERM)
    assert journal.event("daemon.stopped")["MESSAGE_ID"] != ready["MESSAGE_ID"]
    assert broker.wait_end() == 0


def test_without_a_journal_the_stream_has_levels(scratch):
    broker = JournaledBroker(scratch, "--log-journal-socket", os.path.join(scratch, "nobody"), wait=False)
    broker.wait_logged("<6>info daemon.ready native=")
    broker.process.send_signal(signal.SIGTERM)
    assert broker.wait_end() == 0


def test_json_lines_can_be_read_by_a_program(scratch):
    broker = Broker(scratch, "--log-format", "json", "--log-level", "debug", wait=False)
    broker.wait_listening()
    garbage = broker.connect()
    garbage.sendall(b"GET / HTTP/1.1\r\n\r\n")
    garbage.recv(1000)
    broker.wait_logged("connection.garbage")
    broker.process.send_signal(signal.SIGTERM)
    assert broker.wait_end() == 0
    events = [json.loads(line) for line in broker.log().splitlines()]
    assert {"daemon.ready", "connection.garbage", "connection.closed", "daemon.stopped"} <= {e["event"] for e in events}
    assert all({"time", "level", "event"} <= e.keys() for e in events)


class PipedBroker(Broker):
    """Its standard error is a pipe of one page."""

    def popen(self, environment):
        self.reading, writing = os.pipe()
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
        process = subprocess.Popen(self.command, stderr=writing, stdout=subprocess.DEVNULL, env=environment)
        os.close(writing)
        return process

    def fill(self):
        """Connections come and go until the pipe takes no more: what is said of them fills it."""
        def is_full():
            for _ in range(10):
                self.connect().close()
            return struct.unpack("i", fcntl.ioctl(self.reading, termios.FIONREAD, b"    "))[0] > 3800
        wait_until(is_full, "the pipe is full")


def begin_piped(scratch):
    broker = PipedBroker(scratch, "--log-level", "debug", wait=False)
    broker.wait_listening()
    broker.fill()
    return broker


def test_a_reader_of_the_log_that_has_stopped_stops_nothing_else(scratch):
    broker = begin_piped(scratch)
    client = broker.client()
    client.create_stream("clicks")
    for _ in range(50):
        client.put("clicks", [("k", b"v")])
        broker.connect().close()
    assert broker.http("/livez")[0] == 200
    broker.process.send_signal(signal.SIGTERM)
    assert broker.wait_end() == 0, "a full pipe holds up the end"
    os.close(broker.reading)
    # It ended in order, although it could tell nobody.
    broker = Broker(scratch)
    broker.wait_logged("was_clean=1")
    broker.stop()


def test_the_log_goes_on_when_its_reader_does(scratch):
    broker = begin_piped(scratch)
    broker.client().create_stream("clicks")
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(os.fdopen(broker.reading, "rb")))
    reader.start()
    broker.process.send_signal(signal.SIGTERM)
    assert broker.wait_end() == 0
    reader.join()
    assert all(line.startswith(b"20") and line.endswith(b"\n") for line in lines), "lines are torn"
    assert b" daemon.ready " in b"".join(lines) and any(b" daemon.stopped " in line for line in lines), lines[-1]


def test_slow_requests_are_logged_and_long_polls_are_not(scratch):
    broker = Broker(scratch, "--log-slow-request", "2s")
    client, reader = broker.client(), broker.client()
    client.create_stream("clicks")
    at = reader.iterator("clicks", kind="LATEST")
    reader.send(GET_RECORDS, encode((1, at), (6, 4000)))
    tid = thread_of(broker.process, "ks-commit")
    hold_thread(tid)
    begun = time.monotonic()
    request = client.send(PUT_RECORDS, encode((1, encode((1, b"v"), (3, "k"))), (2, "clicks")))
    # The condition is that time has passed: the committer cannot answer before it is let go.
    wait_until(lambda: time.monotonic() - begun > 2.2, "the request is slow")
    let_thread_go(tid)
    assert client.receive()[0] == request
    broker.wait_logged("request.slow")
    line = next(line for line in broker.log().splitlines() if "request.slow" in line)
    for part in ("op=PutRecords", "status=KS_OK", "stream=clicks", "peer=127.0.0.1:", "request=%d" % request, "waited_ms=0"):
        assert part in line, line
    assert int(line.split(" ms=")[1].split()[0]) >= 2000, line
    reader.receive()
    # A poll that waits for nothing, for longer than the limit.
    at = reader.iterator("clicks", kind="LATEST")
    assert not reader.get(at, wait_ms=2500)
    client.call(PING)
    assert broker.log().count("request.slow") == 1, broker.log()
    broker.stop()


if __name__ == "__main__":
    run_tests(test_journal_gets_events_with_their_fields, test_without_a_journal_the_stream_has_levels,
              test_json_lines_can_be_read_by_a_program, test_slow_requests_are_logged_and_long_polls_are_not,
              test_a_reader_of_the_log_that_has_stopped_stops_nothing_else, test_the_log_goes_on_when_its_reader_does)
