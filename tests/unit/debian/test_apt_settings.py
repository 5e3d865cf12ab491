"""What this machine's apt is told of its archive reaches the lab's roots, and nothing else of it does."""

from pathlib import Path

import pytest

from kmodlab.debian.archive import apt_settings


def test_proxies_and_dates_are_passed_on_and_nothing_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = tmp_path / "apt.conf"
    own.write_text(
        'Acquire::Check-Valid-Until "false";\nAcquire::http::Proxy "http://127.0.0.1:3142";\n'
        'Acquire::AllowInsecureRepositories "true";\nAPT::Get::AllowUnauthenticated "true";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(own))
    found = apt_settings()
    assert 'Acquire::Check-Valid-Until "false";' in found
    assert 'Acquire::http::Proxy "http://127.0.0.1:3142";' in found
    assert not [line for line in found if "Allow" in line]
