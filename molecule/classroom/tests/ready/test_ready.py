"""What a student does on the first morning, and what one with ideas of her own has got."""

from testinfra.host import Host

WORK = "cd /home/alice/kmodlab-examples &&"


def as_alice(host: Host, script: str) -> str:
    return str(host.check_output("su alice -c %s", f"{WORK} {script}"))


def test_a_student_builds_loads_reads_the_log_and_unloads(host: Host) -> None:
    as_alice(host, "make -s load MODULE=hello-1")
    assert "hello_1" in host.check_output("lsmod")
    as_alice(host, "make -s unload MODULE=hello-1")
    as_alice(host, "sudo -n insmod hello-1.ko && sudo -n rmmod hello-1")
    assert as_alice(host, "dmesg").count("Hello, world 1.") == 2


def test_nobody_loads_what_another_has_built(host: Host) -> None:
    there = "/home/alice/kmodlab-examples/hello-1.ko"
    host.check_output("chmod -R a+rX /home/alice")
    for refused in (f"sudo -n kmodlab-load {there}", f"ln -sf {there} /tmp/mine.ko && sudo -n kmodlab-load /tmp/mine.ko"):
        answer = host.run("su mallory -c %s", refused)
        assert answer.rc == 2 and answer.stderr.startswith("kmodlab-load: ")
    assert "hello_1" not in host.check_output("lsmod")
    as_alice(host, "make -s clean")


def test_sudo_allows_nothing_else(host: Host) -> None:
    assert host.run("su alice -c 'sudo -n id'").rc != 0


def test_headers_follow_the_kernel(host: Host) -> None:
    assert host.package("linux-headers-amd64").is_installed


def test_everything_is_the_students(host: Host) -> None:
    assert host.check_output("find /home/alice/kmodlab-examples ! -user alice") == ""


def test_the_link_led_nowhere(host: Host) -> None:
    assert host.check_output("find /etc -user mallory -o -name hello-1.c -o -name .handed-out.json") == ""
    assert host.file("/etc").user == "root"
    assert host.file("/home/mallory/kmodlab-examples").is_symlink


def test_a_panic_reboots(host: Host) -> None:
    assert host.check_output("sysctl -n kernel.panic") == "30"
