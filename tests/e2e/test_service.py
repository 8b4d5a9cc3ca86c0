"""kstreamd as a service: what systemd is told, its watchdog, its sockets. The test plays the service manager."""
import contextlib, re, resource, threading
from held_thread import end_of_held, hold_thread, let_thread_go, thread_of
from kstream_test import *

LIMIT_S = 4.0  # WatchdogSec of the manager below; a healthy broker pings four times in it


class Manager:
    """NOTIFY_SOCKET, and systemd's watchdog: without a ping in time the broker gets SIGABRT."""

    def __init__(self, scratch, watchdog=False):
        self.path = os.path.join(scratch, "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.messages = []
        self.arrived = threading.Condition()
        self.environment = {"NOTIFY_SOCKET": self.path}
        if watchdog:
            self.environment["WATCHDOG_USEC"] = str(int(LIMIT_S * 1000000))
        self.aborted = None
        self.watched = None
        self.over = False
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        pinged = time.monotonic()
        while not self.over:
            self.socket.settimeout(0.05)
            with contextlib.suppress(socket.timeout):
                message = self.socket.recv(4096).decode().split("\n")
                with self.arrived:
                    self.messages.append(message)
                    self.arrived.notify_all()
                if "WATCHDOG=1" in message or "READY=1" in message:
                    pinged = time.monotonic()
            if self.watched and time.monotonic() - pinged > LIMIT_S:
                self.aborted = self.watched
                self.watched.process.send_signal(signal.SIGABRT)
                self.watched = None

    def wait(self, line, after=0):
        """Until a message at or behind `after` has a line that begins so; its index."""
        def found():
            return next((i for i, message in enumerate(self.messages) if i >= after and
                         any(each.startswith(line) for each in message)), None)
        with self.arrived:
            assert self.arrived.wait_for(lambda: found() is not None, DEADLINE_S), (line, self.messages)
            return found()

    def count(self, line):
        return sum(line in message for message in self.messages)

    def close(self):
        self.over = True


def value(message, name):
    return next(line.split("=", 1)[1] for line in message if line.startswith(name + "="))


# ---- what systemd is told ----

def test_manager_is_told_of_every_state(scratch):
    manager = Manager(scratch)
    broker = Broker(scratch, environment=manager.environment, wait=False)
    ready = manager.wait("READY=1")
    # At this very moment it serves.
    broker.read_addresses()
    client = broker.client()
    client.create_stream("s")
    client.put("s", [("k", b"v")])
    assert "serving at " + broker.addresses["native"] in value(manager.messages[ready], "STATUS")
    assert manager.messages[0][0] == "STATUS=starting", manager.messages
    assert int(value(manager.messages[0], "EXTEND_TIMEOUT_USEC")) > 0
    broker.process.send_signal(signal.SIGHUP)
    reloading = manager.wait("RELOADING=1", ready + 1)
    assert abs(int(value(manager.messages[reloading], "MONOTONIC_USEC")) / 1e6 - time.monotonic()) < 3600
    again = manager.wait("READY=1", reloading + 1)
    broker.process.send_signal(signal.SIGTERM)
    stopping = manager.wait("STOPPING=1", again + 1)
    assert int(value(manager.messages[stopping], "EXTEND_TIMEOUT_USEC")) >= 60 * 1000000
    assert broker.wait_end() == 0
    assert manager.count("READY=1") == 2, manager.messages
    manager.close()


def test_manager_is_told_why_a_reload_failed(scratch):
    path = os.path.join(scratch, "kstreamd.conf")
    with open(path, "w") as file:
        file.write("[limits]\n")
    manager = Manager(scratch)
    broker = Broker(scratch, "--config", path, environment=manager.environment)
    with open(path, "w") as file:
        file.write("[limits]\nconections = 1\n")
    broker.process.send_signal(signal.SIGHUP)
    reloading = manager.wait("RELOADING=1")
    # A failed reload leaves a serving broker: systemctl must not wait for ever.
    ready = manager.wait("READY=1", reloading + 1)
    manager.wait("STATUS=serving; the last reload failed", ready + 1)
    broker.stop()
    manager.close()


def test_manager_is_told_why_the_start_failed(scratch):
    first = Broker(scratch)
    manager = Manager(scratch)
    second = Broker(scratch, environment=manager.environment, wait=False)
    assert second.wait_end() == 5
    failed = manager.wait("STATUS=cannot start: ")
    assert manager.count("READY=1") == 0 and "ERRNO=" in str(manager.messages[failed])
    first.stop()
    manager.close()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port, path):
    try:
        with urllib.request.urlopen("http://127.0.0.1:%d%s" % (port, path), timeout=DEADLINE_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_recovery_is_shown_while_it_goes_on(scratch):
    flags = ("--flush-bytes", "1GiB", "--memory", "1GiB", "--journal-bytes", "512MiB")
    broker = Broker(scratch, *flags)
    client = broker.client()
    client.create_stream("s")
    data = b"x" * 1000000
    for n in range(96):
        client.put_patiently("s", [("k", data)])
    broker.kill()
    for attempt in range(10):
        folder = os.path.join(scratch, str(attempt))
        os.mkdir(folder)
        manager, port = Manager(folder), free_port()
        broker = Broker(scratch, *flags, "--http", "127.0.0.1:%d" % port, environment=manager.environment, wait=False)
        manager.wait("STATUS=recovering, ")
        # The main thread recovers; held, it gives time to look. It may have been faster than we are: then again.
        hold_thread(broker.process.pid)
        answer = ask(port, "/readyz")
        alive = ask(port, "/livez")
        figures = ask(port, "/metrics")
        let_thread_go(broker.process.pid)
        ready = manager.wait("READY=1")
        told = [message for message in manager.messages[:ready] if message[0].startswith("STATUS=recovering")]
        assert all(int(value(message, "EXTEND_TIMEOUT_USEC")) > 0 for message in told), told
        assert any(re.fullmatch(r"STATUS=recovering, \d+ % \(\d+ s to go\)", message[0]) for message in told), told
        broker.kill()
        manager.close()
        if answer[0] == 503:
            assert re.fullmatch(r"recovering, \d+ % done\n", answer[1]), answer
            assert alive == (200, answer[1]), "livez says that it lives, and what it does"
            assert figures[0] == 200 and "\nkstream_ready 0\n" in figures[1], figures
            ratio = float(re.search(r"^kstream_recovery_ratio (\S+)$", figures[1], re.M).group(1))
            assert 0 <= ratio <= 1 and "process_cpu_seconds_total" in figures[1], figures
            return
    raise AssertionError("ten recoveries were over before anybody could look")


def test_check_of_a_large_catalog_is_shown(scratch):
    broker = Broker(scratch)
    client = broker.client()
    for first in range(0, 5000, 500):
        for n in range(first, first + 500):
            client.send(CREATE, encode((1, "s%d" % n), (2, 1)))
        for n in range(500):
            assert client.receive()[1] == CREATE
    broker.kill()
    manager = Manager(scratch)
    broker = Broker(scratch, environment=manager.environment)
    checking = manager.wait("STATUS=checking the catalog after an unclean stop")
    assert int(value(manager.messages[checking], "EXTEND_TIMEOUT_USEC")) > 0
    assert checking < manager.wait("READY=1")
    broker.stop()
    manager.close()


# ---- the watchdog ----

def watched_broker(scratch, *flags):
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    manager = Manager(scratch, watchdog=True)
    broker = Broker(scratch, *flags, environment=manager.environment)
    client = broker.client()
    client.create_stream("s")
    manager.watched = broker
    return manager, broker, client


def test_healthy_broker_pings_idle_and_under_load(scratch):
    manager, broker, client = watched_broker(scratch)
    idle = manager.count("WATCHDOG=1")
    wait_until(lambda: manager.count("WATCHDOG=1") >= idle + 3, "it pings while idle")
    busy = manager.count("WATCHDOG=1")
    while manager.count("WATCHDOG=1") < busy + 3:
        client.put("s", [("k%d" % i, b"x" * 1000) for i in range(100)])
    assert manager.aborted is None and "watchdog.stuck" not in broker.log()
    manager.watched = None
    broker.stop()
    manager.close()


def test_hanging_loop_is_restarted(scratch):
    manager, broker, client = watched_broker(scratch, "--loops", "2")
    tid = thread_of(broker.process, "loop-01")
    hold_thread(tid)
    broker.wait_logged("watchdog.stuck thread=loop-01")
    assert end_of_held(broker, tid) == -signal.SIGABRT and manager.aborted is broker
    manager.close()
    broker = Broker(scratch)
    broker.stop()


def test_hanging_committer_is_restarted_and_nothing_is_lost(scratch):
    manager, broker, client = watched_broker(scratch)
    client.put("s", [("k", b"durable")])
    tid = thread_of(broker.process, "ks-commit")
    hold_thread(tid)
    client.send(PUT_RECORDS, encode((1, encode((1, b"waits"), (3, "k"))), (2, "s")))
    broker.wait_logged("watchdog.stuck thread=ks-commit")
    assert end_of_held(broker, tid) == -signal.SIGABRT and manager.aborted is broker
    manager.close()
    broker = Broker(scratch)
    rows = broker.client().read_all("s")[0]
    assert (rows[0][1], rows[0][2]) == ("k", b"durable"), rows
    broker.stop()


def test_loop_that_goes_on_is_left_alone(scratch):
    manager, broker, client = watched_broker(scratch, "--loops", "2")
    manager.watched = None  # a patient manager
    tid = thread_of(broker.process, "loop-01")
    hold_thread(tid)
    broker.wait_logged("watchdog.stuck thread=loop-01")
    pings = manager.count("WATCHDOG=1")
    let_thread_go(tid)
    broker.wait_logged("watchdog.goes_on")
    wait_until(lambda: manager.count("WATCHDOG=1") >= pings + 2, "it pings again")
    broker.stop()
    manager.close()


# ---- sockets that systemd has opened ----

def listen(kind="tcp", path=None, host="127.0.0.1"):
    if kind == "tcp":
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, 0))
    else:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
    listener.listen(16)
    return listener


