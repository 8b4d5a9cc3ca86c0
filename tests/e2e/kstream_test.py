"""What the end-to-end tests share: a broker on free ports and its own directory, and a client of 150 lines.

A test is a script: exit 0 passed, 77 skipped (it says why), anything else failed. KSTREAMD names the binary.
Standard library only. Nothing sleeps for a fixed time: waits poll for a condition until a deadline.
"""
import glob, os, shutil, signal, socket, struct, subprocess, sys, tempfile, time, traceback, urllib.error, urllib.request

KSTREAMD = os.environ.get("KSTREAMD", "build/release/daemon/kstreamd")
DEADLINE_S = float(os.environ.get("KSTREAM_TEST_DEADLINE_S", "30"))


class Skip(Exception):
    """The machine cannot make the condition; the reason is printed."""


def wait_until(condition, what, seconds=None):
    end = time.monotonic() + (seconds or DEADLINE_S)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("timed out waiting until " + what)
        time.sleep(0.005)


def need_root(why):
    if os.geteuid() != 0:
        raise Skip("needs root: " + why)


def run_tests(*tests):
    """Runs each test with a scratch directory; the first failure ends."""
    skipped = 0
    for test in tests:
        scratch = tempfile.mkdtemp(prefix="kstream-e2e-")
        try:
            test(scratch)
            print("ok   ", test.__name__)
        except Skip as reason:
            skipped += 1
            print("SKIP ", test.__name__ + ":", reason)
        except BaseException:
            traceback.print_exc()
            print("FAIL ", test.__name__)
            for broker in Broker.alive:
                broker.kill()
            print(Broker.logs(scratch))
            sys.exit(1)
        finally:
            for broker in list(Broker.alive):
                broker.kill()
            shutil.rmtree(scratch, ignore_errors=True)
    sys.exit(77 if skipped == len(tests) else 0)


# ---- the broker ----

