"""A stream whose puts are answered from memory: what that changes, and what it must not change."""
import json, os, subprocess
from kstream_test import *
from test_routed import Router, part

KSTREAMCTL = os.environ.get("KSTREAMCTL", "build/release/tools/kstreamctl")
PUT = os.environ.get("EXAMPLES", "build/release/client/examples") + "/kstream-example-producer"
ACK_OF_CREATE = 100


def ctl(broker, *words):
    """(exit code, stdout, stderr)"""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("KSTREAM_")}
    environment["KSTREAM_ENDPOINT"] = broker.addresses["native"]
    done = subprocess.run([KSTREAMCTL, *words], env=environment, capture_output=True, stdin=subprocess.DEVNULL,
                          timeout=DEADLINE_S)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def described_ack(broker, name):
    code, out, err = ctl(broker, "describe-stream", name, "-o", "json")
    assert code == 0, err
    ack = json.loads(out)["StreamDescription"]["Ack"]
    code, out, err = ctl(broker, "describe-stream-summary", name, "-o", "json")
    assert code == 0 and json.loads(out)["StreamDescriptionSummary"]["Ack"] == ack, (out, err)
    return ack


def test_the_choice_is_made_at_create_and_shown(scratch):
    broker = Broker(scratch)
    for words, ack in ((["plain"], "durable"), (["strict", "--ack", "durable"], "durable"),
                       (["quick", "--ack", "memory"], "memory")):
        code, _, err = ctl(broker, "create-stream", *words)
        assert code == 0, err
        assert described_ack(broker, words[0]) == ack
    code, _, err = ctl(broker, "create-stream", "wrong", "--ack", "maybe")
    assert code == 2 and "durable or memory" in err, (code, err)
    try:
        broker.client().call(CREATE, (1, "wrong"), (2, 1), (ACK_OF_CREATE, "maybe"))
        raise AssertionError("an unknown ack was taken")
    except Refused as error:
        assert error.is_("KS_VALIDATION") and "durable, memory" in error.message, error
    broker.kill()
    broker = Broker(scratch)
    assert described_ack(broker, "quick") == "memory" and described_ack(broker, "plain") == "durable"
    broker.stop()


def test_readers_see_only_what_a_crash_leaves(scratch):
    broker = Broker(scratch)
    client = broker.client()
    client.call(CREATE, (1, "s"), (2, 1), (ACK_OF_CREATE, "memory"))
    sent = []
    for round_number in range(4):
        answered = seen = 0
        reader = broker.client()
        at = reader.iterator("s", 0, "LATEST")
        while answered < 300:
            for i in range(50):
                client.send(PUT_RECORD, encode((1, "s"), (2, b"%d-%d" % (round_number, answered + i)), (3, "k")))
            for i in range(50):
                assert client.receive()[1] == PUT_RECORD
            sent += [b"%d-%d" % (round_number, answered + i) for i in range(50)]
            answered += 50
            records = reader.get(at)
            at = records.next
            seen = max([seen] + [sequence for sequence, _, _ in records])
        broker.kill()
        broker = Broker(scratch)
        client = broker.client()
        found = [data for _, _, data in client.read_all("s")[0]]
        assert len(found) >= seen, "a reader saw %d records, %d are left" % (seen, len(found))
        assert found == sent[:len(found)], "lost other than from the end"
        sent = found
    # A clean stop loses nothing.
    for i in range(200):
        client.send(PUT_RECORD, encode((1, "s"), (2, b"last-%d" % i), (3, "k")))
    for i in range(200):
        assert client.receive()[1] == PUT_RECORD
    broker.stop()
    broker = Broker(scratch)
    found = [data for _, _, data in broker.client().read_all("s")[0]]
    assert found == sent + [b"last-%d" % i for i in range(200)]
    broker.stop()


def test_a_repeated_batch_is_stored_once(scratch):
    broker = Broker(scratch)
    client = broker.client()
    client.call(CREATE, (1, "s"), (2, 1), (ACK_OF_CREATE, "memory"))
    router = Router(client, "s")
    batches = [[encode_record("k", b"%d-%d" % (n, i)) for i in range(3)] for n in range(5)]
    put = lambda n: router.put(part(0, batches[n], producer=7, sequence=n + 1, first=n == 0))[0]
    assert [put(n)[2][0] for n in range(5)] == [1, 4, 7, 10, 13]
    again = put(4)
    assert again[2][0] == 13 and again[6][0] == 1, again
    wait_until(lambda: len(client.read_all("s")[0]) == 15, "everything is durable")
    broker.kill()
    broker = Broker(scratch)
    client = broker.client()
    router = Router(client, "s")
    again = put(4)
    assert again[2][0] == 13 and again[6][0] == 1, again
    assert len(client.read_all("s")[0]) == 15
    broker.stop()


def test_a_producer_goes_on_after_a_crash(scratch):
    """libkstream: a gap that the crash tore into its batches is no reason to stop or to repeat."""
    broker = Broker(scratch)
    client = broker.client()
    client.call(CREATE, (1, "clicks"), (2, 2), (ACK_OF_CREATE, "memory"))
    native, http = broker.addresses["native"], broker.addresses["http"]
    producer = subprocess.Popen([PUT, "clicks", native], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    lines = [b"key%d line %d\n" % (i % 20, i) for i in range(30000)]
    fed = 0
    while fed < 10000 or min(len(records) for records in client.read_all("clicks", 2).values()) == 0:
        producer.stdin.write(b"".join(lines[fed:fed + 500]))  # it has no thread: it works while it is fed
        producer.stdin.flush()
        fed += 500
    broker.kill()
    broker = Broker(scratch, "--listen", native, "--http", http)
    producer.stdin.write(b"".join(lines[fed:]))
    producer.stdin.close()
    said = producer.stderr.read().decode()
    assert producer.wait(DEADLINE_S) == 0, said
    client = broker.client()
    everything = lambda: [data + b"\n" for records in client.read_all("clicks", 2).values() for _, _, data in records]
    wait_until(lambda: lines[-1] in everything(), "the last line is durable")
    found = everything()
    assert len(set(found)) == len(found), "a line is stored twice"
    assert set(found) <= set(lines)
    for key in range(20):
        prefix = b"key%d " % key
        numbers = [int(line.split()[2]) for line in found if line.startswith(prefix)]
        assert numbers == sorted(numbers), "the order of key %d" % key
    broker.stop()


if __name__ == "__main__":
    run_tests(test_the_choice_is_made_at_create_and_shown, test_readers_see_only_what_a_crash_leaves,
              test_a_repeated_batch_is_stored_once, test_a_producer_goes_on_after_a_crash)