class Activated(Broker):
    """As systemd starts it: descriptors from 3 on, and the pid of the very process in LISTEN_PID."""

    def __init__(self, scratch, sockets, *flags, wait=True, pid="$$"):
        self.sockets = sockets
        self.pid = pid
        super().__init__(scratch, *flags, wait=wait)

    def popen(self, environment):
        def place():
            # First out of the way of each other, then to their places.
            away = [os.dup(each.fileno()) for _, each in self.sockets]
            high = [os.dup2(fd, 100 + i) for i, fd in enumerate(away)]
            for i, fd in enumerate(high):
                os.dup2(fd, 3 + i)
        count = len(self.sockets)
        environment = {**environment, "LISTEN_FDS": str(count), "LISTEN_FDNAMES": ":".join(name for name, _ in self.sockets)}
        return subprocess.Popen(["sh", "-c", 'LISTEN_PID=%s exec "$0" "$@"' % self.pid, *self.command],
                                stderr=self.log_file, stdout=subprocess.DEVNULL, env=environment, preexec_fn=place,
                                pass_fds=tuple(range(3, 3 + count)))


def test_passed_sockets_are_served_and_outlive_the_broker(scratch):
    path = os.path.join(scratch, "passed.sock")
    sockets = [("native", listen()), ("unix", listen("unix", path)), ("http", listen()), ("native", listen())]
    native, http, second = (sockets[i][1].getsockname()[1] for i in (0, 2, 3))
    # Somebody is already waiting: systemd took the connection, the broker answers it when it is there.
    early = Client(socket.create_connection(("127.0.0.1", native), timeout=DEADLINE_S))
    early.send(PING, b"")
    broker = Activated(scratch, sockets)
    assert early.receive()[1] == PING
    assert broker.addresses == {"native": "127.0.0.1:%d" % native, "http": "127.0.0.1:%d" % http, "unix": path}, \
        broker.addresses
    assert ask(http, "/readyz") == (200, "ok\n")
    Client(socket.create_connection(("127.0.0.1", second), timeout=DEADLINE_S)).create_stream("s")
    local = socket.socket(socket.AF_UNIX)
    local.connect(path)
    Client(local).put("s", [("k", b"v")])
    broker.stop()
    # The sockets are not the broker's: who comes now waits for the next one.
    assert os.path.exists(path), "the path of a passed socket was removed"
    waiting = Client(socket.create_connection(("127.0.0.1", native), timeout=DEADLINE_S))
    waiting.send(PING, b"")
    broker = Activated(scratch, sockets)
    assert waiting.receive()[1] == PING
    assert len(broker.client().read_all("s")[0]) == 1
    broker.stop()


