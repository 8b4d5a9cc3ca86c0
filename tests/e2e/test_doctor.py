"""kstreamctl doctor: every finding is provoked for real, and each comes with a line that says how to mend it."""
import glob
from ctl_test import *

FAKE = sorted(glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1"))
MIB = 1 << 20
DAY = 86400


def examine(ctl, *words):
    """{check: [(verdict, finding, fix)]}; the exit code must tell whether there is a problem."""
    code, out, err = ctl.run("doctor", "-o", "json", *words)
    assert code in (0, 3) and err == "", (code, out, err)
    answer = json.loads(out)
    found = {}
    for row in answer["checks"]:
        assert (row["fix"] is None) == (row["verdict"] in ("ok", "unknown")), row
        found.setdefault(row["check"], []).append((row["verdict"], row["finding"], row["fix"]))
    assert answer["problems"] == sum(row["verdict"] == "problem" for row in answer["checks"])
    assert answer["warnings"] == sum(row["verdict"] == "warning" for row in answer["checks"])
    assert code == (3 if answer["problems"] else 0)
    return found


def expect(found, check, verdict, finding, fix):
    for row in found[check]:
        if row[0] == verdict and finding in row[1] and fix in row[2]:
            return
    raise AssertionError((check, verdict, finding, fix, found))


def test_a_sound_machine_has_no_problem(scratch):
    broker, ctl = begin(scratch)
    found = examine(ctl)
    for check in ("permissions", "forecast", "memory", "config", "damage"):
        assert found[check][0][0] == "ok", found
    assert found["sync"][0][0] in ("ok", "unknown", "warning"), found
    left = [name for name in os.listdir(broker.data_dir) if "doctor" in name]
    assert left == [], left
    # The directory of a broker that does not run is looked at as well.
    broker.stop()
    ctl.fails(7, "--data-dir DIR", "doctor")
    ctl.fails(4, "is no directory", "doctor", "--data-dir", os.path.join(scratch, "nothing"))
    found = examine(ctl, "--data-dir", broker.data_dir)
    assert found["permissions"][0][0] == "ok" and "forecast" not in found, found


def test_rights_that_are_too_wide(scratch):
    broker, ctl = begin(scratch)
    os.chmod(broker.data_dir, 0o755)
    expect(examine(ctl), "permissions", "warning", "everybody may look into", "chmod 0700")
    os.chmod(broker.data_dir, 0o777)
    expect(examine(ctl), "permissions", "problem", "others may write", "chmod 0700 '%s'" % broker.data_dir)
    os.chmod(broker.data_dir, 0o700)
    need_root("files of another user")
    os.chown(broker.data_dir, 12345, 12345)
    expect(examine(ctl), "permissions", "warning", "belongs to user 12345", "chown -R 0")
    os.chown(broker.data_dir, 0, 0)
    broker.stop()


def test_a_directory_that_cannot_be_written(scratch):
    need_root("becoming another user")
    directory = os.path.join(scratch, "other")
    os.mkdir(directory, 0o700)
    os.chmod(scratch, 0o755)
    ctl = Ctl("127.0.0.1:1")
    out = subprocess.run([KSTREAMCTL, "doctor", "--data-dir", directory, "-o", "json"], env={**ctl.environment, "HOME": scratch},
                         user=12345, group=12345, extra_groups=[], stdout=subprocess.PIPE, timeout=DEADLINE_S)
    # Who may not look at all cannot tell a directory from nothing.
    assert out.returncode == 3, out
    row = json.loads(out.stdout)["checks"][0]
    assert row["verdict"] == "problem" and "may not read and write" in row["finding"] and "chown" in row["fix"], row


def test_syncs_that_reach_no_disk(scratch):
    if os.environ.get("SANITIZE", "none") not in ("", "none"):
        raise Skip("a preloaded library and the sanitizers")
    broker = Broker(scratch, environment={"LD_PRELOAD": os.environ["NOSYNC"]})
    expect(examine(Ctl(broker.addresses["native"])), "sync", "problem", "reach", "LD_PRELOAD")
    broker.stop()


def test_a_disk_in_memory(scratch):
    directory = "/dev/shm/kstream-doctor-%d" % os.getpid()
    try:
        os.mkdir(directory)
    except OSError:
        raise Skip("no /dev/shm")
    try:
        broker = Broker(scratch, "--unsafe-fs", data_dir=os.path.join(directory, "data"))
        found = examine(Ctl(broker.addresses["native"]))
        expect(found, "mount", "problem", "a reboot loses all of it", "storage.data_dir")
        expect(found, "sync", "problem", "no disk can do", "flushes")
        broker.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class Disk:
    """A small file system on a loop device."""

    def __init__(self, scratch, options, *make):
        need_root("a loop-mounted file system")
        self.mounted = os.path.join(scratch, "disk")
        os.mkdir(self.mounted)
        image = os.path.join(scratch, "disk.img")
        with open(image, "wb") as file:
            file.truncate(192 * MIB)
        try:
            subprocess.check_call(["mkfs.ext4", "-q", "-F", "-m", "0", *make, image])
        except (OSError, subprocess.CalledProcessError):
            raise Skip("mkfs.ext4 is missing")
        if subprocess.call(["mount", "-o", "loop," + options, image, self.mounted], stderr=subprocess.DEVNULL):
            raise Skip("no loop device can be mounted here")

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        for broker in list(Broker.alive):
            broker.kill()
        subprocess.call(["umount", self.mounted])

    def broker(self, scratch):
        return Broker(scratch, "--journal-file-bytes", "4MiB", "--journal-bytes", "32MiB", "--segment-bytes", "16MiB",
                      data_dir=os.path.join(self.mounted, "data"))


def test_a_disk_that_fills_up(scratch):
    with Disk(scratch, "nobarrier") as disk:
        broker = disk.broker(scratch)
        ctl = Ctl(broker.addresses["native"])
        found = examine(ctl)
        expect(found, "mount", "problem", "nobarrier", "remount")
        expect(found, "config", "warning", "an eighth of the file system", "storage.journal_bytes")
        assert found["sync"][0][0] != "ok", "a disk without barriers is not flushed: %r" % found
        assert found["forecast"][0][0] == "ok" and "needs a few minutes" in found["forecast"][0][1], found
        assert found["space"][0][0] == "ok", found
        client = broker.client()
        client.create_stream("s")
        # A day of what comes now is far more than the disk has.
        client.put("s", [("k", bytes(500000)) for _ in range(4)])
        expect(examine(ctl), "forecast", "problem", "the disk is full in", "kstreamctl usage")
        room = os.statvfs(disk.mounted)
        with open(os.path.join(disk.mounted, "filler"), "wb") as file:
            os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize - 14 * MIB)
        expect(examine(ctl), "space", "warning", "are free", "enlarge")
        with open(os.path.join(disk.mounted, "filler2"), "wb") as file:
            os.posix_fallocate(file.fileno(), 0, 8 * MIB)
        expect(examine(ctl), "space", "problem", "are free", "decrease-stream-retention-period")
        broker.stop()


