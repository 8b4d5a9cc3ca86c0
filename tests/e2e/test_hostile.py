"""The bad day, from the network: every peer here misbehaves, the one beside it must not notice."""
import os, struct
from kstream_test import *

MIB = 1 << 20


def answer_then_closed(connection):
    """What comes until the broker closes."""
    received = b""
    while True:
        try:
            more = connection.recv(1 << 16)
        except ConnectionResetError:
            return received
        if not more:
            return received
        received += more


def error_of(answer):
    """The last word: an Error for request 0."""
    fields = decode(answer[4:])
    assert fields[1][0] == 0
    return decode(fields[ERROR][0])


def test_garbage_on_the_port_is_told_and_closed(scratch):
    broker = Broker(scratch)
    neighbour = broker.client()
    neighbour.create_stream("s")
    for garbage in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
                    bytes(4), b"\x00\x00\x00\x05hello", b"\x00\x00\x00\x02\x08\x01", b"\xff" * 100000):
        connection = broker.connect()
        try:
            connection.sendall(garbage)
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = answer_then_closed(connection)
        if answer:  # a reset may overtake the last word when more input was under way
            body = decode(answer[4:])
            assert ERROR in body, body
        neighbour.put("s", [("k", b"v")])
    broker.wait_logged("connection.garbage")
    broker.wait_logged("connection.malformed_request")
    # An unknown operation is only that: the connection goes on.
    client = broker.client()
    try:
        client.call(99, (1, "x"))
        raise AssertionError("operation 99 was answered")
    except Refused as error:
        assert error.is_("KS_UNSUPPORTED"), error
    client.call(PING)
    seeds = [os.urandom(64) for _ in range(300)]
    for seed in seeds:  # well-framed nonsense
        connection = broker.connect()
        try:
            connection.sendall(struct.pack(">I", len(seed)) + seed)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        answer_then_closed(connection)
    assert len(neighbour.read_all("s")[0]) == 6
    broker.stop()


def test_frame_of_4_gib_costs_no_memory(scratch):
    broker = Broker(scratch)
    neighbour = broker.client()
    before = broker.rss_bytes()
    for size in (0xffffffff, 0x80000000, 16 * MIB + 1):
        connection = broker.connect()
        connection.sendall(struct.pack(">I", size))
        error = error_of(answer_then_closed(connection))
        assert error[1][0] == status_number("KS_TOO_LARGE"), error
        assert b"16777216" in error[2][0] or b"16 MiB" in error[2][0], error
    assert broker.rss_bytes() - before < 16 * MIB
    neighbour.call(PING)
    broker.stop()


def test_half_a_frame_and_silence_is_cut_off(scratch):
    broker = Broker(scratch, "--frame-timeout", "200ms", "--frame-rate", "1GiB")
    neighbour = broker.client()
    halves = []
    for start in (b"\x00", struct.pack(">I", 1000), struct.pack(">I", 1000) + bytes(500),
                  struct.pack(">I", 8 * MIB) + bytes(3 * MIB)):
        connection = broker.connect()
        connection.sendall(start)
        halves.append(connection)
    idle = broker.client()  # silence between requests is fine
    for connection in halves:
        assert answer_then_closed(connection) == b""
    broker.wait_logged("connection.frame_too_slow")
    idle.call(PING)
    neighbour.call(PING)
    broker.stop()


