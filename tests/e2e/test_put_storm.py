"""Who puts more than the disk takes waits on itself. The disk is slow here for real: the committer's thread is held."""
import contextlib
from held_thread import hold_thread, let_thread_go, thread_of
from kstream_test import *

MIB = 1 << 20
WHOLE = 16 * MIB  # limits.in_flight


@contextlib.contextmanager
def held_committer(broker):
    tid = thread_of(broker.process, "ks-commit")
    hold_thread(tid)
    try:
        yield
    finally:
        let_thread_go(tid)


def put_message(data, key="k"):
    return encode((1, "s"), (2, data), (3, key))


def credit_of(client):
    client.send(PING, b"")
    _, op, _, credit = client.receive()
    assert op == PING
    return credit


def others_go_on(client):
    """Reads, questions, and changes of another kind."""
    assert client.get(client.iterator("s"), limit=1)[0][2] == b"before"
    client.call(DESCRIBE, (1, "s"))
    client.call(PING)


def with_stream(broker):
    client = broker.client()
    client.create_stream("s", 4)
    client.call(PUT_RECORD, (1, "s"), (2, b"before"), (3, "k"), (4, "0"))
    return client


def test_what_waits_for_the_disk_holds_up_puts_alone(scratch):
    """Reads and questions overtake the puts before them on the same connection, however many of those wait."""
    broker = Broker(scratch)
    others = with_stream(broker)
    client = broker.client()
    whole = credit_of(client)
    assert whole == WHOLE, whole
    with held_committer(broker):
        puts = [client.send(PUT_RECORD, put_message(b"%d" % i + bytes(100000))) for i in range(120)]  # within the credit
        ping = client.send(PING, b"")
        describe = client.send(DESCRIBE, encode((1, "s")))
        read = client.send(GET_ITERATOR, encode((1, "s"), (2, "shardId-%012d" % 0), (3, "TRIM_HORIZON")))
        assert [client.receive()[:2] for _ in range(3)] == [(ping, PING), (describe, DESCRIBE), (read, GET_ITERATOR)]
        others_go_on(others)
    answers = [client.receive() for _ in puts]
    assert [answer[:2] for answer in answers] == [(put, PUT_RECORD) for put in puts], "answered in order, none refused"
    # One shard took all of them, in the order they came.
    rows = [row for shard in others.read_all("s", 4).values() for row in shard if row[2] != b"before"]
    assert [int(data[:3].rstrip(b"\0")) for _, _, data in rows] == list(range(120))
    assert credit_of(client) == whole, "the credit is whole again"
    broker.stop()


def test_a_storm_is_read_no_further_and_costs_no_more(scratch):
    """It sends whatever the socket takes: the broker keeps its in-flight limit of it."""
    broker = Broker(scratch)
    others = with_stream(broker)
    before = broker.rss_bytes("RssAnon")
    storm = broker.connect()
    storm.setblocking(False)
    request, sent = frame(7, PUT_RECORD, put_message(bytes(100000))), 0
    with held_committer(broker):
        with contextlib.suppress(BlockingIOError):
            while sent < 200 * MIB:
                sent += storm.send(request[sent % len(request):])
        grown = broker.rss_bytes("RssAnon") - before
        # Its socket's buffers are the kernel's.
        assert sent < 100 * MIB, "the broker took %d MiB" % (sent // MIB)
        assert grown < 2 * WHOLE, "the broker grew by %d MiB" % (grown // MIB)
        others_go_on(others)
        others.send(PUT_RECORD, put_message(b"beside"))
    assert others.receive()[1] == PUT_RECORD
    storm.close()  # in the middle of it
    wait_until(lambda: broker.rss_bytes("RssAnon") - before < 2 * WHOLE, "what the storm held is gone")
    others_go_on(others)
    broker.stop()


def test_credit_shrinks_before_puts_are_refused(scratch):
    """Memory fills up with records that are not on disk: less credit from 75 % on, then throttled, then all is well again."""
    broker = Broker(scratch, "--memory", "16MiB")
    others = with_stream(broker)
    crowd, credits = [], [credit_of(others)]
    with held_committer(broker):
        for n in range(20):
            client = broker.client()
            put = client.send(PUT_RECORD, put_message(bytes(MIB - 100), "k%d" % n))
            ping = client.send(PING, b"")
            got, op, message, _ = client.receive()
            if got == put:  # the broker looks at its memory once in a millisecond: this one came in between
                assert op == ERROR and Refused(decode(message)).is_("KS_THROTTLED"), (op, message)
                got, op, _, _ = client.receive()
            else:
                crowd.append((client, put))
            assert (got, op) == (ping, PING)  # it has looked at the put
            credits.append(credit_of(others))
        # From 90 % on they wait; who has waited for a second tries.
        assert len(crowd) > 15, len(crowd)
        last, put = crowd[-1]
        got, op, message, _ = last.receive()
        assert (got, op) == (put, ERROR) and Refused(decode(message)).is_("KS_THROTTLED"), (got, op)
        others_go_on(others)
        credits.append(credit_of(others))
    pressed = credits[-1]
    assert credits[0] == WHOLE and pressed < WHOLE // 8, credits
    assert any(pressed < credit < WHOLE for credit in credits), "it did not shrink by and by: %s" % credits
    crowd = crowd[:10]  # far from 90 %
    for client, put in crowd:
        assert client.receive()[:2] == (put, PUT_RECORD)
    wait_until(lambda: credit_of(others) == WHOLE, "the credit is whole again")
    others.put_patiently("s", [("k", b"after")])
    broker.stop()


if __name__ == "__main__":
    run_tests(test_what_waits_for_the_disk_holds_up_puts_alone, test_a_storm_is_read_no_further_and_costs_no_more,
              test_credit_shrinks_before_puts_are_refused)
