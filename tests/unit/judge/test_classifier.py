"""The samples are reports as a serial console shows them; a file more under samples/ is a test more.

A sample's name begins with the class it must be found as, or with `clean` (nothing but notices); `.x2.` in it
says that it holds two reports. What ends in a kernel's whole name (`-6.12-x86_64`, `-6.12-debug-x86_64`) was recorded on
that by tests/samples/record.py, or is a boot of it; the others are written by hand in the formats of the kernel.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from kmodlab.ground.errors import LabError
from kmodlab.judge.classifier import (
    MOST_FINDINGS,
    RULES,
    Benign,
    Finding,
    Kind,
    Pattern,
    Rules,
    Severity,
    classify,
    classify_console,
    load_rules,
    needles,
)
from kmodlab.judge.kernel_log import KernelLog, Record

RELEASE = "6.12.43+deb13-amd64"
SAMPLES = sorted((Path(__file__).parent / "samples").glob("*.txt"))
REPORTS = [path for path in SAMPLES if not path.name.startswith("clean")]
ONLY_CONSOLE = [path for path in REPORTS if re.search(r"-(cut|unstamped|behind-a-prompt)-", path.name)]
NOT_MADE = {"corrected-error", "detector-off", "dma", "filesystem", "log-lost", "module-refused", "msr", "no-types"}
NOT_MADE |= {"no-retpoline", "other-warning", "power-count", "scheduling", "trace"}
"""Classes of which no kernel of the fleet was made to say anything, or one line only: that is their pattern's example."""
RECORDED = re.compile(r"-\d+\.\d+(-debug)?-(x86_64|arm64|armhf)\.txt$")
RULE_SET = load_rules()
KINDS = {kind.name: kind for kind in RULE_SET.classes}
PATTERNS = [(kind, pattern) for kind in RULE_SET.classes for pattern in kind.patterns]


def kind_of(path: Path) -> Kind:
    """The longest class name that a sample's name begins with."""
    fitting = [name for name in KINDS if re.match(rf"{name}[-.]", path.name)]
    return KINDS[max(fitting, key=len)]


def sample(name: str) -> str:
    (path,) = (path for path in SAMPLES if path.name.startswith(name))
    return path.read_text()


def records(lines: Sequence[str], step: float = 0.001, facility: int = 0) -> list[Record]:
    return [Record(n, 10 + n * step, 4, facility, text) for n, text in enumerate(lines)]


def serious(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.severity > Severity.NOTICE]


def unstamped(text: str) -> list[str]:
    return [re.sub(r"^\[ *[\d.]+\](\[ *T\d+\])? ?", "", line) for line in text.splitlines()]


def ident(path: Path) -> str:
    return path.stem


class TestSamples:
    @pytest.mark.parametrize("path", REPORTS, ids=ident)
    def test_a_report_is_found_once_as_what_it_is(self, path: Path) -> None:
        kind = kind_of(path)
        findings = classify_console(path.read_text(), release=RELEASE)
        fitting = [finding for finding in findings if finding.severity >= min(kind.severity, Severity.FAULT)]
        several = re.search(r"\.x(\d+)\.", path.name)
        assert [finding.kind for finding in fitting][:1] == [kind.name]
        if not RECORDED.search(path.name):  # one fault often makes a kernel say several things
            assert sum(finding.count for finding in fitting) == (int(several[1]) if several else 1)
        assert fitting[0].severity >= kind.severity
        assert fitting[0].headline and fitting[0].reason

    @pytest.mark.parametrize("path", REPORTS, ids=ident)
    def test_a_machine_that_dies_behind_the_headline_is_found_still(self, path: Path) -> None:
        text = path.read_text()
        headline = next(f.headline for f in classify_console(text, release=RELEASE) if f.kind == kind_of(path).name)
        cut = text[: text.index(headline) + len(headline)]
        assert kind_of(path).name in [finding.kind for finding in classify_console(cut, release=RELEASE)]

    @pytest.mark.parametrize("path", [p for p in REPORTS if p not in ONLY_CONSOLE], ids=ident)
    def test_the_log_says_the_same_as_the_console(self, path: Path) -> None:
        text = path.read_text()
        from_log = classify(records(unstamped(text)), release=RELEASE)
        from_console = classify_console(text, release=RELEASE)
        assert [(f.kind, f.fingerprint) for f in from_log] == [(f.kind, f.fingerprint) for f in from_console]

    @pytest.mark.parametrize("path", [p for p in SAMPLES if p not in REPORTS], ids=ident)
    def test_a_clean_boot_is_clean(self, path: Path) -> None:
        release = re.search(r"Linux version (\S+)", path.read_text())
        findings = classify_console(path.read_text(), release=release[1] if release else RELEASE)
        assert serious(findings) == []

    def test_every_class_has_a_sample(self) -> None:
        assert {kind_of(path).name for path in REPORTS} == set(KINDS) - NOT_MADE