def test_peers_that_hold_all_input_memory_starve_nobody_for_long(scratch):
    broker = Broker(scratch, "--input-memory", "32MiB", "--frame-timeout", "300ms", "--frame-rate", "1GiB")
    client = broker.client()
    client.create_stream("s")
    holders = []
    for _ in range(8):
        connection = broker.connect()
        connection.sendall(struct.pack(">I", 15 * MIB) + bytes(100000))
        holders.append(connection)
    broker.wait_logged("connection.waits_for_input_memory")
    client.put("s", [("k", b"small")])  # small requests need none of it
    # A large one finds the quarter that large frames leave alone, or waits until the holders are cut off.
    client.put_patiently("s", [("k", b"x" * (MIB // 2)) for _ in range(6)])
    client.put_patiently("s", [("k", b"x" * (MIB // 2)) for _ in range(18)])
    assert len(client.read_all("s")[0]) == 25
    broker.stop()


def test_clients_that_never_read_stay_under_the_limit(scratch):
    """
    Ten of them ask for all there is, again and again: memory for answers is bounded by the setting, not by their number. What
    is mapped of segment files comes on top: once, and the kernel can take it back.
    """
    limit = 16 * MIB
    broker = Broker(scratch, "--write-timeout", "1s", "--output-memory", "16MiB", "--output", "1MiB",
                    "--flush-age", "1ms")
    client = broker.client()
    client.create_stream("s")
    for _ in range(40):
        client.put_patiently("s", [("k%d" % i, b"x" * 100000) for i in range(10)])
    token = client.iterator("s")
    client.read_all("s")
    before, before_anonymous = broker.rss_bytes(), broker.rss_bytes("RssAnon")
    request = frame(7, GET_RECORDS, encode((1, token)))
    ping = frame(8, PING, b"")
    greedy = []
    highest = highest_anonymous = 0
    for what in [request] * 10 + [ping]:
        connection = broker.connect()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        sent = 0
        try:
            while sent < 64 * MIB:
                sent += connection.send(what * 1000)
        except BlockingIOError:
            pass  # the broker reads no further
        except ConnectionError:
            pass  # it was cut off already
        assert sent < 64 * MIB, "the broker reads requests whose answers nobody takes"
        greedy.append(connection)
    client.put("s", [("k", b"still served")])  # nobody else notices

    def measured():
        nonlocal highest, highest_anonymous
        highest = max(highest, broker.rss_bytes())
        highest_anonymous = max(highest_anonymous, broker.rss_bytes("RssAnon"))
        return "connection.never_reads" in broker.log()
    wait_until(measured, "who never reads is cut off")
    grown, grown_anonymous = highest - before, highest_anonymous - before_anonymous
    assert grown_anonymous < limit, "the broker's own memory grew by %d MiB" % (grown_anonymous // MIB)
    assert grown < limit + 40 * MIB, "the broker grew by %d MiB" % (grown // MIB)
    for connection in greedy:
        connection.close()
    assert client.get(client.iterator("s"), limit=1)
    broker.stop()


def test_client_that_reads_in_drips_is_cut_off(scratch):
    broker = Broker(scratch, "--write-timeout", "2s", "--write-rate", "100MiB")
    client = broker.client()
    client.create_stream("s")
    for _ in range(8):
        client.put_patiently("s", [("k%d" % i, b"x" * 100000) for i in range(10)])
    dripping = broker.connect()
    # 200 MB: more than the sockets of both sides take and than it reads until the broker looks.
    dripping.sendall(frame(7, GET_RECORDS, encode((1, client.iterator("s")))) * 200)

    def drips():
        # Takes something all the time, enough for the broker to see its socket move: only the rate can tell.
        dripping.recv(128 << 10)
        return "connection.reads_too_slowly" in broker.log()
    wait_until(drips, "who reads in drips is cut off")
    client.call(PING)
    broker.stop()


def test_too_many_connections_are_refused_at_once(scratch):
    broker = Broker(scratch, "--connections", "20")
    client = broker.client()
    client.call(PING)
    crowd = [broker.connect() for _ in range(40)]
    broker.wait_logged("limits.connections")
    client.call(PING)
    for connection in crowd:
        connection.close()
    wait_until(lambda: try_ping(broker), "a connection is taken again")
    broker.stop()


def try_ping(broker):
    try:
        broker.client().call(PING)
        return True
    except ConnectionError:
        return False


if __name__ == "__main__":
    run_tests(test_garbage_on_the_port_is_told_and_closed, test_frame_of_4_gib_costs_no_memory,
              test_half_a_frame_and_silence_is_cut_off, test_peers_that_hold_all_input_memory_starve_nobody_for_long,
              test_clients_that_never_read_stay_under_the_limit, test_client_that_reads_in_drips_is_cut_off,
              test_too_many_connections_are_refused_at_once)
