"""libkstream as a user's program meets it: the examples, linked against the shared library, and a broker that is killed."""
import os
import subprocess
import threading

from kstream_test import Broker, run_tests, wait_until

PUT = os.environ["EXAMPLE_PUT"]
TAIL = os.environ["EXAMPLE_TAIL"]
LIBRARY = os.environ["LIBKSTREAM"]
LINES = 30000
KILLS = 3


def read_all(endpoint, count, scratch):
    """What the tail example prints, until it has printed count lines."""
    path = os.path.join(scratch, "tail.out")
    with open(path, "wb") as out:
        tail = subprocess.Popen([TAIL, "clicks", endpoint], stdout=out)
        try:
            def has_all():
                with open(path, "rb") as lines:
                    return lines.read().count(b"\n") >= count
            wait_until(has_all, "tail has printed %d lines" % count)
        finally:
            tail.kill()
            tail.wait()
    with open(path, "rb") as lines:
        return lines.read().split(b"\n")[:-1]


def a_producer_survives_kills_without_loss_or_duplicates(scratch):
    broker = Broker(scratch)
    broker.client().create_stream("clicks", shards=3)
    native, http = broker.addresses["native"], broker.addresses["http"]
    producer = subprocess.Popen([PUT, "clicks", native], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    sent = [b"key%d line %d" % (i % 50, i) for i in range(LINES)]
    part = LINES // (KILLS + 1)
    for kill in range(KILLS + 1):
        feeder = threading.Thread(
            target=lambda lines=sent[kill * part:(kill + 1) * part]: (
                producer.stdin.write(b"".join(line + b"\n" for line in lines)), producer.stdin.flush()))
        feeder.start()
        if kill < KILLS:
            broker.kill()
            broker = Broker(scratch, "--listen", native, "--http", http)
        feeder.join()
    producer.stdin.close()
    said = producer.stderr.read().decode()
    assert producer.wait() == 0, said
    assert ("%d records durable" % LINES) in said, said
    found = read_all(native, LINES, scratch)
    assert sorted(found) == sorted(sent), "%d sent, %d found" % (len(sent), len(found))
    for key in range(50):
        prefix = b"key%d " % key
        assert [x for x in found if x.startswith(prefix)] == [x for x in sent if x.startswith(prefix)], prefix
    broker.stop()


def the_shared_library_exports_its_api_only(_scratch):
    listing = subprocess.run(["nm", "-D", "--defined-only", LIBRARY], check=True, stdout=subprocess.PIPE, text=True)
    names = {line.split()[-1].split("@")[0] for line in listing.stdout.splitlines()}
    others = {name for name in names if not name.startswith("kstream_") and name != "KSTREAM_0"}
    assert "kstream_producer_put" in names and not others, others


run_tests(a_producer_survives_kills_without_loss_or_duplicates, the_shared_library_exports_its_api_only)