@pytest.mark.parametrize(("kind", "pattern"), PATTERNS, ids=lambda value: getattr(value, "name", ""))
class TestPatterns:
    def test_its_example_is_found_as_its_class(self, kind: Kind, pattern: Pattern) -> None:
        (finding,) = classify(records([pattern.example]), release=RELEASE)
        assert (finding.kind, finding.reason) == (kind.name, pattern.reason or kind.means)
        assert finding.severity == (Severity.NOTICE if pattern.doubtful else kind.severity)

    def test_what_is_looked_for_first_is_in_it(self, kind: Kind, pattern: Pattern) -> None:
        assert any(needle in pattern.example for needle in pattern.needles)
        assert all(pattern.needles), "else every line costs a search"

    def test_a_prefix_hides_nothing(self, kind: Kind, pattern: Pattern) -> None:
        (finding,) = classify(records([f"watchdog: rcu: {pattern.example}"]), release=RELEASE)
        assert finding.kind == kind.name

    def test_without_it_the_example_would_be_missed_or_said_otherwise(self, kind: Kind, pattern: Pattern) -> None:
        others = [other for other in kind.patterns if other is not pattern]
        assert not [other.match.pattern for other in others if other.match.search(pattern.example)]


class TestNothingWrong:
    @pytest.mark.parametrize(
        "line",
        [
            "DEBUG: all is well",
            "my_module: DEBUG: BUGs: none",
            "[Firmware Bug]: TSC doesn't count with P0 frequency!",
            "ACPI BIOS Error (bug): Could not resolve symbol",
            "kmemleak: Kernel memory leak detector initialized (mem pool available: 15677)",
            "kmemleak: 0 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
            "ODEBUG: selftest passed",
            "Spectre V2 : WARNING: Unprivileged eBPF is enabled with eIBRS on",
            "NMI watchdog: Enabled. Permanently consumes one hw-PMU counter.",
            "mce: CPU0 supports 10 MCE banks",
            "Disabling lock debugging due to kernel taint",
            "hello_1: loading out-of-tree module taints kernel.",
            "kfence: initialized - using 2097152 bytes for 255 objects at 0x(____ptrval____)",
            "rcu: \tRCU restricting CPUs from NR_CPUS=8192 to nr_cpu_ids=2.",
            "random: crng init done",
            "kmodlab-mark 42",
            "panic=-1 is on the command line, and softlockup_panic=1, too",
            "refcount of the module: 2",
            "debugfs: mounted",
        ],
    )
    def test_a_harmless_line_is_passed_over(self, line: str) -> None:
        assert classify(records([line]), release=RELEASE) == []

    def test_what_a_program_writes_to_the_log_is_not_the_kernels_word(self) -> None:
        text = ["BUG: kernel NULL pointer dereference, address: 0000000000000000"]
        assert classify(records(text, facility=1), release=RELEASE) == []
        assert len(classify(records(text), release=RELEASE)) == 1


