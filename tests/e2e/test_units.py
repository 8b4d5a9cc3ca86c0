"""The units of systemd/: right by systemd's own words, as hard as their README says, and installed whole."""
import re, stat
from kstream_test import *

UNITS = os.environ.get("SYSTEMD_UNITS", "build/release/systemd")
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
NAMES = ["kstreamd.service", "kstreamd@.service", "kstreamd.socket", "kstreamd-http.socket", "kstreamd-unix.socket"]


def need_analyze():
    if not shutil.which("systemd-analyze"):
        raise Skip("needs systemd-analyze (package systemd)")


def run(*words, **more):
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=DEADLINE_S, **more)


def unit_text(name):
    folder = UNITS if name.endswith(".service") else os.path.join(ROOT, "systemd")
    with open(os.path.join(folder, name)) as file:
        return file.read()


def test_systemd_finds_nothing_to_complain_about(scratch):
    need_analyze()
    for name in NAMES:
        with open(os.path.join(scratch, name), "w") as file:
            # The binary is where it was built, not where it will be installed.
            file.write(re.sub(r"^ExecStart=\S+", "ExecStart=" + os.path.abspath(KSTREAMD), unit_text(name), flags=re.M))
    checked = run("systemd-analyze", "verify", "--man=no", *[os.path.join(scratch, name.replace("@.", "@a."))
                                                             for name in NAMES])
    assert checked.returncode == 0 and not checked.stdout.strip(), checked.stdout
    # It does complain when there is a reason.
    with open(os.path.join(scratch, "bad.service"), "w") as file:
        file.write(unit_text(NAMES[0]).replace("WatchdogSec=", "WachdogSec="))
    assert "WachdogSec" in run("systemd-analyze", "verify", "--man=no", os.path.join(scratch, "bad.service")).stdout


def test_exposure_is_what_the_readme_says(scratch):
    need_analyze()
    with open(os.path.join(ROOT, "systemd", "README.md")) as file:
        said = re.search(r"an exposure of (\d+\.\d)", file.read()).group(1)
    for name in NAMES[:2]:
        judged = run("systemd-analyze", "security", "--offline=true", os.path.abspath(os.path.join(UNITS, name))).stdout
        found = re.search(r"Overall exposure level for \S+: (\d+\.\d)", judged).group(1)
        assert found == said, "%s: README says %s, systemd-analyze %s" % (name, said, found)


def test_units_say_what_the_broker_relies_on(scratch):
    for name in NAMES[:2]:
        lines = unit_text(name).split("\n")
        for line in ("Type=notify", "NotifyAccess=main", "WatchdogSec=30", "Restart=on-failure",
                     "RestartPreventExitStatus=2 74", "ExecReload=/bin/kill -HUP $MAINPID",
                     "Environment=KSTREAM_BOOT_ID=%b", "SystemCallFilter=adjtimex clock_adjtime"):
            assert line in lines, (name, line)
        assert "@" not in re.sub(r"=~?@(system-service|privileged)", "", "\n".join(lines)), "a name was left open in " + name
    names = [re.search(r"^FileDescriptorName=(.*)$", unit_text(name), re.M).group(1) for name in NAMES[2:]]
    assert sorted(names) == ["http", "native", "unix"], names


def test_install_is_whole_and_spares_the_configuration(scratch):
    meson = shutil.which("meson")
    build = os.path.dirname(os.path.abspath(UNITS))
    if not meson:
        raise Skip("needs meson")
    environment = {**os.environ, "DESTDIR": scratch}
    installed = run(meson, "install", "-C", build, "--no-rebuild", "--quiet", env=environment)
    assert installed.returncode == 0, installed.stdout
    files = {}
    for path, _, names in os.walk(scratch):
        files.update({name: os.path.join(path, name) for name in names})
    for name in NAMES + ["kstreamd.conf", "kstream.conf", "kstreamd", "kstreamctl"]:
        assert name in files, (name, sorted(files))
    # The unit starts the binary that was installed, with the file that was installed.
    with open(files["kstreamd.service"]) as file:
        words = re.search(r"^ExecStart=(.*)$", file.read(), re.M).group(1).split()
    assert [scratch + words[0], scratch + words[2]] == [files["kstreamd"], files["kstreamd.conf"]], words
    assert stat.S_IMODE(os.stat(files["kstreamd.conf"]).st_mode) == 0o644
    assert run(files["kstreamd"], "--config", files["kstreamd.conf"], "--check-config").returncode == 0
    with open(files["kstreamd.conf"], "a") as file:
        file.write("[limits]\nconnections = 7\n")
    assert run(meson, "install", "-C", build, "--no-rebuild", "--quiet", env=environment).returncode == 0
    with open(files["kstreamd.conf"]) as file:
        assert file.read().endswith("connections = 7\n"), "the administrator's file was overwritten"


if __name__ == "__main__":
    run_tests(test_systemd_finds_nothing_to_complain_about, test_exposure_is_what_the_readme_says,
              test_units_say_what_the_broker_relies_on, test_install_is_whole_and_spares_the_configuration)
