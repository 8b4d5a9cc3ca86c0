"""
The bad day, from the disk: a small file system on a loop device is filled; the broker goes on, and recovers when there is room.
And a journal write that fails for real (a file size limit set on the running process): the broker says why and ends.

test_disk_full_xfs.py runs the first part on xfs.
"""
import os, re, resource, subprocess
from kstream_test import *

MIB = 1 << 20


# How each is made, and the least size that has room for a start (an xfs cannot be smaller than 300 MiB; the image is sparse).
MAKERS = {"ext4": (["mkfs.ext4", "-q", "-F", "-m", "0"], 0), "xfs": (["mkfs.xfs", "-q", "-f"], 320 * MIB)}


class SmallDisk:
    def __init__(self, scratch, size, kind):
        need_root("a loop-mounted file system")
        maker, least = MAKERS[kind]
        self.image = os.path.join(scratch, "disk.img")
        self.mounted = os.path.join(scratch, "disk")
        os.mkdir(self.mounted)
        with open(self.image, "wb") as file:
            file.truncate(max(size, least))
        try:
            subprocess.check_call([*maker, self.image])
        except (OSError, subprocess.CalledProcessError):
            raise Skip("%s is missing" % maker[0])
        if subprocess.call(["mount", "-o", "loop", self.image, self.mounted], stderr=subprocess.DEVNULL):
            raise Skip("no loop device can be mounted as %s here" % kind)

    def fill(self):
        """A filler file that takes every free byte."""
        path = os.path.join(self.mounted, "filler")
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            room = os.statvfs(self.mounted).f_bavail * os.statvfs(self.mounted).f_frsize
            if room > MIB:
                os.posix_fallocate(fd, os.fstat(fd).st_size, room - MIB // 2)
            while os.write(fd, bytes(4096)) > 0:
                pass
        except OSError:
            pass  # full
        finally:
            os.close(fd)
        return path

    def unmount(self):
        subprocess.call(["umount", self.mounted])


def values_of(client, name):
    return [data for _, _, data in client.read_all(name)[0]]


def full_disk_refuses_puts_keeps_reads_and_recovers(scratch, kind):
    disk = SmallDisk(scratch, 192 * MIB, kind)
    try:
        broker = Broker(scratch, "--journal-file-bytes", "4MiB", "--journal-bytes", "16MiB", "--segment-bytes", "16MiB",
                        "--flush-bytes", "4MiB", "--flush-age", "50ms", data_dir=os.path.join(disk.mounted, "data"))
        client = broker.client()
        client.create_stream("s")
        client.create_stream("other")
        client.put("other", [("k", b"before")])
        acknowledged = []
        record = lambda i: [("k", b"%08d" % i + bytes(100000))]
        for i in range(20):
            client.put("s", record(i))
            acknowledged.append(i)
        filler = disk.fill()
        refusal, i = None, len(acknowledged)
        while refusal is None:
            try:
                client.put("s", record(i))
                acknowledged.append(i)
                i += 1
                assert i < 5000, "the disk is never full"
            except Refused as error:
                refusal = error
        assert refusal.is_("KS_STORAGE_FULL") or refusal.is_("KS_THROTTLED"), refusal

        def is_told_full():
            try:
                client.put("s", record(i))
            except Refused as error:
                return error.is_("KS_STORAGE_FULL")
            raise AssertionError("a full disk took a put")
        wait_until(is_told_full, "the producer is told that the disk is full")
        told = re.search(r'kstream_throttled_records_total{stream="s",reason="disk"} (\d+)', broker.http("/metrics")[1])
        assert int(told.group(1)) >= 1, told
        # Reads, questions and deletes go on; a refused stream leaves nothing behind.
        assert [int(value[:8]) for value in values_of(client, "s")] == acknowledged
        assert values_of(client, "other") == [b"before"]
        client.call(PING)
        client.call(DESCRIBE, (1, "s"))
        assert broker.process.poll() is None
        assert broker.http("/livez")[0] == 200
        client.call(DELETE, (1, "other"))
        # Room comes back: puts go on by themselves.
        os.unlink(filler)

        def works_again():
            try:
                client.put("s", record(i))
                return True
            except Refused as error:
                assert error.is_("KS_STORAGE_FULL") or error.is_("KS_THROTTLED"), error
                return False
        wait_until(works_again, "puts are taken again")
        acknowledged.append(i)
        assert [int(value[:8]) for value in values_of(client, "s")] == acknowledged
        # Full again, and killed there: nothing acknowledged is lost.
        disk.fill()
        broker.kill()
        os.unlink(os.path.join(disk.mounted, "filler"))
        broker = Broker(scratch, "--journal-file-bytes", "4MiB", "--journal-bytes", "16MiB", data_dir=broker.data_dir)
        client = broker.client()
        assert [int(value[:8]) for value in values_of(client, "s")] == acknowledged
        broker.stop()
    finally:
        for broker in list(Broker.alive):
            broker.kill()
        disk.unmount()


def full_disk_is_restarted_and_tidied(scratch, kind):
    """Full of the broker's own data: killed and started again and again, and deleting a stream is enough to make room."""
    disk = SmallDisk(scratch, 192 * MIB, kind)
    flags = ("--journal-file-bytes", "4MiB", "--journal-bytes", "16MiB", "--segment-bytes", "16MiB", "--flush-bytes", "4MiB",
             "--flush-age", "50ms")
    try:
        broker = Broker(scratch, *flags, data_dir=os.path.join(disk.mounted, "data"))
        client = broker.client()
        client.create_stream("s")
        acknowledged = []

        def is_full():
            try:
                client.put("s", [("k", b"%08d" % len(acknowledged) + bytes(900000))])
                acknowledged.append(len(acknowledged))
            except Refused as error:
                return error.is_("KS_STORAGE_FULL")
        wait_until(is_full, "the disk is full")
        disk.fill()

        def start_again(*more):
            broker = Broker(scratch, *flags, *more, data_dir=os.path.join(disk.mounted, "data"), wait=False)
            broker.wait_logged("daemon.ready")
            address = re.search("native=(\\S+)", broker.log()).group(1)  # the file of addresses may not fit
            client = Client(socket.create_connection(address.split(":"), timeout=DEADLINE_S))
            assert [int(value[:8]) for value in values_of(client, "s")] == acknowledged
            return broker, client
        for _ in range(5):
            broker.kill()
            broker, client = start_again("--stop-timeout", "2s")
        # What cannot be flushed makes a stop that is not in order, and it is not called so.
        broker.process.send_signal(signal.SIGTERM)
        assert broker.wait_end() == 0
        assert "daemon.unclean_stop" in broker.log() and "daemon.stopped" not in broker.log(), broker.log()
        broker, client = start_again()
        client.call(DELETE, (1, "s"))

        def is_taken(call):
            try:
                call()
                return True
            except Refused as error:
                assert error.is_("KS_STORAGE_FULL") or error.is_("KS_THROTTLED"), error
        wait_until(lambda: is_taken(lambda: client.create_stream("t")), "a stream can be made")
        for i in range(40):
            put = lambda: client.put("t", [("k", b"%08d" % i + bytes(900000))])
            wait_until(lambda: is_taken(put), "a record is taken")
        assert len(values_of(client, "t")) == 40
        assert os.statvfs(disk.mounted).f_bavail * os.statvfs(disk.mounted).f_frsize > 16 * MIB
        broker.stop()
    finally:
        for broker in list(Broker.alive):
            broker.kill()
        disk.unmount()


def start_on_a_full_disk_says_so(scratch, kind):
    disk = SmallDisk(scratch, 64 * MIB, kind)
    try:
        disk.fill()
        broker = Broker(scratch, data_dir=os.path.join(disk.mounted, "data"), wait=False)
        code = broker.wait_end()
        assert code == 11 and "No space left" in broker.log(), (code, broker.log())
    finally:
        for broker in list(Broker.alive):
            broker.kill()
        disk.unmount()


def test_failed_write_ends_the_process_and_loses_nothing(scratch):
    broker = Broker(scratch)
    client = broker.client()
    client.create_stream("s")
    acknowledged = 0
    while acknowledged < 15:  # the journal is beyond the limit that comes
        client.put_patiently("s", [("k", b"%08d" % acknowledged + bytes(100000))])
        acknowledged += 1
    resource.prlimit(broker.process.pid, resource.RLIMIT_FSIZE, (MIB, MIB))
    neighbour = broker.client()
    try:
        for _ in range(3):  # an outcome may be unknown, but never a success
            client.put("s", [("k", b"after")])
            raise AssertionError("a put was acknowledged after the write failed")
    except Refused as refusal:
        assert refusal.is_("KS_POISONED") or refusal.is_("KS_STOPPING"), refusal
    except ConnectionError:
        pass
    assert broker.wait_end() == 74, broker.log()
    assert "daemon.poisoned" in broker.log() and "File too large" in broker.log(), broker.log()
    assert not os.path.exists(os.path.join(broker.data_dir, "addresses"))
    assert not os.path.exists(os.path.join(broker.data_dir, "clean"))
    neighbour.close()
    broker = Broker(scratch)
    values = values_of(broker.client(), "s")
    assert [int(value[:8]) for value in values[:acknowledged]] == list(range(acknowledged))
    assert values[acknowledged:] in ([], [b"after"]), "only the unacknowledged record may be there or not"
    broker.stop()


def test_full_ext4_refuses_puts_keeps_reads_and_recovers(scratch):
    full_disk_refuses_puts_keeps_reads_and_recovers(scratch, "ext4")


def test_full_ext4_is_restarted_and_tidied(scratch):
    full_disk_is_restarted_and_tidied(scratch, "ext4")


def test_start_on_a_full_ext4_says_so(scratch):
    start_on_a_full_disk_says_so(scratch, "ext4")


if __name__ == "__main__":
    run_tests(test_failed_write_ends_the_process_and_loses_nothing, test_full_ext4_refuses_puts_keeps_reads_and_recovers,
              test_full_ext4_is_restarted_and_tidied, test_start_on_a_full_ext4_says_so)
