"""A wheel is all of kmodlab: it works from anywhere, without a checkout."""

import subprocess
import zipfile
from pathlib import Path

import installed
import pytest

from kmodlab.ground.cache import REPOSITORY
from kmodlab.ground.packages import ALWAYS, SOMETIMES

BROUGHT = (
    *("examples", "inventories", "meta", "playbooks", "plugins", "roles"),
    *("tests/own", "tests/retrial", "tests/stress", "tests/verify"),
)
SHARED = ("LICENSE", "ansible.cfg", "galaxy.yml")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed.build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed.install_wheel(wheel, tmp_path_factory.mktemp("installed") / "venv")


def test_every_file_that_the_lab_needs_is_in_it(wheel: Path) -> None:
    command = ["git", "-C", str(REPOSITORY), "ls-files", "--", "kmodlab", *BROUGHT, *SHARED]
    tracked = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    wanted = {path if path.startswith("kmodlab/") else f"ansible_collections/kmodlab/lab/{path}" for path in tracked}
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    assert {"ansible_collections/kmodlab/lab/playbooks/matrix.yml", "kmodlab/debian/debug.config"} <= wanted
    assert not wanted - held
    assert any(name.endswith(".data/data/share/man/man1/kmodlab.1") for name in held)


def test_nothing_of_the_checkout_is_in_it_that_would_be_installed_beside_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {Path(name).parts[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith((".dist-info", ".data"))} == {"kmodlab", "ansible_collections"}


def test_what_only_a_checkout_needs_is_no_dependency(programs: Path, tmp_path: Path) -> None:
    code = "import importlib.metadata as m; print(*m.requires('kmodlab'), sep='\\n')"
    answer = installed.run(programs / "python", "-c", code, cwd=tmp_path)
    names = {line.partition(" ")[0].partition("<")[0].partition(">")[0] for line in answer.stdout.splitlines()}
    assert {"ansible-core", "molecule", "pytest-testinfra", "pyyaml", "jinja2", "pydantic"} <= names
    assert not {"ruff", "mypy", "ansible-lint", "hatchling"} & names


def test_it_finds_what_it_brought_from_any_folder(programs: Path, tmp_path: Path) -> None:
    code = "from kmodlab.ground import cache; print(cache.__file__, cache.REPOSITORY)"
    module, repository = installed.run(programs / "python", "-c", code, cwd=tmp_path).stdout.split()
    assert Path(module).is_relative_to(programs.parent) and Path(repository).is_relative_to(programs.parent)


def test_it_says_what_there_is_and_what_is_wrong(programs: Path, tmp_path: Path) -> None:
    assert "--kernels" in installed.run(programs / "kmodlab", "matrix", "--help", cwd=tmp_path).stdout
    answer = installed.run(programs / "kmodlab", "matrix", "--kernels", "6.12", cwd=tmp_path)
    assert answer.returncode == 2
    (line,) = answer.stderr.splitlines()
    assert str(tmp_path) in line and "--modules" in line
    answer = installed.run(programs / "kmodlab", "lint-c", cwd=tmp_path)
    assert answer.returncode == 2 and "checkout" in answer.stderr


def test_ansible_finds_the_roles_and_modules_that_it_brought(programs: Path, tmp_path: Path) -> None:
    (site,) = programs.parent.glob("lib/python*/site-packages")
    playbooks = sorted((site / "ansible_collections/kmodlab/lab/playbooks").glob("*.yml"))
    answer = installed.run(programs / "ansible-playbook", "--syntax-check", "-i", "localhost,", *playbooks, cwd=tmp_path)
    assert len(playbooks) > 5 and answer.returncode == 0, answer.stderr


def test_setup_installs_the_packages_that_an_installed_kmodlab_names() -> None:
    (line,) = [line for line in (REPOSITORY / "setup.sh").read_text().split('"') if line.startswith("arch-test ")]
    assert {*ALWAYS, *SOMETIMES} == {*line.split()} - {"python3-venv", "libengine-pkcs11-openssl", "softhsm2"}, (
        "but what only tests need"
    )