class TestBenign:
    @pytest.mark.parametrize("benign", RULE_SET.benign, ids=lambda benign: benign.match.pattern)
    def test_each_exemption_is_needed_and_works(self, benign: Benign) -> None:
        release = f"{benign.kernels.first}.1" if benign.kernels else RELEASE
        without = RULE_SET.model_copy(update={"benign": tuple(b for b in RULE_SET.benign if b is not benign)})
        example = records(benign.example.splitlines())
        assert classify(example, release=release, rules=without)
        assert not classify(example, release=release)
        if benign.behind:
            assert classify(example[-1:], release=release), "by itself it means harm"

    def test_what_came_long_ago_excuses_nothing(self) -> None:
        lines = (
            "[  100.0] FAULT_INJECTION: forcing a failure.",
            "kobject: kobject_add_internal failed for a (error: -12 parent: b)",
        )
        soon, late = (f"{lines[0]}\n[  {when:.6f}] {lines[1]}\n".replace("100.0]", "100.000000]") for when in (101.0, 103.0))
        assert not classify_console(soon, release=RELEASE)
        assert [each.kind for each in classify_console(late, release=RELEASE)] == ["kobject"]

    @pytest.fixture
    def known(self) -> Rules:
        """A WARNING at one place that 5.10 to 6.1 are excused for."""
        return RULE_SET.model_copy(
            update={
                "benign": (
                    Benign.model_validate(
                        {
                            "match": r"at /build/warn/warn\.c:8 ",
                            "reason": "known",
                            "example": "x",
                            "kernels": {"from": "5.10", "to": "6.1"},
                        }
                    ),
                )
            }
        )

    @pytest.mark.parametrize(
        ("release", "found"),
        [
            ("5.9.16", 1),
            ("5.10.0-33-amd64", 0),
            ("6.1.0-28-amd64", 0),
            ("6.2.0", 1),
            ("6.12.43", 1),
            ("next", 1),
        ],
    )
    def test_a_range_of_kernels_is_inclusive_and_numeric(self, known: Rules, release: str, found: int) -> None:
        text = sample("warning-x86_64-6.12")
        assert len(classify_console(text, release=release, rules=known)) == found

    def test_an_excused_headline_excuses_the_whole_report_and_no_other(self, known: Rules) -> None:
        first, second = classify_console(sample("warning-then-another"), release="6.12")
        (left,) = classify_console(sample("warning-then-another"), release="6.1.0", rules=known)
        assert left == second != first

    def test_a_panic_that_follows_is_not_excused(self, known: Rules) -> None:
        (finding,) = classify_console(sample("warning-panic-on-warn"), release="6.1.0", rules=known)
        assert (finding.kind, finding.severity) == ("panic", Severity.FATAL)