class Broker:
    alive = []

    def __init__(self, scratch, *flags, data_dir=None, wait=True, unix=False, environment=None, files=None):
        """files: as under `ulimit -n`, soft and hard."""
        self.scratch = scratch
        self.data_dir = data_dir or os.path.join(scratch, "data")
        self.log_path = os.path.join(scratch, "log-%d" % len(os.listdir(scratch)))
        self.command = [KSTREAMD, "--config", "none", "--data-dir", self.data_dir, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0",
                        *flags]
        if unix:
            self.command += ["--unix", os.path.join(scratch, "native.sock")]
        if files:
            self.command = ["sh", "-c", 'ulimit -n %d && exec "$@"' % files, "sh"] + self.command
        self.log_file = open(self.log_path, "wb")
        environment = {**{k: v for k, v in os.environ.items() if not k.startswith("KSTREAM_")}, **(environment or {})}
        self.process = self.popen(environment)
        Broker.alive.append(self)
        if wait:
            self.wait_ready()

    def popen(self, environment):
        return subprocess.Popen(self.command, stderr=self.log_file, stdout=subprocess.DEVNULL, env=environment)

    @staticmethod
    def logs(scratch):
        text = ""
        for name in sorted(os.listdir(scratch)):
            if name.startswith("log-"):
                with open(os.path.join(scratch, name), errors="replace") as file:
                    text += "--- %s\n%s" % (name, file.read())
        return text

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()

    def wait_ready(self):
        def ready():
            if self.process.poll() is not None:
                raise AssertionError("kstreamd ended with %d:\n%s" % (self.process.returncode, self.log()))
            return "daemon.ready" in self.log() and os.path.exists(os.path.join(self.data_dir, "addresses"))
        wait_until(ready, "the broker is ready")
        self.read_addresses()

    def wait_listening(self):
        """For a broker whose log does not speak of being ready."""
        wait_until(lambda: os.path.exists(os.path.join(self.data_dir, "addresses")), "the broker listens")
        self.read_addresses()

    def read_addresses(self):
        with open(os.path.join(self.data_dir, "addresses")) as file:
            self.addresses = dict(line.strip().split("=", 1) for line in file)

    def wait_logged(self, text):
        wait_until(lambda: text in self.log(), "the log says '%s'" % text)

    def wait_end(self):
        """The exit code of a broker that ends by itself."""
        code = self.process.wait(DEADLINE_S)
        self.forget()
        return code

    def forget(self):
        if self in Broker.alive:
            Broker.alive.remove(self)
        self.log_file.close()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.forget()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.wait_end()
        assert code == 0, "SIGTERM ended the broker with %d:\n%s" % (code, self.log())
        for bad in ("runtime error", "WARNING: ThreadSanitizer", "daemon.unclean_stop", "daemon.cut_off"):
            assert bad not in self.log(), self.log()

    def rss_bytes(self, kind="VmRSS"):
        with open("/proc/%d/status" % self.process.pid) as file:
            for line in file:
                if line.startswith(kind + ":"):
                    return int(line.split()[1]) * 1024
        raise AssertionError("no " + kind)

    def http(self, path):
        try:
            with urllib.request.urlopen("http://%s%s" % (self.addresses["http"], path), timeout=DEADLINE_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def connect(self):
        host, port = self.addresses["native"].rsplit(":", 1)
        connection = socket.create_connection((host, int(port)), timeout=DEADLINE_S)
        return connection

    def client(self):
        return Client(self.connect())


# ---- its clocks ----

FAKE = sorted(glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1"))


class Clocks:
    """All clocks of a broker with this environment go on together, as if its machine had slept."""

    def __init__(self, scratch):
        if not FAKE:
            raise Skip("needs libfaketime (package libfaketime)")
        self.path, self.seconds = os.path.join(scratch, "offset"), 0
        self.go_on(0)
        # FORCE_MONOTONIC_FIX: left alone, waits on a condition end at once.
        self.environment = {"LD_PRELOAD": FAKE[0], "FAKETIME_TIMESTAMP_FILE": self.path, "FAKETIME_NO_CACHE": "1",
                            "FAKETIME_DONT_RESET": "1", "FAKETIME_FORCE_MONOTONIC_FIX": "0"}

    def go_on(self, seconds):
        self.seconds += seconds
        with open(self.path + ".new", "w") as file:
            file.write("%+d\n" % self.seconds)
        os.rename(self.path + ".new", self.path)


# ---- protobuf, as much as is needed ----

def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


class Fixed64(int):
    pass


def encode(*fields):
    """fields: (number, value): an int (varint), Fixed64, str or bytes; None is left out."""
    out = bytearray()
    for number, value in fields:
        if value is None:
            continue
        if isinstance(value, Fixed64):
            out += varint(number << 3 | 1) + struct.pack("<Q", value)
        elif isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            value = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(value)) + value
    return bytes(out)


def decode_fields(data):
    """Yields (number, value, start, end) in order; values are ints or bytes."""
    at = 0

    def read_varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
    while at < len(data):
        start = at
        key = read_varint()
        kind = key & 7
        if kind == 0:
            value = read_varint()
        elif kind == 1:
            value, at = struct.unpack_from("<Q", data, at)[0], at + 8
        elif kind == 5:
            value, at = struct.unpack_from("<I", data, at)[0], at + 4
        elif kind == 2:
            size = read_varint()
            value, at = data[at:at + size], at + size
            assert len(value) == size, "cut message"
        else:
            raise AssertionError("wire type %d" % kind)
        yield key >> 3, value, start, at


def decode(data):
    """{number: [values]}"""
    fields = {}
    for number, value, _, _ in decode_fields(data):
        fields.setdefault(number, []).append(value)
    return fields


def text(fields, number):
    return fields[number][0].decode() if number in fields else None


# ---- records ----

def crc32c_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82f63b78 if byte & 1 else 0)
        table.append(byte)
    return table


CRC32C = crc32c_table()


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc = crc >> 8 ^ CRC32C[(crc ^ byte) & 255]
    return crc ^ 0xffffffff


def encode_record(key, data, crc=None):
    """As a producer makes it: the checksum covers what follows it."""
    rest = encode((2, key)) + encode((3, data))
    record = b"\x0d" + struct.pack("<I", crc32c(rest) if crc is None else crc) + rest
    return encode((2, record))


# ---- the client ----

PING, ROUTING, RESUME, CREATE, DELETE, DESCRIBE, SUMMARY, LIST_STREAMS, LIST_SHARDS = 10, 11, 12, 20, 21, 22, 23, 24, 25
CONFIRM_CLOCK = 13
INCREASE_RETENTION, DECREASE_RETENTION, RESTORE, DESCRIBE_COMPACTOR, COMPACT = 40, 41, 60, 61, 62
PUT_RECORD, PUT_RECORDS, GET_ITERATOR, GET_RECORDS = 26, 27, 28, 29
SPLIT_SHARD, MERGE_SHARDS, UPDATE_SHARD_COUNT, UPDATE_STREAM_MODE = 30, 31, 32, 33
UPDATE_MAX_RECORD_SIZE, UPDATE_WARM_THROUGHPUT = 42, 43
ADD_TAGS, REMOVE_TAGS, LIST_TAGS, TAG_RESOURCE, UNTAG_RESOURCE, LIST_TAGS_OF_RESOURCE = 44, 45, 46, 47, 48, 49
ENABLE_MONITORING, DISABLE_MONITORING, DESCRIBE_LIMITS, DESCRIBE_ACCOUNT, UPDATE_ACCOUNT = 50, 51, 52, 53, 54
ERROR = 3


