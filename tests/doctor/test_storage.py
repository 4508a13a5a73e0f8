"""The places that the gateway writes to."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from cliproxy.config.loading import parse_config
from cliproxy.doctor.finding import Finding
from cliproxy.doctor.storage import storage
from cliproxy.usage.place import open_ledger
from cliproxy.usage.schema import MIGRATIONS


def looked(folder: Path, **keys: Any) -> list[Finding]:
    """With everything in a folder unless told otherwise."""
    places = {
        "auth-dir": str(folder / "auth"),
        "models-file": str(folder / "models" / "models.json"),
        "usage": {"path": str(folder / "usage" / "usage.db")},
    }
    text = yaml.safe_dump({**places, **{name.replace("_", "-"): value for name, value in keys.items()}})
    return list(storage(parse_config(text).config))


def test_places_that_can_be_made_are_well(tmp_path: Path) -> None:
    findings = looked(tmp_path)
    assert {finding.level for finding in findings} == {"ok"}
    assert [finding.text for finding in findings] == [
        f"accounts can be kept in {tmp_path / 'auth'}",
        f"model lists can be kept in {tmp_path / 'models'}",
        f"the usage ledger can be kept in {tmp_path / 'usage'}",
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_place_below_a_file_is_an_error(tmp_path: Path) -> None:
    tmp_path.joinpath("models").write_text("", "utf-8")
    (error,) = [finding for finding in looked(tmp_path) if finding.level == "error"]
    assert error.text.endswith(f"{tmp_path / 'models'} is no directory")


def test_a_place_that_may_not_be_written_to_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.joinpath("auth").mkdir()
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path / "auth")  # root may do anything
    (error,) = [finding for finding in looked(tmp_path) if finding.level == "error"]
    assert error.text.endswith(f"{tmp_path / 'auth'} is not writable")


def test_without_statistics_the_ledger_needs_no_place(tmp_path: Path) -> None:
    tmp_path.joinpath("usage").write_text("", "utf-8")
    assert {finding.level for finding in looked(tmp_path, usage_statistics_enabled=False)} == {"ok"}


def test_a_login_that_others_can_read_is_a_warning(tmp_path: Path) -> None:
    login = tmp_path / "auth" / "claude-1.json"
    login.parent.mkdir()
    login.write_text('{"type": "claude", "access_token": "test-access-1"}', "utf-8")
    login.chmod(0o644)
    (warning,) = [finding for finding in looked(tmp_path) if finding.level == "warning"]
    assert (warning.mend, "test-access" in warning.text) == (f"chmod 600 {login}", False)
    login.chmod(0o600)
    assert {finding.level for finding in looked(tmp_path)} == {"ok"}


def test_a_ledger_is_looked_into(tmp_path: Path) -> None:
    path = tmp_path / "usage" / "usage.db"
    open_ledger(path).close()
    assert looked(tmp_path)[-1] == Finding("storage", "ok", f"the usage ledger {path} can be read")
    path.write_bytes(b"no database" * 100)
    assert looked(tmp_path)[-1].level == "error"


def test_a_ledger_in_a_database_that_is_away_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSTORE_DSN", f"postgresql://me:test-password@/gateways?host={tmp_path}")
    text = "the usage ledger in PostgreSQL's schema public cannot be used: PostgreSQL: OperationalError"
    assert looked(tmp_path, usage={})[-1] == Finding("storage", "error", text)
    assert looked(tmp_path, usage={}, usage_statistics_enabled=False)[-1].level == "ok"


def test_a_ledger_of_a_later_release_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "usage" / "usage.db"
    connection = open_ledger(path)
    connection.run(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    expected = Finding("storage", "error", f"the usage ledger {path} was written by a later release")
    assert looked(tmp_path)[-1] == expected