def test_only_the_doors_that_were_passed_replace_the_settings(scratch):
    broker = Activated(scratch, [("http", listen())])
    broker.client().create_stream("s")
    assert broker.http("/readyz")[0] == 200
    broker.stop()


def test_sockets_of_somebody_else_are_left_alone(scratch):
    passed = listen()
    broker = Activated(scratch, [("native", passed)], pid="1")
    assert broker.addresses["native"] != "127.0.0.1:%d" % passed.getsockname()[1]
    broker.stop()


def test_wrong_sockets_are_refused_by_name(scratch):
    deaf = socket.socket()
    deaf.bind(("127.0.0.1", 0))
    cases = [("kstreamd.socket", listen(), "FileDescriptorName"), ("native", deaf, "ListenStream"),
             ("native", listen(host="0.0.0.0"), "--insecure")]
    for name, passed, words in cases:
        broker = Activated(scratch, [(name, passed)], wait=False)
        code = broker.wait_end()
        assert code == 2 and words in broker.log(), (name, code, broker.log())
    broker = Activated(scratch, [("native", listen(host="0.0.0.0"))], "--insecure")
    broker.stop()


if __name__ == "__main__":
    run_tests(test_manager_is_told_of_every_state, test_manager_is_told_why_a_reload_failed,
              test_manager_is_told_why_the_start_failed, test_recovery_is_shown_while_it_goes_on, test_check_of_a_large_catalog_is_shown,
              test_healthy_broker_pings_idle_and_under_load, test_hanging_loop_is_restarted,
              test_hanging_committer_is_restarted_and_nothing_is_lost, test_loop_that_goes_on_is_left_alone,
              test_passed_sockets_are_served_and_outlive_the_broker,
              test_only_the_doors_that_were_passed_replace_the_settings, test_sockets_of_somebody_else_are_left_alone,
              test_wrong_sockets_are_refused_by_name)
