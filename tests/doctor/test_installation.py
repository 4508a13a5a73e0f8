"""Python and mitmproxy."""

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from cliproxy.doctor.finding import Level
from cliproxy.doctor.installation import installation, mitmproxy, python


def test_this_very_installation_is_well() -> None:
    assert {finding.level for finding in installation()} == {"ok"}


def test_an_installation_without_mitmproxy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("cliproxy.doctor.installation.version", version)
    assert [finding.level for finding in installation()] == ["ok", "error"]


def test_an_installation_without_its_program_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [finding.level for finding in installation()] == ["ok", "ok", "error"]


@pytest.mark.parametrize(("found", "level"), [((3, 11, 9), "error"), ((3, 12, 0), "ok"), ((3, 14, 1), "ok")])
def test_an_old_python_is_an_error(found: tuple[int, ...], level: Level) -> None:
    assert python(found).level == level
    assert ".".join(map(str, found)) in python(found).text


@pytest.mark.parametrize(
    ("found", "level"),
    [("", "error"), ("12.1.9", "error"), ("12.2.0", "ok"), ("12.9.1", "ok"), ("13.0.0", "error"), ("6.0.2", "error")],
)
def test_only_one_series_of_mitmproxy_fits(found: str, level: Level) -> None:
    finding = mitmproxy(found)
    assert finding.level == level
    assert bool(finding.mend) == (level == "error")
