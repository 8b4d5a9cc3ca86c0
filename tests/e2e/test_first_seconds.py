"""A new directory takes what comes from the moment it is ready: nothing is refused while the journal is still being made."""
import os, threading
from kstream_test import *

MIB = 1 << 20


def big_records(count):
    return [("key-%d" % i, bytes([i]) * (MIB - 64)) for i in range(count)]


def read_back(client):
    return [(key, data) for _, key, data in client.read_all("s")[0]]


def test_the_first_put_may_be_of_any_size(scratch):
    records = big_records(10)  # what PutRecords takes at most
    for i in range(3):
        broker = Broker(scratch, data_dir=os.path.join(scratch, "data-%d" % i))
        client = broker.client()
        client.create_stream("s")
        client.put("s", records)
        assert read_back(client) == records
        broker.stop()


def flood(client, puts, under_way_max, failures):
    """So many puts of 2 MiB, some of them under way at a time."""
    records = big_records(2)
    request = encode(*[(1, encode((1, data), (3, key))) for key, data in records], (2, "s"))
    try:
        under_way = 0
        for sent in range(puts):
            client.send(PUT_RECORDS, request)
            under_way += 1
            while under_way == under_way_max or (sent == puts - 1 and under_way > 0):
                _, op, message, _ = client.receive()
                under_way -= 1
                if op == ERROR:
                    raise Refused(decode(message))
                for part in decode(message)[2]:
                    if 7 in decode(part):
                        raise Refused(decode(decode(part)[7][0]))
    except Exception as error:  # told by the one that waits for this thread
        failures.append(error)


def test_a_flood_at_once_may_be_slowed_but_is_not_refused(scratch):
    broker = Broker(scratch)
    clients = [broker.client() for _ in range(4)]
    clients[0].create_stream("s")
    failures = []
    threads = [threading.Thread(target=flood, args=(client, 20, 5, failures)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    records = read_back(clients[0])
    assert len(records) == 4 * 20 * 2 and set(records) == set(big_records(2))
    broker.stop()


run_tests(test_the_first_put_may_be_of_any_size, test_a_flood_at_once_may_be_slowed_but_is_not_refused)
