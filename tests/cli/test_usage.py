"""`cliproxy usage` over a real ledger."""

import csv
import io
import json
import time
from pathlib import Path

import pytest

from cliproxy.cli.__main__ import app
from cliproxy.config.schema import UsageLedger
from cliproxy.database import Database
from cliproxy.usage.ledger import Ledger
from cliproxy.usage.queries import SUMMED
from tests.usage.exchanges import attempt, exchange


@pytest.fixture
def config(tmp_path: Path) -> str:
    file = tmp_path / "config.yaml"
    file.write_text(json.dumps({"usage": {"path": str(tmp_path / "usage.db")}}), "utf-8")
    return str(file)


@pytest.fixture
def booked(config: str, tmp_path: Path) -> str:
    ledger = Ledger(UsageLedger(path=str(tmp_path / "usage.db")))
    now_s = time.time()
    for key, provider in (("me", "claude"), ("me", "claude"), ("you", "home-made")):
        ledger.book(exchange(attempt(provider=provider, started_s=now_s), started_s=now_s, client_key=key))
    ledger.close()
    return config


def run(*arguments: str) -> None:
    app(arguments, result_action="return_value")


def test_nothing_yet(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    run("usage", "--config", config)
    assert "Nothing was used" in capsys.readouterr().out


def test_a_table(booked: str, capsys: pytest.CaptureFixture[str]) -> None:
    run("usage", "key", "--config", booked)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["key", "requests"]
    assert [line.split()[:2] for line in lines[1:4]] == [["me", "2"], ["you", "1"], ["all", "3"]]


def test_json_and_csv(booked: str, capsys: pytest.CaptureFixture[str]) -> None:
    run("usage", "model", "--json", "--config", booked)
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["model"], row["exchanges"], row["fresh_tokens"]) == ("claude-sonnet-4-5", 3, 300)
    run("usage", "day", "--csv", "--config", booked)
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["day"], row["exchanges"]) == (time.strftime("%Y-%m-%d"), "3")


def test_a_spreadsheet_of_nothing_has_the_same_columns(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    run("usage", "day", "--csv", "--config", config)
    assert capsys.readouterr().out.splitlines() == [",".join(("day", *SUMMED))]


def test_a_damaged_ledger_is_told(config: str, tmp_path: Path) -> None:
    (tmp_path / "usage.db").write_bytes(b"rubbish" * 100)
    with pytest.raises(SystemExit, match=r"usage.db cannot be read: file is not a database"):
        run("usage", "--config", config)


def test_a_database_that_is_away_is_told_without_its_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(f"postgresql://me:test-password@/gateways?host={tmp_path}")
    monkeypatch.setattr("cliproxy.cli.usage.place_of", lambda settings: database)
    (tmp_path / "config.yaml").write_text("{}", "utf-8")
    with pytest.raises(SystemExit) as told:
        run("usage", "--config", str(tmp_path / "config.yaml"))
    expected = "the usage ledger in PostgreSQL's schema public cannot be read: PostgreSQL: OperationalError"
    assert str(told.value) == expected
