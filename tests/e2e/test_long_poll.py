"""Long-polls: GetRecords with wait_ms stays with its shard until a record is durable there."""
import os
from kstream_test import *

MIB = 1 << 20
WAIT_MS = 30000


def open_readers(broker, name, count, shard=0, wait_ms=WAIT_MS):
    """count connections, each with one long-poll under way behind what is in the shard."""
    first = broker.client()
    token = first.iterator(name, shard, "LATEST")
    readers = [first] + [broker.client() for _ in range(count - 1)]
    for reader in readers:
        reader.send(GET_RECORDS, encode((1, token), (6, wait_ms)))
    return readers


def answer_of(reader):
    """(data of the records, next iterator) of the answer that is due."""
    _, op, message, _ = reader.receive()
    assert op == GET_RECORDS, (op, message)
    fields = decode(message)
    data = []
    for _, batch, _, _ in decode_fields(fields[15][0] if 15 in fields else b""):
        data += [decode(record)[3][0] for number, record, _, _ in decode_fields(batch) if number == 2]
    return data, text(fields, 1)


def is_silent(reader):
    reader.connection.setblocking(False)
    try:
        return not reader.connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    finally:
        reader.connection.setblocking(True)
        reader.connection.settimeout(DEADLINE_S)


def test_a_record_wakes_those_who_wait_for_its_shard(scratch):
    broker = Broker(scratch)
    client = broker.client()
    client.create_stream("one")
    client.create_stream("other")
    on_one = open_readers(broker, "one", 5)
    on_other = open_readers(broker, "other", 5)
    for i in range(3):
        client.put("one", [("k", b"news %d" % i)])
        for reader in on_one:
            data, token = answer_of(reader)
            assert data == [b"news %d" % i], data
            reader.send(GET_RECORDS, encode((1, token), (6, WAIT_MS)))
    assert all(is_silent(reader) for reader in on_other)
    client.put("other", [("k", b"at last")])
    assert all(answer_of(reader)[0] == [b"at last"] for reader in on_other)
    # A wait that ends without news is answered with nothing and a way to go on.
    patient = open_readers(broker, "one", 1, wait_ms=50)[0]
    data, token = answer_of(patient)
    assert data == [] and token
    broker.stop()  # the readers of "one" still wait: answered, not cut off


def test_a_deleted_stream_is_told_to_those_who_wait(scratch):
    broker = Broker(scratch)
    client = broker.client()
    client.create_stream("s")
    readers = open_readers(broker, "s", 3)
    client.call(DELETE, (1, "s"))
    for reader in readers:
        _, op, message, _ = reader.receive()
        assert op == ERROR and decode(message)[1][0] == status_number("KS_NOT_FOUND"), decode(message)
    broker.stop()


def test_waiting_connections_that_go_leave_nothing_behind(scratch):
    broker = Broker(scratch)
    client = broker.client()
    client.create_stream("s", 4)
    before = None
    for round_number in range(15):
        readers = open_readers(broker, "s", 200, shard=round_number % 4)
        for reader in readers[-2:]:  # the last ones of each loop are parked, so are the others
            request_id = reader.send(PING, b"")
            assert reader.receive()[0] == request_id
        for reader in readers:
            reader.close()
        if round_number == 2:
            before = broker.rss_bytes()
    grown = broker.rss_bytes() - before  # waits of 30 s: had they stayed, 2 400 of them
    assert grown < 10 * MIB, "waits for nobody take %d bytes" % grown
    client.put("s", [("k", b"v")])
    broker.stop()


def test_a_thousand_readers_share_one_copy(scratch):
    readers_count, put_bytes = 1000, 4 * MIB
    broker = Broker(scratch)
    client = broker.client()
    client.create_stream("s")
    data = [b"%d" % i + os.urandom(500000) for i in range(put_bytes // 500000)]
    client.put("s", [("warm", data[0])])
    before = broker.rss_bytes()
    readers = open_readers(broker, "s", readers_count)
    readers[-1].call(PING)
    parked = broker.rss_bytes() - before
    assert parked < readers_count * 32 << 10, "a waiting reader costs %d bytes" % (parked // readers_count)
    client.put("s", [("k", one) for one in data])
    for reader in readers:  # all answers are on their way, nearly all of them unread
        reader.connection.settimeout(DEADLINE_S)
        assert reader.connection.recv(1, socket.MSG_PEEK)
    grown = broker.rss_bytes() - before
    limit = readers_count * (32 << 10) + 3 * put_bytes  # request, tail and journal block: whatever the number of readers
    print("      parked %d, with unread answers %d bytes a reader" % (parked // readers_count, grown // readers_count))
    assert grown < limit, "%d bytes for %d readers of %d bytes" % (grown, readers_count, put_bytes)
    for reader in readers[::100]:
        assert answer_of(reader)[0] == data
    for reader in readers:
        reader.close()
    broker.stop()


if __name__ == "__main__":
    run_tests(test_a_record_wakes_those_who_wait_for_its_shard, test_a_deleted_stream_is_told_to_those_who_wait,
              test_waiting_connections_that_go_leave_nothing_behind, test_a_thousand_readers_share_one_copy)
