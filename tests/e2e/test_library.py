"""libkstream as a user's program meets it: the examples, linked against the shared library, through kills of the broker and of
themselves, and programs built against an installed copy."""
import fcntl
import re
import shlex
import subprocess
import threading
from reshard_test import *

EXAMPLES = os.environ["EXAMPLES"]
LIBRARY = os.environ["LIBKSTREAM"]
BUILD = os.environ["BUILD_ROOT"]
LINES = 30000
KILLS = 3


def example(name, *arguments, **named):
    return subprocess.Popen([os.path.join(EXAMPLES, "kstream-example-" + name), *map(str, arguments)], **named)


def start(scratch, shards):
    broker = Broker(scratch)
    broker.client().create_stream("clicks", shards)
    native = broker.addresses["native"]
    return broker, native, ("--listen", native, "--http", broker.addresses["http"])


def lines_of(path):
    with open(path, "rb") as file:
        return file.read().split(b"\n")[:-1]


def tail_until(scratch, native, count, *more):
    """What the tail example prints, until it has printed count lines."""
    path = os.path.join(scratch, "tail.out")
    with open(path, "wb") as out:
        tail = example("tail", "clicks", native, *more, stdout=out)
        try:
            wait_until(lambda: len(lines_of(path)) >= count, "tail has printed %d lines" % count)
        finally:
            tail.kill()
            tail.wait()
    return lines_of(path)