def test_a_disk_without_inodes_and_one_that_is_read_only(scratch):
    with Disk(scratch, "barrier=1", "-N", "512") as disk:
        broker = disk.broker(scratch)
        ctl = Ctl(broker.addresses["native"])
        expect(examine(ctl), "space", "problem", "more files only", "inodes")
        broker.stop()
        subprocess.check_call(["mount", "-o", "remount,ro", disk.mounted])
        found = examine(ctl, "--data-dir", broker.data_dir)
        expect(found, "mount", "problem", "read-only", "remount,rw")
        expect(found, "permissions", "problem", "may not read and write", "chown")


def test_a_file_system_nobody_has_tested(scratch):
    need_root("mounting ext2")
    image, mounted = os.path.join(scratch, "image"), os.path.join(scratch, "mounted")
    os.mkdir(mounted)
    with open(image, "wb") as file:
        file.truncate(16 * MIB)
    if subprocess.call(["mkfs.ext2", "-q", "-F", image]) or \
            subprocess.call(["mount", "-t", "ext2", "-o", "loop", image, mounted], stderr=subprocess.DEVNULL):
        raise Skip("ext2 cannot be mounted")
    try:
        found = examine(Ctl("127.0.0.1:1"), "--data-dir", mounted)
        expect(found, "mount", "warning", "ext2", "storage.data_dir")
    finally:
        subprocess.call(["umount", mounted])


def test_limits_and_settings(scratch):
    broker = Broker(scratch, "--memory", "1TiB", "--scrub-interval", "0", files=256)
    found = examine(Ctl(broker.addresses["native"]))
    expect(found, "open-files", "warning", "the limit of 256 open files", "LimitNOFILE")
    expect(found, "memory", "warning", "the machine has", "limits.memory")
    expect(found, "config", "warning", "never read over again", "storage.scrub_interval")
    broker.stop()


