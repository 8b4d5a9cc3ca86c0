"""The bad day, from the directory: taken, not writable, damaged, too new. The broker refuses, says why and changes nothing."""
import os, struct, subprocess
from kstream_test import *


def fill(scratch, records=200):
    """A directory after SIGKILL, and what must be in it."""
    broker = Broker(scratch)
    client = broker.client()
    client.create_stream("s", 2)
    client.put("s", [("k%d" % i, b"value-%d" % i) for i in range(records)])
    rows = client.read_all("s", 2)
    broker.kill()
    return broker.data_dir, rows


def must_refuse(scratch, data_dir, *texts, flags=()):
    broker = Broker(scratch, *flags, data_dir=data_dir, wait=False)
    code = broker.wait_end()
    log = broker.log()
    assert code > 0, "kstreamd started or died of signal (%d):\n%s" % (code, log)
    for part in texts:
        assert part in log, "the refusal does not say '%s':\n%s" % (part, log)
    assert not os.path.exists(os.path.join(data_dir, "addresses"))
    return log


def make_newer(header):
    """A journal file's header (storage/FORMAT.md) with the next version and a right checksum; None: there is none yet."""
    header = bytearray(header[:116])
    if len(header) < 116 or struct.unpack_from("<I", header, 112)[0] != crc32c(header[:112]):
        return None
    struct.pack_into("<I", header, 8, struct.unpack_from("<I", header, 8)[0] + 1)
    struct.pack_into("<I", header, 112, crc32c(header[:112]))
    return bytes(header)


def snapshot(folder):
    """Every file's bytes, but those that each start writes."""
    files = {}
    for path, _, names in os.walk(folder):
        for name in names:
            if name not in ("run", "lock", "lock.mdb", "clean", "iterator.key", "addresses"):
                with open(os.path.join(path, name), "rb") as file:
                    files[os.path.join(path, name)] = file.read()
    return files


def differences(before, after):
    return [name for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name)]


def test_second_broker_is_refused_and_the_first_goes_on(scratch):
    first = Broker(scratch, unix=True)
    client = first.client()
    client.create_stream("s")
    second = Broker(scratch, unix=True, wait=False)
    code = second.wait_end()
    assert code == 5, second.log()
    assert str(first.process.pid) in second.log() and "is in use by process" in second.log(), second.log()
    assert os.path.exists(os.path.join(first.data_dir, "addresses")), "the second took away the first one's addresses"
    client.put("s", [("k", b"v")])
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(first.addresses["unix"])
    assert len(Client(connection).read_all("s")[0]) == 1
    first.stop()


def test_sigkill_leaves_no_lock_behind(scratch):
    data_dir, rows = fill(scratch)
    broker = Broker(scratch)
    assert broker.client().read_all("s", 2) == rows
    broker.stop()


def test_damaged_catalog_is_refused_untouched(scratch):
    data_dir, rows = fill(scratch)
    path = os.path.join(data_dir, "catalog", "data.mdb")
    with open(path, "rb") as file:
        good = file.read()
    damages = {
        "both meta pages": b"\xde\xad" * 4096 + good[8192:],
        "all pages behind the meta pages": good[:8192] + b"\xa5" * (len(good) - 8192),
        "cut short": good[:8192],
    }
    for what, bytes_ in damages.items():
        with open(path, "wb") as file:
            file.write(bytes_)
        before = snapshot(data_dir)
        log = must_refuse(scratch, data_dir, "catalog")
        assert "backup" in log or "damaged" in log, log
        changed = differences(before, snapshot(data_dir))
        assert not changed, "%s: the refusal changed %s" % (what, changed)
    with open(path, "wb") as file:
        file.write(good)
    broker = Broker(scratch)
    assert broker.client().read_all("s", 2) == rows
    broker.stop()


def test_flipped_bits_of_the_catalog_are_found_or_harmless(scratch):
    data_dir, rows = fill(scratch, 20)
    path = os.path.join(data_dir, "catalog", "data.mdb")
    with open(path, "rb") as file:
        good = file.read()
    # Bytes that are not zero, spread over the file: each flipped alone.
    spots = [i for i in range(len(good)) if good[i]]
    refused = 0
    for n in range(12):
        at = spots[len(spots) * n // 12]
        with open(path, "wb") as file:
            file.write(good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1:])
        broker = Broker(scratch, wait=False)
        wait_until(lambda: broker.process.poll() is not None or "daemon.ready" in broker.log(), "it decides")
        if broker.process.poll() is None:
            broker.wait_ready()
            assert broker.client().read_all("s", 2) == rows, "byte %d: served something else" % at
            broker.kill()
        else:
            assert broker.wait_end() > 0, broker.log()
            refused += 1
        with open(path, "wb") as file:
            file.write(good)
    assert refused > 0, "no flipped bit was noticed"


