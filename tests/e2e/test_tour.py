"""The tour of README.md, pasted whole into a shell: what a new user does first must work the first time, and the second."""
import pty, re
from ctl_test import *

HERE = os.path.dirname(os.path.abspath(__file__))
DATA_DIR = "/var/tmp/kstream-tour"
LOG = "/var/log/dpkg.log"


def tour():
    """Its lines behind those that build."""
    with open(os.path.join(HERE, "..", "..", "README.md")) as file:
        block = re.search(r"^## A tour of 60 seconds\n\n```sh\n(.*?)^```$", file.read(), re.M | re.S).group(1)
    build, path, rest = re.fullmatch(r"(meson setup .*\n)(PATH=.*\n)\n((?:.|\n)*)", block).groups()
    assert "ninja -C build/release" in build and "build/release/tools:$PWD/build/release/daemon" in path
    return rest


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def paste(text, environment):
    """(exit code, what the terminal shows) of an interactive bash that is given all of it at once."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], environment)
    os.write(terminal, text.encode())
    shown = b""
    while True:
        try:
            more = os.read(terminal, 65536)
        except OSError:
            break
        if not more:
            break
        shown += more
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode(errors="replace").replace("\r\n", "\n")


def test_the_tour_of_the_readme_works_when_it_is_pasted(scratch):
    lines = tour()
    assert DATA_DIR in lines and LOG in lines
    directory = os.path.join(scratch, "tour")
    lines = lines.replace(DATA_DIR, directory)
    if not os.path.exists(LOG) or os.path.getsize(LOG) == 0:
        log = os.path.join(scratch, "dpkg.log")
        with open(log, "w") as file:
            file.write("".join("2026-11-24 10:00:%02d status installed package-%d 1.0\n" % (i, i) for i in range(60)))
        lines = lines.replace(LOG, log)
    native = "127.0.0.1:%d" % free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KSTREAM_")}
    environment.update(TERM="dumb", PS1="$ ", HOME=scratch, KSTREAM_CONFIG="/dev/null", KSTREAM_LISTEN__NATIVE=native,
                       KSTREAM_LISTEN__HTTP="127.0.0.1:0", KSTREAM_ENDPOINT=native,
                       PATH=":".join([os.path.dirname(KSTREAMCTL), os.path.dirname(KSTREAMD), os.environ["PATH"]]))
    for _ in range(2):
        code, shown = paste(lines + "exit\n", environment)
        assert "(code=" not in shown and "command not found" not in shown and "No such" not in shown, shown
        assert code == 0 and "ACTIVE" in shown and re.search(r"Done +.*kstreamd", shown), shown
        read = shown[shown.rindex("| head -3") + len("| head -3"):].split("\n")
        assert len([line for line in read if re.match(r"\S+ \S", line) and not line.startswith("$")]) >= 3, shown
        assert not os.path.exists(directory), shown
        Ctl(native).fails(7, "refused", "status")


def test_status_waits_for_a_broker_that_starts(scratch):
    native = "127.0.0.1:%d" % free_port()
    ctl = Ctl(native)
    ctl.fails(7, "refused", "status", "--wait=100ms")
    ctl.fails(2, "'--wait", "status", "--wait=never")
    waiting = ctl.start("status", "--wait", "--progress", "json")
    # It says so when it has waited for a second; only then is there a broker.
    assert json.loads(waiting.stderr.readline())["event"] == "waiting"
    broker = Broker(scratch, "--listen", native)
    out, err = waiting.communicate(timeout=DEADLINE_S)
    assert waiting.returncode == 0 and json.loads(out)["endpoint"] == native, (out, err)
    broker.stop()


run_tests(test_the_tour_of_the_readme_works_when_it_is_pasted, test_status_waits_for_a_broker_that_starts)