def test_doors_beyond_the_machine(scratch):
    # Any address but 127.0.0.0/8 counts; 0.0.0.0 is answered on loopback all the same.
    broker = Broker(scratch, "--insecure", "--listen", "0.0.0.0:0")
    port = broker.addresses["native"].rsplit(":", 1)[1]
    expect(examine(Ctl("127.0.0.1:" + port)), "config", "warning", "beyond this machine", "firewall")
    broker.stop()


def test_a_clock_that_has_jumped(scratch):
    if not FAKE:
        raise Skip("needs libfaketime (package libfaketime)")
    offset = os.path.join(scratch, "offset")

    def move(seconds):
        with open(offset + ".new", "w") as file:
            file.write("%+d\n" % seconds)
        os.rename(offset + ".new", offset)
    move(0)
    environment = {"LD_PRELOAD": FAKE[0], "FAKETIME_TIMESTAMP_FILE": offset, "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_RESET": "1",
                   "FAKETIME_FORCE_MONOTONIC_FIX": "0", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "KSTREAM_BOOT_ID": "a" * 32}
    broker = Broker(scratch, environment=environment)
    ctl = Ctl(broker.addresses["native"])
    assert "broker's" not in examine(ctl)["clock"][0][1]
    move(3600)
    expect(examine(ctl), "clock", "warning", "ahead of the broker's", "confirm-clock")
    broker.stop()
    move(9 * DAY)
    broker = Broker(scratch, environment={**environment, "KSTREAM_BOOT_ID": "b" * 32})
    ctl = Ctl(broker.addresses["native"])
    found = examine(ctl)
    if found["clock"][0][0] == "ok":
        raise Skip("the kernel says that its clock is synchronised: retention is not held")
    expect(found, "clock", "problem", "nothing expires", "confirm-clock")
    ctl("confirm-clock", "-o", "none")
    assert examine(ctl)["clock"][0][0] != "problem"
    broker.stop()


def test_damage_on_the_disk(scratch):
    broker = Broker(scratch, "--segment-bytes", "16MiB", "--flush-bytes", "4MiB", "--flush-age", "100ms", "--scrub-interval", "1s",
                    "--scrub-rate", "1GiB")
    client = broker.client()
    client.create_stream("s")
    for _ in range(40):
        client.put_patiently("s", [("k", bytes(1000000))])
    ctl = Ctl(broker.addresses["native"])

    wait_until(lambda: "kstream_scrubbed_segments_total 0" not in broker.http("/metrics")[1], "a segment is sealed and verified")
    files = glob.glob(os.path.join(broker.data_dir, "segments", "*", "*.seg"))
    oldest = min((path for path in files if os.path.getsize(path) > 8 * MIB), key=os.path.getmtime)
    with open(oldest, "r+b") as file:
        file.seek(5 * MIB)
        file.write(b"damage")
    wait_until(lambda: examine(ctl)["damage"][0][0] == "problem", "the scrubber has found it")
    expect(examine(ctl), "damage", "problem", "damage met", "kstream-inspect verify")
    broker.stop()


def test_a_segment_that_is_gone(scratch):
    broker, ctl = begin(scratch)
    client = broker.client()
    client.create_stream("s")
    client.put("s", [("k", b"v" * 1000)])
    broker.stop()
    for path in glob.glob(os.path.join(broker.data_dir, "segments", "*", "*.seg")):
        os.unlink(path)
    broker, ctl = begin(scratch)
    broker.wait_logged("files.missing")
    expect(examine(ctl), "damage", "problem", "damage met", "kstream-inspect verify")
    assert "kstream_checksum_errors_total 0" not in broker.http("/metrics")[1]
    broker.stop()


run_tests(test_a_sound_machine_has_no_problem, test_rights_that_are_too_wide, test_a_directory_that_cannot_be_written,
          test_syncs_that_reach_no_disk, test_a_disk_in_memory, test_a_disk_that_fills_up,
          test_a_disk_without_inodes_and_one_that_is_read_only, test_a_file_system_nobody_has_tested, test_limits_and_settings,
          test_doors_beyond_the_machine, test_a_clock_that_has_jumped, test_damage_on_the_disk,
          test_a_segment_that_is_gone)