class TestReports:
    def test_a_panic_makes_the_report_before_it_fatal_and_is_none_itself(self) -> None:
        (finding,) = classify_console(sample("warning-panic-on-warn"), release=RELEASE)
        assert (finding.kind, finding.severity) == ("warning", Severity.FATAL)
        assert finding.headline.startswith("WARNING: CPU: 1")
        assert "end Kernel panic" in finding.trace[-1]

    def test_the_trace_is_the_whole_report_and_nothing_else(self) -> None:
        lines = unstamped(sample("warning-x86_64-6.12"))
        before = ["virtio_net virtio0 ens3: renamed from eth0"]
        after = ["Hello world 1.", "Goodbye world 1."]
        (finding,) = classify(records(before + lines + after), release=RELEASE)
        assert list(finding.trace) == lines

    def test_a_line_that_blunders_in_does_not_tear_a_report(self) -> None:
        lines = unstamped(sample("warning-x86_64-6.12"))
        middle = lines.index("Call Trace:") + 3
        (finding,) = classify(records([*lines[:middle], "eth0: link up", *lines[middle:]]), release=RELEASE)
        (plain,) = classify(records(lines), release=RELEASE)
        assert finding.fingerprint == plain.fingerprint
        assert finding.trace[-1] == lines[-1]

    def test_a_notice_within_a_report_is_a_finding_of_its_own(self) -> None:
        lines = unstamped(sample("warning-x86_64-6.12"))
        notice = "workqueue: deferred [work] hogged CPU for >10000us 4 times, consider switching to WQ_UNBOUND"
        findings = classify(records([*lines[:5], notice, *lines[5:]]), release=RELEASE)
        assert [finding.kind for finding in findings] == ["warning", "hogged"]
        assert notice not in findings[0].trace

    def test_what_follows_a_trace_is_another_report(self) -> None:
        oops = unstamped(sample("oops-null-x86_64-6.12"))
        sleep = unstamped(sample("atomic-sleep-x86_64-6.12"))
        findings = serious(classify(records(oops + sleep), release=RELEASE))
        assert [finding.kind for finding in findings] == ["oops", "atomic-sleep"]

    def test_two_reports_without_a_trace_are_two(self) -> None:
        line = "BUG: scheduling while atomic: insmod/331/0x00000002"
        (finding,) = classify(records([line, line]), release=RELEASE)
        assert finding.count == 2, "told once"

    def test_what_comes_seconds_later_is_another_report(self) -> None:
        lines = [
            "BUG: sleeping function called from invalid context at x.c:1",
            "INFO: task a:1 blocked for more than 120 seconds.",
        ]
        assert len(classify(records(lines, step=0.001), release=RELEASE)) == 1
        assert len(classify(records(lines, step=5), release=RELEASE)) == 2

    def test_what_comes_many_lines_later_is_another_report(self) -> None:
        lines = ["BUG: sleeping function called from invalid context at x.c:1"]
        lines += [f"usb 1-{n}: new device" for n in range(60)]
        lines += ["INFO: task a:1 blocked for more than 120 seconds."]
        assert [f.kind for f in classify(records(lines), release=RELEASE)] == ["atomic-sleep", "hung-task"]

    def test_lines_of_one_record_are_lines(self) -> None:
        text = "\n".join(unstamped(sample("kasan-oob")))
        findings = classify(records([text]), release=RELEASE)
        assert [finding.kind for finding in serious(findings)] == ["kasan"]
        assert serious(findings)[0].headline.startswith("BUG: KASAN")

    def test_a_pattern_split_across_two_reads_is_found(self) -> None:
        log = KernelLog()
        whole = b"4,1,1000,-;watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [insmod:318]\n"
        middle = whole.index(b"soft") + 2
        log.feed(whole[:middle])
        assert classify(log.since(-1), release=RELEASE) == []
        log.feed(whole[middle:])
        assert [finding.kind for finding in classify(log.since(-1), release=RELEASE)] == ["soft-lockup"]


class TestFingerprint:
    def test_addresses_offsets_and_registers_do_not_matter(self) -> None:
        text = sample("oops-null-x86_64-6.12")
        moved = re.sub(
            r"\+0x[0-9a-f]+/0x[0-9a-f]+",
            "+0x123/0x456",
            re.sub(r"\b[0-9a-f]{16}\b", "00000000deadbeef", text),
        )
        moved = moved.replace("insmod/331", "insmod/4711").replace("do_one_initcall", "do_one_initcall.isra.0")
        one, other = (serious(classify_console(t, release=RELEASE))[0] for t in (text, moved))
        assert text != moved
        assert one.fingerprint == other.fingerprint
        assert re.fullmatch(r"[0-9a-f]{12}", one.fingerprint)

    def test_another_place_is_another_fingerprint(self) -> None:
        text = sample("oops-null-x86_64-6.12")
        one, other = (serious(classify_console(t, release=RELEASE))[0] for t in (text, text.replace("oops_init", "oops_exit")))
        assert one.fingerprint != other.fingerprint

    def test_stale_frames_and_the_reporting_itself_do_not_matter(self) -> None:
        text = sample("kasan-oob")
        bare = "\n".join(line for line in text.splitlines() if " ? " not in line and "kasan_report" not in line)
        one, other = (serious(classify_console(t, release=RELEASE))[0] for t in (text, bare))
        assert len(one.trace) > len(other.trace)
        assert one.fingerprint == other.fingerprint

    def test_the_same_oops_has_one_fingerprint_on_old_and_new_armhf(self) -> None:
        """Their traces are written in two ways."""
        texts = [sample("oops-null-armhf-5.10"), sample("oops-null-armhf-6.12")]
        texts[1] = "\n".join(line for line in texts[1].splitlines() if "init_module" not in line or "do_init" in line)
        texts[1] = texts[1].replace("do_init_module from init_module_from_file", "do_init_module from sys_finit_module")
        texts = [re.sub(r".*sys_finit_module\)? from.*\n", "", text) for text in texts]
        one, other = (serious(classify_console(text, release=RELEASE))[0] for text in texts)
        assert one.fingerprint == other.fingerprint

    def test_a_report_without_a_trace_is_known_by_its_words(self) -> None:
        lines = [
            "irq 11: nobody cared",
            "irq 42: nobody cared",
            "genirq: Flags mismatch irq 5. 00000000 (a) vs. 00000080 (b)",
        ]
        first, second, third = (classify(records([line]), release=RELEASE)[0].fingerprint for line in lines)
        assert first == second != third