def test_a_producer_survives_kills_without_loss_or_duplicates(scratch):
    broker, native, flags = start(scratch, 3)
    producer = example("producer", "clicks", native, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    sent = [b"key%d line %d" % (i % 50, i) for i in range(LINES)]
    part = LINES // (KILLS + 1)
    for kill in range(KILLS + 1):
        feeder = threading.Thread(
            target=lambda lines=sent[kill * part:(kill + 1) * part]: (
                producer.stdin.write(b"".join(line + b"\n" for line in lines)), producer.stdin.flush()))
        feeder.start()
        if kill < KILLS:
            broker.kill()
            broker = Broker(scratch, *flags)
        feeder.join()
    producer.stdin.close()
    said = producer.stderr.read().decode()
    assert producer.wait() == 0, said
    assert ("%d records durable" % LINES) in said, said
    found = tail_until(scratch, native, LINES)
    assert sorted(found) == sorted(sent), "%d sent, %d found" % (len(sent), len(found))
    for key in range(50):
        prefix = b"key%d " % key
        assert [x for x in found if x.startswith(prefix)] == [x for x in sent if x.startswith(prefix)], prefix
    broker.stop()


def test_tail_goes_on_where_it_stopped(scratch):
    broker, native, flags = start(scratch, 2)
    client = broker.client()
    position = os.path.join(scratch, "position")
    everything = []
    for turn in range(4):
        records = [("k%d" % i, b"%d %d" % (turn, i)) for i in range(200)]
        client.put("clicks", records)
        found = tail_until(scratch, native, len(records), position)
        # Killed between printing and saving it may print its last batch again; nothing is left out.
        fresh = [line for line in found if line not in everything]
        assert sorted(fresh) == sorted(data for _, data in records)
        everything += fresh
        is_open = [shard for shard in shards_of(client, "clicks") if shard.is_open]
        if turn == 1:
            split(client, "clicks", is_open[0].index, (is_open[0].first + is_open[0].last) // 2)
        elif turn == 2:
            update_count(client, "clicks", 1)
            wait_until(lambda: status_of(client, "clicks") == "ACTIVE", "one shard is left")
    broker.stop()


def test_a_program_with_its_own_loop(scratch):
    broker, native, flags = start(scratch, 2)
    sent = b"".join(b"line %d\n" % i for i in range(20000))
    # A pipe, which is slow at times, over a kill of the broker.
    program = example("pollable", "clicks", native, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    found = []
    reader = threading.Thread(target=lambda: found.append(program.stdout.read()))
    reader.start()
    program.stdin.write(sent[:len(sent) // 2])
    program.stdin.flush()
    broker.kill()
    broker = Broker(scratch, *flags)
    program.stdin.write(sent[len(sent) // 2:])
    program.stdin.close()
    assert program.wait(DEADLINE_S) == 0
    reader.join()
    assert found[0] == sent, "%d bytes sent, %d found" % (len(sent), len(found[0]))
    # A file, which cannot be waited for.
    path = os.path.join(scratch, "input")
    with open(path, "wb") as file:
        file.write(sent)
    with open(path, "rb") as file:
        done = subprocess.run([os.path.join(EXAMPLES, "kstream-example-pollable"), "clicks", native], stdin=file,
                              stdout=subprocess.PIPE, timeout=DEADLINE_S, check=True)
    assert done.stdout == sent
    broker.stop()


class SlowFile:
    """A named pipe that gives the same lines to each reader, at a pace at which the reader can be killed in between."""

    def __init__(self, scratch, lines):
        self.path, self.lines, self.given = os.path.join(scratch, "lines"), lines, 0
        os.mkfifo(self.path)

    def open(self):
        self.given = 0
        self.thread = threading.Thread(target=self.feed, daemon=True)
        self.thread.start()

    def feed(self):
        try:
            with open(self.path, "wb", buffering=0) as pipe:
                fcntl.fcntl(pipe, 1031, 4096)  # F_SETPIPE_SZ: what lies in the pipe is little
                while self.given < len(self.lines):
                    pipe.write(b"".join(self.lines[self.given:self.given + 100]))
                    self.given += 100
                    time.sleep(0.001)
        except BrokenPipeError:
            pass  # killed


def test_a_job_that_is_killed_and_resumed_stores_each_line_once(scratch):
    """The program is killed in the middle of a batch, the broker too, and the shards change between its lives."""
    broker, native, flags = start(scratch, 3)
    client = broker.client()
    file = SlowFile(scratch, [b"key%d %d\n" % (i % 40, i) for i in range(24000)])
    killed_at = []
    for life in range(6):
        file.open()
        job = example("resume", "clicks", native, 77, file.path, stderr=subprocess.DEVNULL)
        wait_until(lambda: file.given >= 3500 * (life + 1) or job.poll() is not None, "the job has come further")
        assert job.poll() is None, "ended with %d" % job.returncode
        job.kill()
        job.wait()
        file.thread.join(DEADLINE_S)
        if life == 1:
            update_count(client, "clicks", 5)
        elif life == 3:
            update_count(client, "clicks", 2)
        elif life == 4:
            broker.kill()
            broker = Broker(scratch, *flags)
            client = broker.client()
        wait_until(lambda: status_of(client, "clicks") == "ACTIVE", "the shards are as they will be")
        killed_at.append(len(read_lineage(client, "clicks")))
    assert killed_at == sorted(set(killed_at)) and killed_at[-1] < len(file.lines), killed_at
    file.open()
    job = example("resume", "clicks", native, 77, file.path, stderr=subprocess.PIPE)
    said = job.communicate(timeout=2 * DEADLINE_S)[1].decode()
    assert job.returncode == 0, said
    assert int(said.split()[0]) == killed_at[-1], (said, killed_at)
    records = read_lineage(client, "clicks")
    numbers = [int(data.split()[0]) for _, _, _, data in records]
    assert sorted(numbers) == list(range(1, len(file.lines) + 1)), "%d records for %d lines" % (len(numbers), len(file.lines))
    last = {}
    for _, _, key, data in records:
        number = int(data.split()[0])
        assert last.get(key, 0) < number, "%s: %d behind %d" % (key, number, last[key])
        last[key] = number
    broker.stop()


def test_the_shared_library_exports_its_api_only(_scratch):
    listing = subprocess.run(["nm", "-D", "--defined-only", LIBRARY], check=True, stdout=subprocess.PIPE, text=True)
    names = {line.split()[-1].split("@")[0] for line in listing.stdout.splitlines()}
    others = {name for name in names if not name.startswith("kstream_") and name != "KSTREAM_0"}
    assert "kstream_producer_put" in names and not others, others


def with_a_record_damaged(broker, scratch, data):
    """The broker started again, and its address, after a bit of the first such record on the disk has changed."""
    broker.stop()
    for path in glob.glob(os.path.join(broker.data_dir, "segments", "*", "*.seg")):
        with open(path, "r+b") as file:
            at = file.read().find(data)
            if at >= 0:
                file.seek(at)
                file.write(bytes([data[0] ^ 1]))
                broker = Broker(scratch, data_dir=broker.data_dir)
                return broker, broker.addresses["native"]
    raise AssertionError("no segment has " + repr(data))


def test_an_installed_copy_is_all_a_program_needs(scratch):
    """Built with what pkg-config says, shared and static, as C99 and as C++, and run against a broker."""
    root = os.path.join(scratch, "root")
    subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", root], check=True, stdout=subprocess.DEVNULL)
    found = [os.path.join(folder, "kstream.pc") for folder, _, names in os.walk(root) if "kstream.pc" in names]
    assert len(found) == 1, found
    environment = dict(os.environ, PKG_CONFIG_PATH=os.path.dirname(found[0]), PKG_CONFIG_SYSROOT_DIR=root)

    def pkg_config(*flags):
        return shlex.split(subprocess.run(["pkg-config", *flags, "kstream"], check=True, env=environment,
                                          stdout=subprocess.PIPE, text=True).stdout)
    here = os.path.dirname(os.path.abspath(__file__))
    share = [folder for folder, _, names in os.walk(root) if folder.endswith("share/kstream")][0]
    source = os.path.join(share, "examples", "producer.c")
    for name in ("proto/api.proto", "proto/log.proto", "proto/observe.proto", "proto/settings.proto", "examples/tail.c", "../doc/kstream/kstream-protocol.md"):
        assert os.path.exists(os.path.join(share, name)), name
    with open(os.path.join(here, "..", "..", "README.md")) as readme:
        tour = re.findall(r"^```c\n(.*?)^```$", readme.read(), re.M | re.S)
    assert len(tour) == 1
    tour_source = os.path.join(scratch, "tour.c")
    with open(tour_source, "w") as file:
        file.write(tour[0])
    library_folder = next(flag[2:] for flag in pkg_config("--libs-only-L"))
    shared = pkg_config("--cflags", "--libs")
    static = [flag if flag != "-lkstream" else "-l:libkstream.a" for flag in pkg_config("--cflags", "--libs", "--static")]
    sanitize = ["-fsanitize=" + os.environ["SANITIZE"]] if os.environ["SANITIZE"] != "none" else []
    broker, native, _ = start(scratch, 1)

    def build_and_run(name, compiler, path, flags, *arguments, **named):
        program = os.path.join(scratch, name)
        subprocess.run([*compiler, "-Wall", "-Wextra", "-Werror", "-o", program, path, *sanitize, *flags], check=True)
        return subprocess.run([program, *arguments], check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              env=dict(os.environ, LD_LIBRARY_PATH=library_folder), timeout=DEADLINE_S, **named)
    for number, (compiler, flags) in enumerate((
            (["gcc", "-std=c99", "-pedantic"], shared), (["gcc", "-std=c99"], static), (["g++", "-x", "c++"], shared))):
        done = build_and_run("program-%d" % number, compiler, source, flags, "clicks", native, input="one\ntwo\n")
        assert "2 records durable, 0 failed" in done.stderr, done.stderr
    done = build_and_run("tour", ["gcc", "-std=c99"], tour_source, shared, native)
    assert done.stdout.split() == ["one", "two"] * 3 + ["hello"] * 3, done.stdout
    broker, native = with_a_record_damaged(broker, scratch, b"hello")
    try:
        build_and_run("tour", ["gcc", "-std=c99"], tour_source, shared, native)
        raise AssertionError("damage was not noticed")
    except subprocess.CalledProcessError as done:
        assert "damaged records: 1\n" in done.stderr and done.stdout.count("hello") == 5, (done.stdout, done.stderr)
    assert os.path.islink(os.path.join(library_folder, "libkstream.so"))
    soname = subprocess.run(["objdump", "-p", os.path.join(library_folder, "libkstream.so")], check=True,
                            stdout=subprocess.PIPE, text=True).stdout
    assert "libkstream.so.0\n" in soname
    broker.stop()


def test_the_loader_learns_of_an_installed_library(scratch):
    """Not below DESTDIR, where a package is made, and only by root."""
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "client", "install-ldconfig")
    ran = os.path.join(scratch, "ran")
    with open(os.path.join(scratch, "ldconfig"), "w") as file:
        file.write("#!/bin/sh\necho ran >>%s\n" % ran)
    os.chmod(file.name, 0o755)
    environment = {**os.environ, "PATH": scratch + ":" + os.environ["PATH"]}
    subprocess.run([script], check=True, env={**environment, "DESTDIR": scratch})
    assert not os.path.exists(ran)
    environment.pop("DESTDIR", None)
    subprocess.run([script], check=True, env=environment)
    assert os.path.exists(ran) == (os.geteuid() == 0)


if __name__ == "__main__":
    run_tests(test_a_producer_survives_kills_without_loss_or_duplicates, test_tail_goes_on_where_it_stopped,
              test_a_program_with_its_own_loop, test_a_job_that_is_killed_and_resumed_stores_each_line_once,
              test_the_shared_library_exports_its_api_only, test_an_installed_copy_is_all_a_program_needs,
              test_the_loader_learns_of_an_installed_library)