def test_journal_of_a_newer_format_is_refused_untouched(scratch):
    data_dir, rows = fill(scratch)
    folder = os.path.join(data_dir, "journal")
    names = sorted(os.listdir(folder))
    originals = {}
    changed = 0
    for name in names:
        with open(os.path.join(folder, name), "r+b") as file:
            originals[name] = file.read()
            newer = make_newer(originals[name])
            if newer:
                file.seek(0)
                file.write(newer)
                changed += 1
    assert changed > 0, "no header this test knows"
    records = [folder, os.path.join(data_dir, "segments")]
    before = [snapshot(each) for each in records]
    must_refuse(scratch, data_dir, "newer")
    changed = [differences(*pair) for pair in zip(before, (snapshot(each) for each in records)) if pair[0] != pair[1]]
    assert not changed, "the refusal changed %s" % changed
    for name, content in originals.items():
        with open(os.path.join(folder, name), "wb") as file:
            file.write(content)
    broker = Broker(scratch)
    assert broker.client().read_all("s", 2) == rows
    broker.stop()


def test_read_only_directory_is_refused(scratch):
    need_root("a read-only bind mount")
    data_dir, rows = fill(scratch)
    os.unlink(os.path.join(data_dir, "addresses"))  # of the killed broker: nothing can be removed from a read-only mount
    mounted = os.path.join(scratch, "read-only")
    os.mkdir(mounted)
    if subprocess.call(["mount", "--bind", data_dir, mounted], stderr=subprocess.DEVNULL):
        raise Skip("mount --bind is not allowed here")
    try:
        subprocess.check_call(["mount", "-o", "remount,ro,bind", mounted])
        must_refuse(scratch, mounted, mounted, "not writable")
        must_refuse(scratch, os.path.join(mounted, "below"), "Read-only file system")
    finally:
        subprocess.check_call(["umount", mounted])
    broker = Broker(scratch)
    assert broker.client().read_all("s", 2) == rows
    broker.stop()


def test_memory_file_system_needs_the_word_unsafe(scratch):
    need_root("mount tmpfs")
    mounted = os.path.join(scratch, "tmpfs")
    os.mkdir(mounted)
    if subprocess.call(["mount", "-t", "tmpfs", "-o", "size=300m", "none", mounted], stderr=subprocess.DEVNULL):
        raise Skip("mount is not allowed here")
    try:
        must_refuse(scratch, os.path.join(mounted, "data"), "--unsafe-fs")
        broker = Broker(scratch, "--unsafe-fs", data_dir=os.path.join(mounted, "data"))
        client = broker.client()
        client.create_stream("s")
        client.put("s", [("k", b"v")])
        broker.stop()
    finally:
        subprocess.check_call(["umount", mounted])


def test_wrong_settings_are_refused_with_the_right_name(scratch):
    must_refuse(scratch, os.path.join(scratch, "d"), "unknown flag", "--journal-bytes", flags=("--jornal-bytes", "1MiB"))
    log = must_refuse(scratch, os.path.join(scratch, "d"), "unknown flag '--elephants'", flags=("--elephants", "1"))
    assert "did you mean" not in log, log
    file = os.path.join(scratch, "file")
    open(file, "w").close()
    must_refuse(scratch, file, "is not a directory")
    must_refuse(scratch, os.path.join(scratch, "d"), "--insecure", flags=("--http", "0.0.0.0:0"))
    first = Broker(scratch)
    log = must_refuse(scratch, os.path.join(scratch, "d"), "another process", flags=("--listen", first.addresses["native"]))
    first.stop()


if __name__ == "__main__":
    run_tests(test_second_broker_is_refused_and_the_first_goes_on, test_sigkill_leaves_no_lock_behind,
              test_damaged_catalog_is_refused_untouched, test_flipped_bits_of_the_catalog_are_found_or_harmless,
              test_journal_of_a_newer_format_is_refused_untouched, test_read_only_directory_is_refused,
              test_memory_file_system_needs_the_word_unsafe, test_wrong_settings_are_refused_with_the_right_name)