def status_number(name):
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "base", "status.def")
    with open(path) as file:
        for line in file:
            if line.startswith("KS_STATUS(%s, " % name):
                return int(line.split(",")[1])
    raise AssertionError(name)


class Refused(Exception):
    def __init__(self, fields):
        self.status = fields[1][0]
        self.message = text(fields, 2)
        self.exception = text(fields, 3)
        super().__init__("%d %s: %s" % (self.status, self.exception, self.message))

    def is_(self, name):
        return self.status == status_number(name)


def frame(request_id, op, message):
    body = encode((1, request_id), (op, message))
    return struct.pack(">I", len(body)) + body


class Records(list):
    """(sequence, key, data) tuples, and what stood around them."""


class Client:
    def __init__(self, connection):
        self.connection = connection
        self.received = bytearray()
        self.next_id = 1

    def close(self):
        self.connection.close()

    def send(self, op, message):
        request_id = self.next_id
        self.next_id += 1
        self.connection.sendall(frame(request_id, op, message))
        return request_id

    def read_exactly(self, size):
        while len(self.received) < size:
            more = self.connection.recv(1 << 20)
            if not more:
                raise ConnectionError("closed by the broker")
            self.received += more
        data = bytes(self.received[:size])
        del self.received[:size]
        return data

    def receive(self):
        """(request id, op, message, put credit)"""
        size = struct.unpack(">I", self.read_exactly(4))[0]
        fields = decode(self.read_exactly(size))
        op = next(number for number in fields if number > 2)
        return fields[1][0], op, fields[op][0], fields[2][0]

    def call(self, op, *fields):
        request_id = self.send(op, encode(*fields))
        got_id, got_op, message, _ = self.receive()
        assert got_id == request_id, "answer %d for request %d" % (got_id, request_id)
        if got_op == ERROR:
            raise Refused(decode(message))
        assert got_op == op
        return message

    def create_stream(self, name, shards=1):
        self.call(CREATE, (1, name), (2, shards))

    def put(self, name, records):
        """[(key, data)] -> [(shard, sequence)] in order; raises at the first failed part."""
        entries = [(1, encode((1, data), (3, key))) for key, data in records]
        fields = decode(self.call(PUT_RECORDS, *entries, (2, name)))
        parts = [decode(part) for part in fields.get(2, [])]
        for part in parts:
            if 7 in part:
                raise Refused(decode(part[7][0]))
        indexes, packed = [], fields[3][0]
        at = 0
        while at < len(packed):
            value = shift = 0
            while True:
                byte = packed[at]
                at += 1
                value |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            indexes.append(value)
        taken = [0] * len(parts)
        result = []
        for index in indexes:
            result.append((parts[index][1][0], parts[index][2][0] + taken[index]))
            taken[index] += 1
        assert len(result) == len(records)
        return result

    def put_patiently(self, name, records):
        """As put, for a stream of one shard: again when throttled, which stored nothing."""
        def stored():
            try:
                return self.put(name, records)
            except Refused as error:
                if error.is_("KS_THROTTLED"):
                    return None
                raise
        return wait_until(stored, "a throttled put is taken")

    def iterator(self, name, shard=0, kind="TRIM_HORIZON", sequence=None, unix_ms=None):
        fields = decode(self.call(GET_ITERATOR, (1, name), (2, "shardId-%012d" % shard), (3, kind), (4, sequence),
                                  (5, unix_ms)))
        return text(fields, 1)

    def get(self, iterator, limit=None, max_bytes=None, wait_ms=None):
        message = self.call(GET_RECORDS, (1, iterator), (2, limit), (5, max_bytes), (6, wait_ms))
        fields = decode(message)
        records = Records()
        records.next = text(fields, 1)
        records.behind_ms = fields[2][0] if 2 in fields else None
        records.children = fields.get(3, [])
        records.segment = fields[15][0] if 15 in fields else b""
        records.damaged = 0
        skip, take = fields[6][0], fields[7][0]
        for _, batch, _, _ in decode_fields(records.segment):
            parts = list(decode_fields(batch))
            header = decode(parts[0][1])
            if header[8][0] == 2:
                records.damaged += header[5][0]
            for n, (number, record, _, _) in enumerate(part for part in parts[1:] if part[0] == 2):
                if skip > 0:
                    skip -= 1
                elif take > 0:
                    take -= 1
                    record = decode(record)
                    records.append((header[3][0] + n, record[2][0].decode(), record[3][0]))
        return records

    def read_all(self, name, shards=1, limit=None):
        """Every record from the start: {shard: [(sequence, key, data)]}"""
        result = {}
        for shard in range(shards):
            result[shard] = []
            at = self.iterator(name, shard)
            while at:
                records = self.get(at, limit=limit)
                result[shard] += records
                at = records.next
                if not records and records.behind_ms == 0:
                    break
        return result
