from kmodlab.judge.taint import TAINTS, decode, judge


def letters(value: int) -> str:
    return "".join(taint.letter for taint in decode(value))


def test_the_table_is_the_kernels() -> None:
    assert [taint.bit for taint in TAINTS] == list(range(20))
    assert "".join(taint.letter for taint in TAINTS) == "PFSRMBUDAWCIOELKXTNJ"
    assert all(taint.name and taint.meaning for taint in TAINTS)


def test_decode_names_every_set_bit() -> None:
    assert letters(0) == ""
    assert letters(4096 + 8192) == "OE"
    assert letters(128 + 512 + 4096) == "DWO"
    assert letters((1 << 20) - 1) == "PFSRMBUDAWCIOELKXTNJ"


def test_a_bit_newer_than_the_table_is_a_fault() -> None:
    (unknown,) = decode(1 << 25)
    assert (unknown.letter, unknown.bit) == ("?", 25)
    assert len(judge(0, 1 << 25)) == 1


def test_an_ordinary_load_is_no_fault() -> None:
    assert judge(0, 4096) == []
    assert judge(4096, 4096) == []


def test_each_failing_taint_fails_with_its_letter_and_a_reason() -> None:
    for letter, value in {
        "D": 128,
        "W": 512,
        "B": 32,
        "L": 16384,
        "M": 16,
        "R": 8,
        "F": 2,
        "S": 4,
        "K": 32768,
    }.items():
        (reason,) = judge(4096, 4096 + value)
        assert reason.startswith(f"taint {letter} ({value}, ")
        assert reason.split("): ")[1]


def test_what_is_about_the_machine_or_the_build_is_no_fault() -> None:
    assert judge(0, 4096 + 2048 + 65536 + 131072 + 262144) == []


def test_what_was_there_before_is_not_the_modules_fault() -> None:
    assert judge(512, 512 + 4096) == []


def test_unsigned_is_a_fault_where_the_kernel_can_know_the_key() -> None:
    assert judge(0, 4096 + 8192) == []
    (reason,) = judge(0, 4096 + 8192, key_known=True)
    assert "E (8192" in reason and "signature" in reason


def test_proprietary_is_a_licence_fault_unless_declared() -> None:
    (reason,) = judge(0, 4096 + 1)
    assert "licence" in reason
    assert judge(0, 4096 + 1, proprietary=True) == []


def test_a_taint_that_vanishes_means_another_boot() -> None:
    (reason,) = judge(4096 + 8192, 4096)
    assert "taint E vanished" in reason
