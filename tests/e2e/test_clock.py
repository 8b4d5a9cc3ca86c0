"""The broker's clock (base/broker_clock.h) under a wall clock that jumps: libfaketime moves the clocks of the real broker.

Each test says which rule it meets. "wall": only CLOCK_REALTIME moves (FAKETIME_DONT_FAKE_MONOTONIC=1); "all": every clock
does, as if the machine had slept.
"""
import ctypes, glob
from kstream_test import *

MINUTE, HOUR, DAY = 60, 3600, 86400
FAKE = sorted(glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1"))


class Machine:
    """Brokers of one scratch directory whose clocks are moved by the text of a file."""

    def __init__(self, scratch, which, boot="a"):
        if not FAKE:
            raise Skip("needs libfaketime (package libfaketime)")
        self.scratch = scratch
        self.file = os.path.join(scratch, "offset")
        self.which = which
        self.boot = boot
        self.set(0)

    def set(self, seconds):
        with open(self.file + ".new", "w") as file:
            file.write("%+d\n" % seconds)
        os.rename(self.file + ".new", self.file)
        self.offset = seconds

    def start(self, *flags):
        # FORCE_MONOTONIC_FIX: with the other value, waits on a condition end at once (wall) or hang (all).
        environment = {"LD_PRELOAD": FAKE[0], "FAKETIME_TIMESTAMP_FILE": self.file, "FAKETIME_NO_CACHE": "1",
                       "FAKETIME_DONT_RESET": "1", "FAKETIME_FORCE_MONOTONIC_FIX": "0" if self.which == "wall" else "1",
                       "KSTREAM_BOOT_ID": self.boot * 32}
        if self.which == "wall":
            environment["FAKETIME_DONT_FAKE_MONOTONIC"] = "1"
        return Broker(self.scratch, *flags, environment=environment)


def broker_clock(client):
    """Seconds by which the broker's clock is ahead of this machine's."""
    return decode(client.call(PING))[4][0] / 1000 - time.time()


def near(value, seconds):
    """Within half an hour: what a test takes is nothing against it, and every jump is larger."""
    return abs(value - seconds) < HOUR / 2


def arrivals(client, name):
    """The arrival of each batch, from the segment that GetRecords sends."""
    at, found = client.iterator(name), []
    while True:
        records = client.get(at)
        for _, batch, _, _ in decode_fields(records.segment):
            header = decode(list(decode_fields(batch))[0][1])
            found.append(header[4][0])
        if not records:
            return found
        at = records.next


def confirm(client):
    fields = decode(client.call(CONFIRM_CLOCK))
    return {"clock": fields[1][0] / 1000 - time.time(), "step": signed(fields[2][0]) / 1000, "was_held": fields[3][0],
            "behind": fields[4][0] / 1000, "why": text(fields, 5)}


def signed(number):
    return number - (1 << 64) if number >= 1 << 63 else number


def kernel_is_synchronised():
    class Timex(ctypes.Structure):
        _fields_ = [("modes", ctypes.c_uint), ("rest", ctypes.c_long * 40)]
    timex = Timex()
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    return 0 <= state < 5


def logged(broker, text_, count=1):
    wait_until(lambda: broker.log().count(text_) >= count, "the log says '%s' %d times" % (text_, count))


def test_wall_jumps_while_running_are_not_adopted(scratch):
    """A difference of over 60 s is not adopted for 10 minutes, and forgotten when it goes away."""
    machine = Machine(scratch, "wall")
    broker = machine.start()
    client = broker.client()
    client.create_stream("s")
    client.put("s", [("k", b"0")])
    for n, jump in enumerate((25 * HOUR, 8 * DAY, -25 * HOUR, -8 * DAY)):
        machine.set(jump)
        logged(broker, "clock.differs", n + 1)
        assert near(broker_clock(client), 0), "the broker believed a jump by %d s" % jump
        client.put("s", [("k", b"1")])
        machine.set(0)
        logged(broker, "clock.agrees", n + 1)
    times = arrivals(client, "s")
    assert len(times) == 5 and times == sorted(times) and near(times[-1] / 1000, times[0] / 1000), times
    assert "clock.adopted" not in broker.log() and "clock.retention_held" not in broker.log()
    broker.stop()


def test_wall_jump_that_stays_is_adopted(scratch):
    """After the wait the clock steps, forward or back; arrivals of a shard do not go back."""
    machine = Machine(scratch, "wall")
    broker = machine.start("--clock-adopt-after", "1s")
    client = broker.client()
    client.create_stream("s")
    machine.set(25 * HOUR)
    logged(broker, "clock.adopted step_s=")
    assert near(broker_clock(client), 25 * HOUR)
    assert "clock.retention_held" not in broker.log(), "a day is believed"
    client.put("s", [("k", b"1")])
    machine.set(0)
    logged(broker, "clock.adopted step_s=-")
    assert near(broker_clock(client), 0)
    client.put("s", [("k", b"2")])
    client.create_stream("t")
    client.put("t", [("k", b"3")])
    before, after = arrivals(client, "s")
    assert after == before and near(after / 1000 - time.time(), 25 * HOUR), "an arrival went back"
    assert near(arrivals(client, "t")[0] / 1000 - time.time(), 0), "another shard has nothing to do with it"
    broker.stop()


def test_wall_jump_over_a_week_holds_retention_until_confirmed(scratch):
    """A step of over 7 d holds retention until the time is synchronised, an hour has passed, or confirm-clock."""
    machine = Machine(scratch, "wall")
    broker = machine.start("--clock-adopt-after", "1s")
    client = broker.client()
    client.create_stream("s")
    client.put("s", [("k", b"0")])
    machine.set(8 * DAY)
    logged(broker, "clock.retention_held why=\"the wall clock jumped far ahead\"")
    assert near(broker_clock(client), 8 * DAY)
    if kernel_is_synchronised():
        logged(broker, "clock.retention_released why=\"the kernel reports synchronised time\"")
        assert not confirm(client)["was_held"]
    else:
        assert len(arrivals(client, "s")) == 1, "a record expired because a clock jumped"
        answer = confirm(client)
        assert answer["was_held"] and near(answer["behind"], 8 * DAY) and answer["step"] == 0, answer
        logged(broker, "clock.retention_released why=\"confirmed\"")
    assert arrivals(client, "s") == [], "a record of eight days ago is still there"
    answer = confirm(client)
    assert not answer["was_held"] and answer["behind"] == 0 and answer["why"] == "", answer
    broker.stop()


def test_confirmation_adopts_at_once(scratch):
    """kstreamctl confirm-clock: the difference that waits is adopted, and retention is not held for it."""
    machine = Machine(scratch, "wall")
    broker = machine.start()
    client = broker.client()
    machine.set(8 * DAY)
    logged(broker, "clock.differs")
    ctl = subprocess.run([os.environ["KSTREAMCTL"], "--endpoint", broker.addresses["native"], "confirm-clock", "-o",
                          "text", "--query", "stepped_seconds"], stdout=subprocess.PIPE, text=True, timeout=DEADLINE_S)
    assert ctl.returncode == 0 and near(float(ctl.stdout), 8 * DAY), ctl
    assert near(broker_clock(client), 8 * DAY)
    assert "clock.retention_held" not in broker.log() and "clock.adopted" not in broker.log()
    broker.stop()


def test_hold_ends_by_itself(scratch):
    """... or an hour (here: a second) passes."""
    machine = Machine(scratch, "wall")
    broker = machine.start("--clock-adopt-after", "1s", "--clock-hold-time", "1s")
    machine.set(8 * DAY)
    logged(broker, "clock.retention_held")
    logged(broker, "clock.retention_released")
    broker.stop()


def test_all_clocks_forward_is_time_that_passed(scratch):
    """The clock advances by CLOCK_BOOTTIME: a machine that slept is no clock that jumped."""
    for n, jump in enumerate((25 * HOUR, 8 * DAY)):
        folder = os.path.join(scratch, str(n))
        os.mkdir(folder)
        machine = Machine(folder, "all")
        broker = machine.start()
        client = broker.client()
        client.create_stream("s")
        client.put("s", [("k", b"0")])
        machine.set(jump)
        wait_until(lambda: near(broker_clock(client), jump), "the broker's clock has passed the sleep")
        client.put("s", [("k", b"1")])
        times = arrivals(client, "s")
        # What was stored before the sleep is older than 24 h, and has expired.
        assert len(times) == 1 and near(times[0] / 1000 - time.time(), jump), times
        assert "clock.differs" not in broker.log() and "clock.retention_held" not in broker.log(), broker.log()
        broker.stop()


def test_all_clocks_back_stop_no_service(scratch):
    """What no real machine does: the boot clock goes back. Time then stands, never goes back within a shard."""
    machine = Machine(scratch, "all")
    broker = machine.start()
    client = broker.client()
    client.create_stream("s")
    client.put("s", [("k", b"0")])
    machine.set(-25 * HOUR)
    client.put("s", [("k", b"1")])
    times = arrivals(client, "s")
    assert times == sorted(times), times
    assert near(broker_clock(client), 0)
    broker.stop()


def restarts(scratch, which, boots, jump, *flags):
    """A broker that stored a record, and the next one of that directory after a jump: (broker, client)."""
    machine = Machine(scratch, which, boots[0])
    broker = machine.start()
    client = broker.client()
    client.create_stream("s")
    client.put("s", [("k", b"0")])
    broker.kill()
    machine.boot = boots[1]
    machine.set(jump)
    broker = machine.start(*flags)
    return broker, broker.client()


def test_restart_within_one_boot_believes_no_jump(scratch):
    """Within one boot the last known time and CLOCK_BOOTTIME say what the time is, over a kill as well."""
    for n, jump in enumerate((25 * HOUR, 8 * DAY, -25 * HOUR)):
        folder = os.path.join(scratch, str(n))
        os.mkdir(folder)
        broker, client = restarts(folder, "wall", "aa", jump)
        assert near(broker_clock(client), 0), "a restart believed a jump by %d s" % jump
        logged(broker, "clock.differs")
        broker.stop()


def test_start_after_a_reboot(scratch):
    """At start a gap of up to 7 d is believed, a larger one holds retention, and time does not go back."""
    cases = [(25 * HOUR, 25 * HOUR, False), (8 * DAY, 8 * DAY, True), (-25 * HOUR, 0, False)]
    for n, (jump, expected, is_held) in enumerate(cases):
        folder = os.path.join(scratch, str(n))
        os.mkdir(folder)
        broker, client = restarts(folder, "wall", "ab", jump)
        now = broker_clock(client)
        # Known to have passed since: the uptime, which here is not a new boot's.
        uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
        assert near(now, expected) or expected == 0 and near(now, uptime), (jump, now)
        assert ("clock.retention_held why=\"the wall clock is far ahead" in broker.log()) == is_held, broker.log()
        client.put("s", [("k", b"1")])
        times = arrivals(client, "s")
        # Believed, the gap makes the first record too old; held, it does not.
        is_expired = jump == 25 * HOUR or is_held and kernel_is_synchronised()
        assert len(times) == 2 - is_expired and times == sorted(times), times
        broker.stop()


def test_hold_outlives_a_restart(scratch):
    """Whoever restarts a broker whose retention is held has confirmed nothing."""
    if kernel_is_synchronised():
        raise Skip("the kernel's time is synchronised, which releases retention at once")
    machine = Machine(scratch, "wall")
    broker = machine.start("--clock-adopt-after", "1s")
    machine.set(8 * DAY)
    logged(broker, "clock.retention_held")
    broker.kill()
    broker = machine.start()
    logged(broker, "clock.retention_held")
    answer = confirm(broker.client())
    assert answer["was_held"] and near(answer["behind"], 8 * DAY), answer
    broker.stop()
    broker = machine.start()
    assert not confirm(broker.client())["was_held"], "a confirmation was forgotten"
    broker.stop()


def test_lost_clock_file_holds_retention(scratch):
    """When nothing is known of the time before, nothing expires."""
    machine = Machine(scratch, "wall")
    broker = machine.start()
    broker.stop()
    os.unlink(os.path.join(broker.data_dir, "clock"))
    broker = machine.start()
    logged(broker, "clock.retention_held why=\"the last known time is lost\"")
    broker.stop()


if __name__ == "__main__":
    run_tests(test_wall_jumps_while_running_are_not_adopted, test_wall_jump_that_stays_is_adopted,
              test_wall_jump_over_a_week_holds_retention_until_confirmed, test_confirmation_adopts_at_once,
              test_hold_ends_by_itself, test_all_clocks_forward_is_time_that_passed, test_all_clocks_back_stop_no_service,
              test_restart_within_one_boot_believes_no_jump, test_start_after_a_reboot, test_hold_outlives_a_restart,
              test_lost_clock_file_holds_retention)
