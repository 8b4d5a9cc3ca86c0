"""Copies of the catalog, the day on which it is lost, and docs/catalog-backup.md followed word for word."""
import glob, json, re
from kstream_test import *
from reshard_test import MIDDLE, read_lineage, shards_of, split, tiles
from test_clock import HOUR, Machine, logged

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
KSTREAMCTL = os.environ.get("KSTREAMCTL", "build/release/tools/kstreamctl")
QUICK = ("--flush-age", "1ms", "--segment-bytes", "16MiB")


def ctl(endpoint, *words, code=0):
    done = subprocess.run([KSTREAMCTL, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=DEADLINE_S, env={**os.environ, "KSTREAM_ENDPOINT": endpoint or "127.0.0.1:1"})
    assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
    return done.stderr if code else json.loads(done.stdout)


def blocks_of_page():
    """The lines of each block of the page."""
    with open(os.path.join(ROOT, "docs", "catalog-backup.md")) as file:
        return [block.splitlines() for block in re.findall(r"^```sh\n(.*?)^```$", file.read(), re.M | re.S)]


class Follower:
    """Does what the page says, on a machine without systemd whose data directory is elsewhere."""

    def __init__(self, scratch):
        self.scratch = scratch
        self.broker = Broker(scratch, *QUICK)

    def follow(self, block):
        said = ""
        for line in block:
            if line == "systemctl stop kstreamd":
                self.broker.kill()
            elif line == "systemctl start kstreamd":
                self.broker = Broker(self.scratch, *QUICK)
            elif line.startswith("journalctl -u kstreamd -g "):
                found = [row for row in self.broker.log().splitlines() if re.search(line.split(" -g ")[1], row)]
                assert found, line
                said += "\n".join(found) + "\n"
            else:
                said += self.shell(line)
        return said

    def shell(self, line):
        line = line.replace("/var/lib/kstream", self.broker.data_dir)
        done = subprocess.run(["sh", "-c", line.replace("kstreamctl", '"$KSTREAMCTL"', 1) if line.startswith("kstreamctl")
                               else line], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=DEADLINE_S, env={**os.environ, "KSTREAMCTL": KSTREAMCTL,
                                                       "KSTREAM_ENDPOINT": self.broker.addresses["native"]})
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        return done.stdout


class Book:
    """What was acknowledged."""

    def __init__(self):
        self.data = {}

    def put(self, client, name, count, size=100):
        for _ in range(count):
            data = b"%s %d " % (name.encode(), len(self.data.setdefault(name, []))) + os.urandom(size)
            client.put_patiently(name, [("key%d" % (len(self.data[name]) % 16), data)])
            self.data[name].append(data)

    def check(self, client):
        for name, expected in self.data.items():
            found = [data for _, _, _, data in read_lineage(client, name)]
            assert sorted(found) == sorted(expected), "%s: %d records of %d" % (name, len(found), len(expected))


def destroy(data_dir, how):
    folder = os.path.join(data_dir, "catalog")
    path = os.path.join(folder, "data.mdb")
    if how == "gone":
        shutil.rmtree(folder)
    elif how == "file gone":
        os.unlink(path)
    else:
        size = os.path.getsize(path)
        with open(path, "r+b") as file:
            file.write(os.urandom(min(size, 1 << 20)))


def refuses(scratch):
    broker = Broker(scratch, wait=False)
    code = broker.wait_end()
    assert code > 0, "kstreamd started or died of signal (%d):\n%s" % (code, broker.log())
    return broker.log()


def test_the_page_word_for_word(scratch):
    for how in ("damaged", "gone", "file gone"):
        folder = os.path.join(scratch, how.replace(" ", "-"))
        os.mkdir(folder)
        copying, stopping, restoring, looking = blocks_of_page()
        follower = Follower(folder)
        book = Book()
        client = follower.broker.client()
        client.create_stream("clicks", 2)
        ctl(follower.broker.addresses["native"], "increase-stream-retention-period", "clicks", "--hours", "72")
        book.put(client, "clicks", 50)
        said = follower.follow(copying)
        assert json.loads(said[:said.index("}") + 1])["CopiesKept"] == 1, said
        # All of this happens after the copy was made: several segments, another stream, a split.
        book.put(client, "clicks", 20, size=900000)
        client.create_stream("views")
        book.put(client, "views", 30)
        split(client, "clicks", 0, MIDDLE // 2)
        book.put(client, "clicks", 60)
        wait_until(lambda: b"views 29" in b"".join(open(path, "rb").read() for path in segments(follower.broker)),
                   "records are in segments")
        follower.broker.kill()
        follower.broker = Broker(folder, *QUICK)
        client = follower.broker.client()
        book.put(client, "clicks", 40)
        follower.broker.kill()
        destroy(follower.broker.data_dir, how)
        refuses(folder)
        said = follower.follow(stopping)
        assert "catalog.copies" in json.loads(said)["would"] and json.loads(said)["dry_run"], said
        follower.follow(restoring)
        said = follower.follow(looking)
        assert "catalog.adopted" in said and "views" in said, said
        client = follower.broker.client()
        book.check(client)
        follower.broker.wait_logged('catalog.stream_adopted stream="views"')
        follower.broker.wait_logged('catalog.stream_resharded stream="clicks"')
        about = ctl(follower.broker.addresses["native"], "describe-stream-summary", "clicks")["StreamDescriptionSummary"]
        assert about["RetentionPeriodHours"] == 72 and about["OpenShardCount"] == 3, about
        about = ctl(follower.broker.addresses["native"], "describe-stream-summary", "views")["StreamDescriptionSummary"]
        assert about["RetentionPeriodHours"] == 8760 and about["OpenShardCount"] == 1, about
        # The next start is one like any other.
        book.put(client, "views", 3)
        book.put(client, "clicks", 3)
        follower.broker.kill()
        follower.broker = Broker(folder, *QUICK)
        book.check(follower.broker.client())
        assert "catalog.adopted" not in follower.broker.log(), follower.broker.log()
        assert tiles([shard for shard in shards_of(follower.broker.client(), "clicks") if shard.is_open])
        follower.broker.stop()


def segments(broker):
    return glob.glob(os.path.join(broker.data_dir, "segments", "*", "*.seg"))


def copies(broker):
    return sorted(os.listdir(os.path.join(broker.data_dir, "catalog.copies")))


def test_a_copy_put_back_by_hand(scratch):
    """The broker believes that it is an older one when it is told that it may be."""
    broker = Broker(scratch, *QUICK)
    book = Book()
    client = broker.client()
    client.create_stream("s")
    path = ctl(broker.addresses["native"], "backup-catalog")["Path"]
    book.put(client, "s", 30)
    broker.kill()
    broker = Broker(scratch, *QUICK)
    client = broker.client()
    book.put(client, "s", 30)
    broker.kill()
    shutil.copy(os.path.join(path, "data.mdb"), os.path.join(broker.data_dir, "catalog", "data.mdb"))
    assert "--accept-older-catalog" in refuses(scratch)
    broker = Broker(scratch, *QUICK, "--accept-older-catalog")
    book.check(broker.client())
    assert "catalog.adopted" in broker.log()
    broker.stop()
    broker = Broker(scratch, "--accept-older-catalog")
    book.check(broker.client())
    assert "catalog.adopted" not in broker.log(), "a catalog of today was taken for an older one"
    broker.stop()


def test_a_start_that_is_killed_is_made_again(scratch):
    broker = Broker(scratch, *QUICK)
    book = Book()
    client = broker.client()
    client.create_stream("s")
    ctl(broker.addresses["native"], "backup-catalog")
    book.put(client, "s", 200)
    broker.kill()
    destroy(broker.data_dir, "damaged")
    ctl(None, "restore-catalog", "--data-dir", broker.data_dir)
    mark = os.path.join(broker.data_dir, "catalog", "restored")
    assert os.path.exists(mark)
    broker = Broker(scratch)
    assert not os.path.exists(mark)
    book.check(broker.client())
    broker.kill()
    open(mark, "w").close()  # as if the power had gone just before it was removed
    broker = Broker(scratch)
    book.check(broker.client())
    assert 'segments=0' in [line for line in broker.log().splitlines() if "catalog.adopted" in line][0], broker.log()
    broker.stop()


def test_what_restore_refuses(scratch):
    broker = Broker(scratch)
    restore = ("restore-catalog", "--data-dir", broker.data_dir)
    said = ctl(None, *restore, code=5)
    assert "a broker is running" in said and "stop it first" in said, said
    broker.stop()
    assert "no copy of the catalog" in ctl(None, *restore, code=4)
    assert "no copy of the catalog" in ctl(None, *restore, "--dry-run", code=3)
    assert "no data directory" in ctl(None, "restore-catalog", "--data-dir", scratch, code=4)
    bad = os.path.join(scratch, "bad")
    os.mkdir(bad)
    with open(os.path.join(bad, "data.mdb"), "wb") as file:
        file.write(b"\0" * 8192)
    assert "is no copy of a catalog" in ctl(None, *restore, "--copy", bad, code=1)
    assert "clean" in os.listdir(broker.data_dir), "a refusal changed something"
    broker = Broker(scratch)
    broker.stop()


def test_a_copy_every_day_and_the_newest_stay(scratch):
    """All clocks forward: days pass."""
    machine = Machine(scratch, "all")
    broker = machine.start("--catalog-copies", "2")
    broker.client().create_stream("s")
    for day in range(4):
        machine.set(day * 25 * HOUR + 120)
        logged(broker, "catalog.copied", day + 1)
    wait_until(lambda: len(copies(broker)) == 2, "older ones are gone")
    newest = copies(broker)[-1]
    broker.kill()
    broker = machine.start("--catalog-copies", "2")
    machine.set(3 * 25 * HOUR + 12 * HOUR)
    made = ctl(broker.addresses["native"], "backup-catalog")
    assert made["CopiesKept"] == 2 and copies(broker)[0] == newest, (made, copies(broker))
    assert broker.log().count("catalog.copied") == 1, "a start made a copy although one was there"
    broker.stop()


def test_a_copy_that_fails_harms_nothing(scratch):
    broker = Broker(scratch)
    client = broker.client()
    client.create_stream("s")
    with open(os.path.join(broker.data_dir, "catalog.copies"), "w"):
        pass  # no folder can be made of that name
    said = ctl(broker.addresses["native"], "backup-catalog", code=1)
    assert "catalog.copies" in said, said
    broker.wait_logged("catalog.copy_failed")
    client.put("s", [("k", b"v")])
    assert len(client.read_all("s")[0]) == 1
    broker.stop()


if __name__ == "__main__":
    run_tests(test_the_page_word_for_word, test_a_copy_put_back_by_hand, test_a_start_that_is_killed_is_made_again,
              test_what_restore_refuses, test_a_copy_every_day_and_the_newest_stay, test_a_copy_that_fails_harms_nothing)