class TestConsole:
    def test_stamps_callers_levels_and_colours_are_taken_off(self) -> None:
        bug = "BUG: scheduling while atomic: insmod/331/0x00000002"
        for line in (
            f"[   12.345678] {bug}",
            f"[   12.345678][  T331] {bug}",
            f"[   12.345678] [   C1] {bug}",
            f"<3>[   12.345678] {bug}",
            f"\x1b[1m[   12.345678] {bug}\x1b[0m\r",
            f"login: [   12.345678] {bug}",
            f"Nov 28 01:02:03 host kernel: {bug}",
            f"Nov  8 01:02:03 host kernel: [   12.345678] {bug}",
            f"2026-11-28T01:02:03.123456+00:00 host kernel: {bug}",
            f"[Sat Nov 28 01:02:03 2026] {bug}",
            f"<1>{bug}",
            bug,
        ):
            (finding,) = classify_console(line, release=RELEASE)
            assert finding.headline == bug

    def test_two_lines_run_into_one_are_two(self) -> None:
        text = "[    1.000000] usb 1-1: new[    1.000100] Kernel panic - not syncing: out of luck"
        (finding,) = classify_console(text, release=RELEASE)
        assert finding.headline == "Kernel panic - not syncing: out of luck"

    def test_an_empty_console_says_nothing(self) -> None:
        assert classify_console("", release=RELEASE) == []


class TestRules:
    GOOD = "classes: [{name: oops, severity: fatal, means: it died, patterns: [{match: 'Oops', example: 'Oops: 0000 [#1]'}]}]\n"

    def load(self, tmp_path: Path, text: str) -> Rules:
        path = tmp_path / "rules.yml"
        path.write_text(text)
        return load_rules(path)

    def test_rules_can_be_brought_along(self, tmp_path: Path) -> None:
        rules = self.load(tmp_path, self.GOOD)
        assert [f.kind for f in classify(records(["Oops"]), release=RELEASE, rules=rules)] == ["oops"]

    @pytest.mark.parametrize(
        ("before", "after", "said"),
        [
            ("'Oops'", "'Oops('", r"classes\.0\.patterns\.0\.match: .*regular expression"),
            ("fatal", "deadly", r"classes\.0\.severity: .*expected one of notice, fault, fatal"),
            ("means: it died, ", "", r"classes\.0\.means: .*required"),
            ("name: oops", "title: oops", r"classes\.0\.name: .*required"),
            ("severity", "colour: red, severity", r"classes\.0\.colour: .*not permitted"),
            ("classes: [", "classes: [[", "not YAML"),
            (
                "}]\n",
                "}, {name: oops, severity: fault, means: b, patterns: [{match: a, example: a}]}]\n",
                "oops is there twice",
            ),
            (GOOD, "", "the file: "),
            (
                GOOD,
                GOOD + "benign: [{match: a, reason: b, example: a, kernels: {from: '6'}}]\n",
                r"benign\.0\.kernels\.from",
            ),
        ],
    )
    def test_a_broken_file_is_named_with_the_key_and_what_is_expected(
        self, tmp_path: Path, before: str, after: str, said: str
    ) -> None:
        assert before in self.GOOD
        with pytest.raises(LabError, match=said) as caught:
            self.load(tmp_path, self.GOOD.replace(before, after))
        assert str(tmp_path / "rules.yml") in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(LabError, match=r"no\.yml: No such file"):
            load_rules(tmp_path / "no.yml")

    def test_the_rules_lie_beside_the_code(self) -> None:
        assert RULES.is_file()
        assert len(RULE_SET.machinery) > 0


