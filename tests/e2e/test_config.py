"""Settings: files, environment and flags of the real broker, and what SIGHUP changes in a running one."""
import re, threading
from kstream_test import *
from ctl_test import Ctl


def write(path, text):
    """Whole at once, as an editor does: a reload never meets half a file."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".new", "w") as file:
        file.write(text)
    os.rename(path + ".new", path)


def reload(broker, *wanted):
    """SIGHUP; returns what the log then says, up to the event that ends a reload."""
    before = len(broker.log())
    broker.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "config.reload" in broker.log()[before:], "the reload has ended")
    said = broker.log()[before:]
    for text_ in wanted:
        assert text_ in said, "the log does not say '%s' but:\n%s" % (text_, said)
    return said


def credit(broker):
    """The put credit of an answer is limits.in_flight while nothing presses."""
    client = broker.client()
    client.send(PING, b"")
    answer = client.receive()
    client.close()
    return answer[3]


def run(*flags, environment=None):
    return subprocess.run([KSTREAMD, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env={**os.environ, **(environment or {})}, timeout=DEADLINE_S)


def test_check_config_names_the_files_or_the_mistake(scratch):
    path = os.path.join(scratch, "kstreamd.conf")
    write(path, "[limits]\nconnections = 5\n")
    write(os.path.join(scratch, "conf.d", "10-a.conf"), "[limits]\nconnections = 6\n")
    good = run("--config", path, "--check-config")
    assert good.returncode == 0 and "is right" in good.stdout, good
    assert good.stdout.index("kstreamd.conf") < good.stdout.index("10-a.conf"), good.stdout
    write(os.path.join(scratch, "conf.d", "20-b.conf"), "# a comment\n[limits]\n\nconections = 7\n")
    bad = run("--config", path, "--check-config")
    assert bad.returncode == 2, bad
    for part in ("line 4 of", "20-b.conf", "limits.conections", "limits.connections"):
        assert part in bad.stderr, bad.stderr
    wrong = run("--config", "none", "--check-config", environment={"KSTREAM_LIMITS__CONNECTIONS": "many"})
    assert wrong.returncode == 2 and "KSTREAM_LIMITS__CONNECTIONS" in wrong.stderr, wrong
    missing = run("--config", os.path.join(scratch, "nowhere.conf"), "--check-config")
    assert missing.returncode != 0 and "nowhere.conf" in missing.stderr, missing


def test_printed_defaults_are_a_right_configuration(scratch):
    printed = run("--print-default-config")
    path = os.path.join(scratch, "kstreamd.conf")
    write(path, printed.stdout)
    assert run("--config", path, "--check-config").returncode == 0
    settings = [line for line in printed.stdout.split("\n") if line and line[0] not in "#["]
    assert not settings, "not commented out: %s" % settings
    write(path, "".join(line[1:] if line.startswith("#") and not line.startswith("# ") and line != "#\n" else line
                        for line in printed.stdout.splitlines(True)))
    assert run("--config", path, "--check-config").returncode == 0, open(path).read()


def test_reload_changes_what_runs_and_says_so(scratch):
    path = os.path.join(scratch, "kstreamd.conf")
    write(path, "[limits]\nin_flight = 16MiB\nconnections = 2\nshards = 2\n[log]\nlevel = warning\n")
    broker = Broker(scratch, "--config", path, "--log-format", "text", wait=False)
    broker.wait_listening()
    assert credit(broker) == 16 << 20
    held = [broker.connect(), broker.connect()]
    for each in held:
        Client(each).call(PING)
    refused = broker.connect()
    assert refused.recv(1) == b"", "a third connection was taken"
    said = None
    write(path, "[limits]\nin_flight = 2MiB\nconnections = 4\nshards = 9\n[log]\nlevel = info\n[listen]\nhttp = none\n")
    said = reload(broker, "limits.in_flight: 16MiB -> 2MiB", "limits.connections: 2 -> 4", "limits.shards: 2 -> 9",
                  "log.level: warning -> info", "config.reloaded changed=4 need_restart=0")
    # The flag of Broker names another listen.http, so the file's is no change; and a restart is not needed for it.
    assert "listen.http" not in said, said
    assert credit(broker) == 2 << 20
    client = broker.client()
    client.create_stream("s", 9)
    more = broker.connect()
    Client(more).call(PING)
    write(path, "[aws]\nregion = eu-west-1\n[storage]\nsegment_bytes = 32MiB\n[limits]\nin_flight = 2MiB\n")
    reload(broker, "config.needs_restart", "aws.region: us-east-1 -> eu-west-1", "storage.segment_bytes: 64MiB -> 32MiB",
           "limits.connections: 4 -> 10000", "need_restart=2")
    assert b"us-east-1" in client.call(PING), "a setting that needs a restart changed at once"
    reload(broker, "config.needs_restart", "changed=0 need_restart=2")
    write(path, "[aws]\nregion = eu-west-1\n[log]\nlevel = error\n")
    reload(broker, "log.level: info -> error")  # who silences the log still reads that
    write(path, "[aws]\nregion = eu-west-1\n")
    broker.stop()
    broker = Broker(scratch, "--config", path)
    assert b"eu-west-1" in broker.client().call(PING)
    broker.stop()


def test_bad_file_changes_nothing_and_says_why(scratch):
    path = os.path.join(scratch, "kstreamd.conf")
    write(path, "[limits]\nin_flight = 4MiB\n")
    broker = Broker(scratch, "--config", path)
    assert credit(broker) == 4 << 20
    mistakes = {
        "[limits]\nin_flight = 8MiB\nconections = 5\n": ("line 3 of", "limits.connections"),
        "[limits]\nin_flight = 8MiB\nconnections = 0\n": ("out of range",),
        "[limits]\nin_flight = 8MiB\n[log]\nlevel = loud\n": ("none of debug|info",),
        "[limits]\nin_flight = 8MiB\n[aws]\naccount_id = 12\n": ("twelve digits",),
        "[limits]\nin_flight = 8MiB\nno equals sign\n": ("line 3 of",),
    }
    for content, words in mistakes.items():
        write(path, content)
        reload(broker, "config.reload_failed", "nothing was changed", *words)
        assert credit(broker) == 4 << 20, "a bad file was applied in part:\n" + content
    os.unlink(path)
    reload(broker, "config.reload_failed", "cannot read")
    write(path, "[limits]\nin_flight = 8MiB\n")
    reload(broker, "config.reloaded changed=1")
    assert credit(broker) == 8 << 20
    broker.stop()


def test_environment_and_flags_win_over_a_reload(scratch):
    path = os.path.join(scratch, "kstreamd.conf")
    write(path, "[limits]\nin_flight = 4MiB\noutput = 1MiB\n")
    broker = Broker(scratch, "--config", path, "--in-flight", "5MiB", environment={"KSTREAM_LIMITS__OUTPUT": "2MiB"})
    write(path, "[limits]\nin_flight = 6MiB\noutput = 3MiB\n")
    reload(broker, "config.reloaded changed=0 need_restart=0")
    assert credit(broker) == 5 << 20
    broker.stop()


def test_settings_tell_where_they_come_from(scratch):
    path, more = os.path.join(scratch, "kstreamd.conf"), os.path.join(scratch, "conf.d", "10-a.conf")
    write(path, "[limits]\nconnections = 50\n# a comment\nmemory = 1GiB\n")
    write(more, "[limits]\nmemory = 2GiB\n")
    broker = Broker(scratch, "--config", path, "--region", "eu-north-1", environment={"KSTREAM_LOG__LEVEL": "debug"})
    ctl = Ctl(broker.addresses["native"])

    def shown(*words):
        return {each.pop("key"): each for each in ctl.json("config", "show", *words)["settings"]}
    set_ones = shown("--origin")
    assert set_ones["limits.connections"] == {"value": "50", "origin": "file", "where": path + ":2"}
    assert set_ones["limits.memory"] == {"value": "2GiB", "origin": "file", "where": more + ":2"}
    assert set_ones["aws.region"] == {"value": "eu-north-1", "origin": "flag", "where": "--region"}
    assert set_ones["log.level"] == {"value": "debug", "origin": "environment", "where": "KSTREAM_LOG__LEVEL"}
    assert "limits.output" not in set_ones
    # All of them: exactly the keys of the printed configuration, in its order, with their defaults.
    every = shown("--effective", "--origin")
    printed = subprocess.run([KSTREAMD, "--print-default-config"], stdout=subprocess.PIPE, text=True, check=True).stdout
    keys, section = [], None
    for line in printed.splitlines():
        section = line[1:-1] if line.startswith("[") else section
        keys += ["%s.%s" % (section, line[1:].split(" ")[0])] if re.match(r"#\w+ = ", line) and section else []
    assert list(every) == keys and every["limits.output"] == {"value": "4MiB", "origin": "default", "where": ""}
    assert {key: every[key] for key in set_ones} == set_ones
    assert shown("--effective")["limits.output"] == {"value": "4MiB"}
    # A reload: what it changed, and what waits.
    write(more, "[limits]\n\nmemory = 3GiB\n[threads]\nreaders = 5\n")
    reload(broker, "config.reloaded")
    after = shown("--origin")
    assert after["limits.memory"] == {"value": "3GiB", "after_restart": None, "origin": "file", "where": more + ":3"}
    assert after["threads.readers"] == {"value": "2", "after_restart": "5", "origin": "default", "where": ""}
    # One that is refused leaves all of it as it is.
    write(more, "[limits]\nmemory = 4GiB\nmemry = 1\n")
    reload(broker, "config.reload_failed")
    assert shown("--origin") == after
    broker.stop()


def test_reloads_under_load_lose_nothing(scratch):
    path = os.path.join(scratch, "kstreamd.conf")
    tight = "[limits]\nin_flight = 1MiB\noutput = 64KiB\ninput = 32MiB\n[storage]\nflush_bytes = 1MiB\n[puts]\nverify_routing = all\n"
    wide = "[limits]\nin_flight = 16MiB\n[storage]\nflush_age = 1s\n[log]\nformat = json\n"
    write(path, tight)
    broker = Broker(scratch, "--config", path)
    broker.client().create_stream("s", 2)
    failures = []
    over = threading.Event()

    def work(number):
        try:
            client, round_ = broker.client(), 0
            while not over.is_set():
                client.put("s", [("k%d" % number, b"%d-%d-%d" % (number, round_, i)) for i in range(20)])
                round_ += 1
            sent[number] = round_ * 20
        except BaseException as error:
            failures.append(error)
    sent = {}
    workers = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for worker in workers:
        worker.start()
    for n in range(20):
        write(path, wide if n % 2 == 0 else tight)
        before = broker.log().count("config.reloaded")
        broker.process.send_signal(signal.SIGHUP)
        wait_until(lambda: broker.log().count("config.reloaded") > before, "reloaded")
    over.set()
    for worker in workers:
        worker.join()
    assert not failures, failures
    rows = broker.client().read_all("s", 2)
    assert sum(len(each) for each in rows.values()) == sum(sent.values())
    broker.stop()


if __name__ == "__main__":
    run_tests(test_check_config_names_the_files_or_the_mistake, test_printed_defaults_are_a_right_configuration,
              test_reload_changes_what_runs_and_says_so, test_bad_file_changes_nothing_and_says_why,
              test_environment_and_flags_win_over_a_reload, test_settings_tell_where_they_come_from,
              test_reloads_under_load_lose_nothing)
