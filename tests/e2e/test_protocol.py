"""docs/kstream-protocol.md: its programs run against a broker, its tables agree with the sources, its sizes are true."""
import re
from kstream_test import *

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
LINES_MAX = 30


def read(path):
    with open(os.path.join(ROOT, path)) as file:
        return file.read()


def programs():
    return re.findall(r"^```python\n(.*?)^```$", read("docs/kstream-protocol.md"), re.M | re.S)


def run(program, broker):
    host, port = broker.addresses["native"].rsplit(":", 1)
    done = subprocess.run([sys.executable, "-c", program, host, port], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=DEADLINE_S)
    return done.returncode, done.stdout, done.stderr


def test_the_thirty_lines_put_and_read(scratch):
    program = programs()[0]
    assert program.count("\n") <= LINES_MAX, "%d lines" % program.count("\n")
    broker = Broker(scratch)
    code, out, err = run(program, broker)
    assert code == 1 and "not found" in err, (code, out, err)  # there is no stream yet: an Error, told
    client = broker.client()
    client.create_stream("clicks")
    for turn in range(1, 3):
        code, out, err = run(program, broker)
        lines = out.splitlines()
        assert code == 0, err
        assert re.fullmatch(r"stored as \d{56}", lines[0]), out
        assert lines[1:] == ["a key some data"] * turn, out
    broker.stop()


def test_a_record_in_the_middle_of_a_batch_is_where_skip_and_take_say(scratch):
    """The thirty lines, but for an iterator into the middle of a batch."""
    broker = Broker(scratch)
    client = broker.client()
    client.create_stream("clicks")
    client.put("clicks", [("key", "data-%d" % i) for i in range(5)])
    answer = client.call(PUT_RECORD, (1, "clicks"), (2, b"last"), (3, "key"))
    number = text(decode(answer), 2)
    program = programs()[0].replace('(3, b"TRIM_HORIZON")', '(3, b"AT_SEQUENCE_NUMBER"), (4, sys.argv[3].encode())')
    host, port = broker.addresses["native"].rsplit(":", 1)
    # One whose arrival is not known is as good: the page says that 0 is accepted.
    digits = "%x" % int(number)
    third = str(int(digits[:11] + "%016x" % 3 + "00" + "0" * 9 + digits[38:], 16))
    for start, expected in ((number, ["key last"]), (third, ["key data-2", "key data-3", "key data-4", "key last"])):
        out = subprocess.run([sys.executable, "-c", program, host, port, start], stdout=subprocess.PIPE, text=True, check=True).stdout
        assert [line for line in out.splitlines() if line.startswith("key")] == expected, out
    broker.stop()


def test_a_routed_put_sent_twice_is_stored_once(scratch):
    broker = Broker(scratch, "--verify-routing", "all")
    client = broker.client()
    client.create_stream("clicks", 4)
    code, out, err = run("\n".join(programs()), broker)
    assert code == 0, err
    lines = out.splitlines()[-2:]
    assert lines[0].endswith("stored now") and lines[1].endswith("stored before"), out
    assert lines[0].split()[1] == lines[1].split()[1], out
    stored = [data for records in client.read_all("clicks", 4).values() for _, key, data in records if key == "another key"]
    assert stored == [b"one", b"two"]
    broker.stop()


def rows(heading):
    page = read("docs/kstream-protocol.md")
    section = page[page.index("\n## %s\n" % heading):]
    found = re.findall(r"^\| (\d+) \|(.*)\|$", section.split("\n## ", 2)[1], re.M)
    return {int(number): [cell.strip().strip("`") for cell in rest.split(" | ")] for number, rest in found}


def test_the_table_of_errors_is_that_of_the_sources(_scratch):
    pattern = r'^KS_STATUS\((\w+), (\d+), "(.*?)", (\d+), (\d+), (true|false), "(.*)"\)$'
    expected = {int(number): [name, exception, http, code, "yes" if retryable == "true" else "no", meaning]
                for name, number, exception, http, code, retryable, meaning in re.findall(pattern, read("base/status.def"), re.M)}
    assert len(expected) > 30 and rows("Errors") == expected, "base/status.def and the page differ"


def test_the_table_of_operations_is_that_of_the_sources(_scratch):
    expected = {int(number): name for number, name in re.findall(r'^KS_OPERATION\(\w+, (\d+), "(\w+)"', read("proto/operations.def"), re.M)}
    found = {number: cells[0] for number, cells in rows("Operations").items()}
    assert found == expected, "proto/operations.def and the page differ: %s" % (set(found.items()) ^ set(expected.items()))
    messages = "".join(read("proto/%s.proto" % name) for name in ("api", "observe", "settings"))
    for number, cells in rows("Operations").items():
        assert "message %sRequest {" % expected[number] in messages, cells


def test_the_header_has_the_numbers_of_the_table(_scratch):
    header = read("client/kstream.h")
    found = {name: int(number) for name, number in re.findall(r"^    KSTREAM_(\w+) = (\d+)", header, re.M)}
    for number, cells in rows("Errors").items():
        assert found[cells[0][len("KS_"):]] == number, cells


def test_the_limits_of_the_page_are_those_of_the_sources(_scratch):
    limits, producers, conn = read("proto/limits.h"), read("storage/producers.h"), read("daemon/conn.h")
    page = " ".join(read("docs/kstream-protocol.md").split())
    for source, define, value, words in (
            (limits, "KS_PUT_PARTS_MAX", "512u", "up to 512 `shard_puts`"), (limits, "KS_GET_WAIT_MS_MAX", "30000u", "up to 30000"),
            (producers, "KS_PRODUCERS_MAX", "128", "128 last producers"), (conn, "KS_CONN_CALLS_MAX", "4096u", "4096 unanswered requests")):
        assert re.search(r"#define %s\s+\\?\s*%s\b" % (define, value), source), define
        assert words in page, words
    assert re.search(r"KS_PUT_ROUTED_RECORDS_MAX\s+\\\s*16384u", limits) and "16384 records" in page
    assert re.search(r"KS_PRODUCER_BATCHES\s+\\\s*10 ", producers) and "last ten batches" in page


if __name__ == "__main__":
    run_tests(test_the_thirty_lines_put_and_read, test_a_record_in_the_middle_of_a_batch_is_where_skip_and_take_say,
              test_a_routed_put_sent_twice_is_stored_once, test_the_table_of_errors_is_that_of_the_sources,
              test_the_table_of_operations_is_that_of_the_sources, test_the_header_has_the_numbers_of_the_table,
              test_the_limits_of_the_page_are_those_of_the_sources)