def said(*lines: str, level: int = 4, caller: str = "") -> list[Record]:
    return [Record(n, 10 + n * 0.001, level, 0, text, caller=caller) for n, text in enumerate(lines)]


class TestWhoseWord:
    """A module may print what it likes; the kernel is believed where it says so itself, or shows a trace."""

    @pytest.mark.parametrize(
        "words",
        [
            "my: Internal error: 0 so far",
            "my: Internal error: -5 [#1]",
            "my: external abort on 3",
            "my: refcount_t: 4 bytes",
            "my: refcount_t: underflow; use-after-free.",
            "my: selftest detected stalls on CPUs 0",
            "my: list_del corruption in the input, skipped",
            "my: known BUG: none, all self tests passed",
            "my: kernel BUG at nowhere",
            "rcu: INFO: rcu_sched detected expedited stalls on CPUs/tasks: { 1-... } 5 jiffies s: 85 root: 0x2/.",
            "usb 1-1: device not responding, BUG: maybe",
            "WARNING: the firmware is older than the driver",
            "the WARNING: is none",
            "------------[ cut here ]------------",
            "DMA-API: preallocated 65536 debug entries",
            "mce: [Hardware Error]: Machine check events logged",
            "debugfs: File 'Capture' in directory 'dapm' already present!",
            "Error: Driver 'pcspkr' is already registered, aborting...",
        ],
    )
    def test_a_module_may_use_the_kernels_words(self, words: str) -> None:
        assert serious(classify(said(words, level=4), release="6.12")) == []

    def test_the_kernel_does_not_whisper(self) -> None:
        words = "BUG: kernel NULL pointer dereference, address: 0000000000000000"
        assert serious(classify(said(words, level=6), release=RELEASE)) == []
        assert serious(classify(said(words, level=1), release=RELEASE))
        assert serious(classify(said("kmemleak: 3 new suspected memory leaks (see f)", level=6), release=RELEASE))

    @pytest.mark.parametrize("words", ["some: driver: BUG: this cannot be", "WARNING: something is off"])
    def test_a_trace_is_a_second_witness(self, words: str) -> None:
        assert serious(classify(said(words), release=RELEASE)) == []
        lines = [words, "CPU: 0 PID: 1 Comm: insmod", "Call Trace:", " <TASK>", " my_init+0x10/0x20 [my]"]
        (finding,) = serious(classify(said(*lines), release=RELEASE))
        assert finding.headline == words

    def test_a_doubtful_line_is_a_notice(self) -> None:
        (finding,) = classify(said("WARNING: the firmware is older than the driver"), release=RELEASE)
        assert finding.severity is Severity.NOTICE

    def test_a_report_without_its_first_lines_is_told(self) -> None:
        lines = unstamped(sample("warning-x86_64-6.12"))
        start = next(n for n, line in enumerate(lines) if line.startswith("Modules linked in"))
        (finding,) = serious(classify(records(lines[start:]), release=RELEASE))
        assert finding.kind == "warning" and "lost" in finding.reason

    def test_a_bare_trace_is_a_notice(self) -> None:
        (finding,) = classify(said("Call Trace:", " my_init+0x10/0x20 [my]"), release=RELEASE)
        assert (finding.kind, finding.severity) == ("trace", Severity.NOTICE)


