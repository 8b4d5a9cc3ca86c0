"""kstream-bench: its figures are of what really happened, and a run that went wrong has none."""
import json, re, threading
from kstream_test import *

BENCH = os.environ.get("KSTREAM_BENCH", "build/release/tools/kstream-bench")
FIGURES = ["records_per_second", "bytes_per_second", "p50_us", "p99_us", "p999_us", "server_cpu_ns_per_record"]


def endpoint(broker):
    return broker.addresses["native"]


def bench(broker, verb, *args, output="json"):
    return subprocess.run([BENCH, verb, "--endpoint", endpoint(broker), "--output", output, "--warmup", "0.05", *args],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=DEADLINE_S)


def figures(done):
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    for name in FIGURES:
        assert result[name] is not None and result[name] > 0, result
    assert result["p50_us"] <= result["p99_us"] <= result["p999_us"] <= result["max_us"], result
    return result


def test_every_verb(scratch):
    broker = Broker(scratch)
    client = broker.client()
    for name, args in (("one", ("--shards", "1")), ("many", ("--shards", "3", "--connections", "5", "--keys", "50")),
                       ("paced", ("--shards", "1", "--rate", "500", "--connections", "3")),
                       ("pushed", ("--shards", "1", "--rate", "10000000", "--in-flight", "100")),
                       ("tiny", ("--shards", "2", "--record-bytes", "0", "--in-flight", "10"))):
        began = time.monotonic()
        result = figures_or_tiny(bench(broker, "produce", "--stream", name, "--seconds", "0.3", *args), name)
        elapsed = time.monotonic() - began
        stored = client.read_all(name, int(args[1]))
        count = sum(len(shard) for shard in stored.values())
        assert 0 < result["records"] <= count, (result, count)
        keys = {key for shard in stored.values() for _, key, _ in shard}
        assert all(len(key) == 16 for key in keys) and len(keys) <= result["keys"]
        assert {len(data) for shard in stored.values() for _, _, data in shard} == {result["record_bytes"]}
        if name == "paced":
            assert count <= 500 * elapsed + 2, result
    result = figures(bench(broker, "latency", "--stream", "one", "--seconds", "0.3"))
    assert result["in_flight"] == 1
    for name, connections in (("one", 1), ("many", 2), ("one", 3)):
        result = figures(bench(broker, "consume", "--stream", name, "--seconds", "0.3", "--connections",
                               str(connections)))
        assert result["connections"] == connections
    for output in ("table", "text"):
        done = bench(broker, "latency", "--stream", "one", "--seconds", "0.1", output=output)
        assert done.returncode == 0 and done.stdout and not done.stderr, done
    done = bench(broker, "produce", "--stream", "one", "--seconds", "0.1", "--server-pid",
                 str(broker.process.pid))
    assert figures(done)["server_cpu_ns_per_record"] > 0
    broker.stop()


def figures_or_tiny(done, name):
    """Records without data have no bytes a second."""
    if name != "tiny":
        return figures(done)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["bytes_per_second"] == 0 and result["records_per_second"] > 0
    return result


def test_unix_socket(scratch):
    broker = Broker(scratch, unix=True)
    path = "unix:" + os.path.join(scratch, "native.sock")
    done = subprocess.run([BENCH, "produce", "--shards", "1", "--seconds", "0.2", "--output", "json"],
                          stdout=subprocess.PIPE, env={"KSTREAM_ENDPOINT": path}, timeout=DEADLINE_S)
    assert figures(done)["stream"] == "bench"
    broker.stop()


