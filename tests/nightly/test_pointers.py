"""What the kernel still points to when a module has gone, and shows in no table: told by what it is, on four kernels."""

from pathlib import Path

import faulty
import pytest

from kmodlab.results.contract import Results

HERE = Path(__file__).parent
LIMIT = 7200
"""Seconds for one run, images included."""
KERNELS = ("5.10-x86_64", "6.1-x86_64", "6.12-x86_64", "7.3-x86_64")
LEFT = "^still there after unloading: the kernel's pointer for "
EXPECTED = {
    "leaves_device": r"a character device in cdev_map, to device \[leaves_device\]",
    "leaves_hook": r"a hook of netfilter .* in init_net, to accept\+0x0/0x[0-9a-f]+ \[leaves_hook\]",
    "leaves_family": r"a family of generic netlink in genl_fam_idr, to family \[leaves_family\]",
    "leaves_packet_type": r"a packet type in ptype_\w+, to experimental \[leaves_packet_type\]",
    "leaves_probe": r"a probe of a tracepoint in __SCK__tp_func_module_free, to probe\+0x0/0x[0-9a-f]+ \[leaves_probe\]",
    "leaves_notifier": r"a notifier in (\w+_notifier|die_chain), to note\+0x0/0x[0-9a-f]+ \[leaves_notifier\]",
    "leaves_pernet": r"something in \w+, to operations \[leaves_pernet\]",
}


@pytest.fixture(scope="module", params=KERNELS)
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Results:
    return faulty.prove(tmp_path_factory.mktemp("reports"), request.param, HERE / "pointers", limit=LIMIT)


@pytest.mark.parametrize("module", EXPECTED)
def test_what_still_points_to_it_is_told_when_it_goes(results: Results, module: str) -> None:
    faulty.insist(faulty.cell(results, module), "fail", "unload", LEFT + EXPECTED[module])


def test_who_takes_all_back_passes(results: Results) -> None:
    faulty.insist(faulty.cell(results, "takes_all_back"), "pass", "log", "^$")