class TestApart:
    def test_reports_of_two_contexts_run_through_each_other(self) -> None:
        one = said(*unstamped(sample("warning-x86_64-6.12")), caller="T331")
        two = said(*unstamped(sample("refcount-x86_64-6.12")), caller="C1")
        mixed = [record for pair in zip(one, two, strict=False) for record in pair]
        found = {finding.kind: finding for finding in serious(classify(mixed, release=RELEASE))}
        assert set(found) == {"warning", "refcount"}
        for kind, whole in (("warning", one), ("refcount", two)):
            (alone,) = serious(classify(whole, release=RELEASE))
            assert found[kind].fingerprint == alone.fingerprint

    def test_a_trace_without_functions_ends_a_report_too(self) -> None:
        lines = ["BUG: KASAN: wild-memory-access in f", "Call Trace:", "WARNING: CPU: 1 PID: 1 at a.c:1 f+0x1/0x2"]
        assert [each.kind for each in serious(classify(said(*lines), release=RELEASE))] == ["kasan", "warning"]

    def test_a_name_with_a_newline_hides_no_hung_task(self) -> None:
        (finding,) = classify(said("INFO: task a\nb:412 blocked for more than 120 seconds."), release=RELEASE)
        assert finding.kind == "hung-task"

    def test_the_caller_is_read_from_the_log(self) -> None:
        log = KernelLog()
        log.feed(b"4,1,1000,-,caller=T331;one\n4,2,1001,-;two\n")
        assert [record.caller for record in log.since(-1)] == ["T331", ""]


class TestCost:
    def test_a_flood_is_folded(self) -> None:
        lines = [f"WARNING: CPU: 1 PID: {n} at a.c:1 f+0x1/0x2" for n in range(5_000)]
        (finding,) = classify(said(*lines), release=RELEASE)
        assert finding.count == 5_000

    def test_a_flood_of_different_ones_is_capped_and_counted(self) -> None:
        letters = [f"{chr(103 + n // 676)}{chr(103 + n // 26 % 20)}{chr(103 + n % 20)}" for n in range(1000)]
        lines = [f"BUG: {word}zz is wrong" for word in letters]
        found = classify(said(*lines), release=RELEASE)
        assert len(found) == MOST_FINDINGS
        assert sum(finding.count for finding in found) == 1000

    @pytest.mark.parametrize(
        "line",
        [
            "INFO: task " + "a blocked " * 10_000,
            "WARNING: " + "x at y, " * 10_000,
            "UBSAN: " * 10_000,
            "[" * 100_000,
            "Oops: " * 10_000 + "[#",
            "BUG " + "x (Tainted " * 10_000,
            "a: " * 30_000 + "vmalloc",
            "x" * 1_000_000,
            "ODEBUG: " * 10_000 + "object type:",
        ],
        ids=lambda line: line[:12],
    )
    def test_no_line_takes_long(self, line: str) -> None:
        start = time.process_time()
        classify(said(*[line] * 5), release=RELEASE)
        classify_console(line, release=RELEASE)
        assert time.process_time() - start < 1.5

    def test_ordinary_lines_cost_microseconds(self) -> None:
        lines = said(*(f"usb 1-{n}: new high-speed USB device number {n} using xhci_hcd" for n in range(10_000)))
        start = time.process_time()
        classify(lines, release=RELEASE)
        assert (time.process_time() - start) / len(lines) < 150e-6


class TestFrames:
    def test_functions_of_modules_are_told_with_where_they_are(self) -> None:
        found = next(f for f in classify_console(sample("warning-6.12-x86_64"), release=RELEASE) if f.kind == "warning")
        assert [(frame.function, frame.module) for frame in found.frames] == [("says_warn", "says")]
        assert not found.frames[0].returns, "the registers say where it was"

    @pytest.mark.parametrize(
        ("name", "innermost"),
        [
            ("oops-null-6.12-debug", "oops_null"),
            ("lockdep-circle-6.12-debug", "says_circular"),
            ("kasan-use-6.12-debug", "says_uaf"),
            ("timer-active-6.12-debug", "says_timer_freed"),
        ],
    )
    def test_the_innermost_function_is_the_first(self, name: str, innermost: str) -> None:
        found = classify_console(sample(name), release=RELEASE)[0]
        assert found.frames[0].function == innermost
        assert found.frames[0].module == "says"


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("kernel BUG at ", ("kernel BUG at ",)),
        (r"a\.b+c", ("a.b",)),
        ("(x|y) and z?w", (" and ",)),
        ("one|two", ("one", "two")),
        (r"[a|b]: x{1,3}yy", (": ",)),
        (r"\d+ jiffies", (" jiffies",)),
    ],
)
def test_what_every_match_holds(pattern: str, found: tuple[str, ...]) -> None:
    assert needles(pattern) == found