def test_wrong_usage(scratch):
    broker = Broker(scratch)
    for args in (("--seconds", "0"), ("--seconds", "x"), ("--record-bytes", "11MiB"), ("--connections", "0"), ("word",),
                 ("--in-flight", "-1"), ("--rate", "-5"), ("--shards", "many"), ("--colour",), ("--keys", "0")):
        done = bench(broker, "produce", *args)
        assert done.returncode == 2 and not done.stdout, (args, done)
    assert bench(broker, "consume", "--rate", "5").returncode == 2
    assert subprocess.run([BENCH], stderr=subprocess.PIPE).returncode == 2
    assert b"produce" in subprocess.run([BENCH, "--help"], stdout=subprocess.PIPE).stdout
    assert subprocess.run([BENCH, "--version"], stdout=subprocess.PIPE).returncode == 0
    done = bench(broker, "produce", "--stream", "unknown", output="table")
    assert done.returncode == 4 and b"--shards" in done.stderr, done
    broker.client().create_stream("two", shards=2)
    assert bench(broker, "produce", "--stream", "two", "--shards", "3").returncode == 5
    done = bench(broker, "consume", "--stream", "two")
    assert done.returncode == 4 and b"no records" in done.stderr, done
    assert bench(broker, "produce", "--stream", "two", "--server-pid", "2147483600").returncode == 4
    error = json.loads(bench(broker, "produce", "--stream", "unknown").stderr)["error"]
    assert error["code"] == "KS_NOT_FOUND", error
    address = endpoint(broker)
    broker.stop()
    done = subprocess.run([BENCH, "produce", "--endpoint", address], stderr=subprocess.PIPE, timeout=DEADLINE_S)
    assert done.returncode == 7, done


def start(broker, *args):
    return subprocess.Popen([BENCH, *args, "--endpoint", endpoint(broker), "--output", "json", "--seconds", "60"],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def must_refuse(run):
    out, err = run.communicate(timeout=DEADLINE_S)
    assert run.returncode not in (0, 2) and out == b"", (run.returncode, out, err)
    # Killed before it began, it has no more to say than that.
    assert re.search("no result|lost the connection", json.loads(err)["error"]["message"]), err


def wait_records(broker, name):
    client = broker.client()

    def has_records():
        try:
            return client.get(client.iterator(name))
        except Refused as error:  # the stream is still being made
            assert error.is_("KS_NOT_FOUND"), error
            return None
    wait_until(has_records, "records arrive")


def test_killed_broker(scratch):
    """Whether it stays away or comes back at once: what was measured is worth nothing."""
    for verb in ("produce", "latency", "consume"):
        broker = Broker(scratch, data_dir=os.path.join(scratch, verb))
        bench(broker, "produce", "--shards", "1", "--seconds", "0.1")
        run = start(broker, verb)
        wait_records(broker, "bench")
        broker.kill()
        must_refuse(run)
    broker = Broker(scratch, data_dir=os.path.join(scratch, "restart"))
    host_port = endpoint(broker)
    run = start(broker, "produce", "--shards", "1")
    wait_records(broker, "bench")
    broker.kill()
    broker = Broker(scratch, "--listen", host_port, data_dir=os.path.join(scratch, "restart"))
    must_refuse(run)
    broker.stop()


def test_acknowledgements_that_never_come(scratch):
    broker = Broker(scratch)
    run = start(broker, "produce", "--shards", "1", "--timeout", "0.5")
    wait_records(broker, "bench")
    broker.process.send_signal(signal.SIGSTOP)
    try:
        must_refuse(run)
    finally:
        broker.process.send_signal(signal.SIGCONT)
    broker.stop()


def test_damaged_record(scratch):
    broker = Broker(scratch, "--flush-age", "1ms")
    bench(broker, "produce", "--shards", "1", "--seconds", "0.1", "--rate", "1000")
    broker.stop()
    for folder, _, names in os.walk(os.path.join(broker.data_dir, "segments")):
        for name in names:
            with open(os.path.join(folder, name), "r+b") as file:
                content = file.read()
                at = content.find(b"key-000000000000")
                if at >= 0:
                    file.seek(at + 500)
                    file.write(bytes([content[at + 500] ^ 1]))
    broker = Broker(scratch)
    done = bench(broker, "consume", "--seconds", "5")
    assert done.returncode == 1 and not done.stdout and b"damaged" in done.stderr, done
    broker.stop()


if __name__ == "__main__":
    run_tests(test_every_verb, test_unix_socket, test_wrong_usage, test_killed_broker,
              test_acknowledgements_that_never_come, test_damaged_record)
