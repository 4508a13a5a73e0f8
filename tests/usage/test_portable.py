"""CLIProxyAPI's usage document of the ledger, there and back, and what another program's says."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cliproxy.usage.connection import LedgerConnection
from cliproxy.usage.place import open_ledger
from cliproxy.usage.portable import AT_ONCE, first_since, queue_records, report, take_in
from cliproxy.usage.queries import journal, totals
from cliproxy.usage.rows import rows_of
from cliproxy.usage.writing import write_rows
from tests.usage.exchanges import NOON_S, attempt, exchange
from tests.usage.plans import is_searched, plans, reads_whole_journal


def book(ledger: LedgerConnection, *exchanges: Any) -> None:
    write_rows(ledger, [rows_of(one) for one in exchanges])


def told(ledger: LedgerConnection, *, whole_rows: bool = False, details: int | None = None) -> dict[str, Any]:
    return report(ledger, lambda label: f"index of {label}", details=details, whole_rows=whole_rows)


def test_the_document_has_the_shape_that_clients_read(ledger: LedgerConnection) -> None:
    book(ledger, exchange(), exchange(client_key=""), exchange(attempt(status=500, error="no"), status=502, error="no"))
    usage = told(ledger)
    assert (usage["total_requests"], usage["success_count"], usage["failure_count"]) == (3, 2, 1)
    assert usage["total_tokens"] == 3 * 200
    assert usage["apis"].keys() == {"me", "no-key"}
    model = usage["apis"]["no-key"]["models"]["claude-sonnet-4-5"]
    assert (model["total_requests"], model["total_tokens"]) == (1, 200)
    (detail,) = model["details"]
    assert detail["tokens"] == {
        "input_tokens": 170, "output_tokens": 30, "reasoning_tokens": 10, "cached_tokens": 50,
        "cache_read_tokens": 50, "cache_creation_tokens": 20, "total_tokens": 200,
    }  # fmt: skip
    assert detail["source"] == "claude sk-t…#abc123" and detail["auth_index"] == "index of claude sk-t…#abc123"
    assert (detail["failed"], detail["latency_ms"], detail["timestamp"][-1]) == (False, 1000, "Z")
    assert sum(usage["requests_by_day"].values()) == 3 and sum(usage["tokens_by_hour"].values()) == 600
    assert all(len(day) == 10 for day in usage["requests_by_day"])
    assert all(len(hour) == 2 for hour in usage["requests_by_hour"])
    json.dumps(usage)


def test_details_are_the_newest_and_sums_are_of_all(ledger: LedgerConnection) -> None:
    book(ledger, *(exchange(started_s=NOON_S + number) for number in range(5)))
    usage = told(ledger, details=2)
    details = usage["apis"]["me"]["models"]["claude-sonnet-4-5"]["details"]
    assert [detail["timestamp"][17:19] for detail in details] == ["04", "03"]
    assert usage["total_requests"] == 5


def test_what_is_exported_is_imported_without_loss_and_once(ledger: LedgerConnection, tmp_path: Path) -> None:
    book(
        ledger,
        exchange(dropped=["thinking"]),
        exchange(attempt(status=429, error="full"), attempt(2)),
        exchange(status=400, error="bad"),
    )
    usage = json.loads(json.dumps(told(ledger, whole_rows=True)))
    with closing(open_ledger(tmp_path / "other.db")) as other:
        assert take_in(other, usage, 0.0) == (3, 0)
        assert take_in(other, usage, 0.0) == (0, 3)

        def rows(connection: LedgerConnection) -> Any:
            return sorted(({**row, "seq": 0} for row in journal(connection)), key=lambda row: row["id"])

        assert rows(other) == rows(ledger)
        assert totals(other, 0, 2e9, "credential") == totals(ledger, 0, 2e9, "credential")
        assert {**told(other), "apis": 0} == {**told(ledger), "apis": 0}


def test_another_programs_document_is_taken_in(ledger: LedgerConnection) -> None:
    detail = {
        "timestamp": "2026-01-02T03:04:05.678+08:00", "latency_ms": 1500, "source": "me@example.com", "auth_index": "3",
        "tokens": {"input_tokens": 100, "output_tokens": 20, "reasoning_tokens": 5, "cached_tokens": 40, "total_tokens": 120},
        "failed": False,
    }  # fmt: skip
    models = {"gpt-5": {"total_requests": 9, "details": [detail, {**detail, "failed": True}]}, "empty": {}}
    usage = {"total_requests": 9, "apis": {"sk-test-client-key-1": {"models": models}, "none": {"models": None}}}
    assert take_in(ledger, usage, 0.0) == (2, 0)
    assert take_in(ledger, usage, 0.0) == (0, 2)
    failed, served = sorted(journal(ledger), key=lambda row: row["status"], reverse=True)
    assert (served["model"], served["credential"]) == ("gpt-5", "me@example.com")
    assert served["client_key"].startswith("sk-t…#")
    assert (served["fresh_tokens"], served["cache_read_tokens"], served["output_tokens"]) == (60, 40, 20)
    assert served["ended_s"] - served["started_s"] == pytest.approx(1.5)
    assert (failed["status"], failed["error"]) == (500, "failed")
    usage = told(ledger)
    assert (usage["total_requests"], usage["failure_count"], usage["total_tokens"]) == (2, 1, 240)


@pytest.mark.parametrize(
    "usage",
    [
        {"apis": []}, {"apis": {"a": 1}}, {"apis": {"a": {"models": []}}}, {"apis": {"a": {"models": {"m": {"details": {}}}}}},
        {"apis": {"a": {"models": {"m": {"details": [1]}}}}}, {"apis": {"a": {"models": {"m": {"details": [{"row": {}}]}}}}},
    ],
)  # fmt: skip
def test_what_is_no_usage_is_refused_whole(ledger: LedgerConnection, usage: Any) -> None:
    with pytest.raises(ValueError, match=r"apis|row"):
        take_in(ledger, usage, 0.0)
    assert journal(ledger) == []


_TEXT = st.text(st.characters(exclude_categories=()), max_size=5)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | _TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_TEXT, inner, max_size=2),
    max_leaves=4,
)
_DETAIL = st.fixed_dictionaries(
    {},
    optional={
        "timestamp": _JSON, "latency_ms": _JSON, "source": _JSON, "failed": _JSON, "status_code": _JSON,
        "tokens": _JSON | st.dictionaries(st.sampled_from(["input_tokens", "cached_tokens", "output_tokens"]), _JSON),
        "row": st.dictionaries(st.sampled_from(["id", "started_s", "ended_s", "cost_usd", "status", "model"]), _JSON),
    },
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(details=st.lists(_DETAIL, max_size=4))
def test_whatever_is_taken_in_can_be_told(ledger: LedgerConnection, details: list[dict[str, Any]]) -> None:
    """Any details are refused with a ValueError, or the ledger can be read as before."""
    ledger.run("DELETE FROM exchange")
    try:
        added, skipped = take_in(ledger, {"apis": {"a": {"models": {"m": {"details": details}}}}}, NOON_S)
    except ValueError:
        return
    assert added + skipped == len(details)
    json.dumps(told(ledger, whole_rows=True), allow_nan=False)


@pytest.mark.parametrize(
    ("name", "is_shown"),
    [("laptop", True), ("me@example.com", True), ("POST /v1/chat/completions", True), ("no-key", True),
     ("sk-t…#abc123 and more", True), ("sk-test-client-key-1", False), ("AIzaSyTestTestTestTest", False)],
)  # fmt: skip
def test_keys_of_another_program_are_masked(ledger: LedgerConnection, name: str, is_shown: bool) -> None:
    """There, keys are called by the keys themselves."""
    take_in(ledger, {"apis": {name: {"models": {"m": {"details": [{"source": name}]}}}}}, NOON_S)
    (row,) = journal(ledger)
    assert (name in (row["client_key"] or "no-key"), name in row["credential"]) == (is_shown, is_shown)


def test_many_rows_are_written_in_several_transactions(ledger: LedgerConnection) -> None:
    details = [{"timestamp": NOON_S + number, "tokens": {}} for number in range(AT_ONCE * 2 + 1)]
    with patch.object(ledger, "writing", wraps=ledger.writing) as writing:
        take_in(ledger, {"apis": {"a": {"models": {"m": {"details": details}}}}}, 0.0)
    assert writing.call_count == 3


def test_records_of_the_queue_are_told_in_order_and_once(ledger: LedgerConnection) -> None:
    book(
        ledger,
        exchange(started_s=NOON_S),
        exchange(attempt(status=429, error="full"), attempt(2), started_s=NOON_S + 9),
    )
    first = (first_since(ledger, NOON_S + 1), 0)
    found = queue_records(ledger, first, 10)
    assert [record["failed"] for _, record in found] == [True, False]
    record = found[0][1]
    assert record["fail"] == {"status_code": 429, "body": "full"}
    assert (record["provider"], record["alias"], record["api_key"]) == ("claude", "sonnet", "me")
    assert record["tokens"]["input_tokens"] == 170 and record["generate"]
    assert queue_records(ledger, found[0][0], 1) == [found[1]]
    assert queue_records(ledger, found[1][0], 10) == []
    assert first_since(ledger, NOON_S + 100) == 3


def test_the_queue_is_read_by_an_index(ledger: LedgerConnection) -> None:
    ((_, plan),) = plans(ledger, lambda watched: queue_records(watched, (5, 1), 10))
    assert is_searched(plan)
    assert not reads_whole_journal(plan)
    assert "TEMP B-TREE" not in plan
    assert "Sort" not in plan
