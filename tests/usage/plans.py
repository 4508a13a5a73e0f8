"""How a ledger's database goes about a question."""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any
from unittest.mock import patch

from cliproxy.usage.connection import LedgerConnection
from cliproxy.usage.sqlite import SqliteLedger


def plans(connection: LedgerConnection, ask: Callable[[LedgerConnection], object]) -> Iterator[tuple[str, str]]:
    """Each question that is asked, and the plan for it."""
    with patch.object(connection, "rows", wraps=connection.rows) as asked:
        ask(connection)
    is_sqlite = isinstance(connection, SqliteLedger)
    if not is_sqlite:
        # Else it reads a small table as a whole, whatever indexes it has.
        connection.run("SET enable_seqscan = off")
    for (statement, parameters), _ in asked.call_args_list:
        steps = connection.rows(f"EXPLAIN {'QUERY PLAN' if is_sqlite else ''} {statement}", parameters)
        yield statement, "\n".join(step["detail" if is_sqlite else "QUERY PLAN"] for step in steps)


def reads_whole_journal(plan: str) -> bool:
    return any(words in plan for words in ("SCAN exchange", "SCAN attempt", "Seq Scan"))


def is_searched(plan: str) -> bool:
    """Whether an index says where to look."""
    return "SEARCH" in plan or "Index Cond" in plan


def cost(connection: LedgerConnection, question: Callable[[LedgerConnection], Any]) -> tuple[int, int]:
    """How many rows the answer has, and what it costs: steps of SQLite's machine, or rows that PostgreSQL looks at. That
    is the same on every computer."""
    answer, cost = (
        _of_sqlite(connection, question) if isinstance(connection, SqliteLedger) else _of(connection, question)
    )
    return len(answer) if isinstance(answer, list) else 1, cost


def _of_sqlite(ledger: SqliteLedger, question: Callable[[LedgerConnection], Any]) -> tuple[Any, int]:
    steps = count()
    # What it returns would break the question off.
    ledger.connection.set_progress_handler(lambda: next(steps) < 0, 1)
    answer = question(ledger)
    ledger.connection.set_progress_handler(None, 0)
    return answer, next(steps)


def _of(ledger: LedgerConnection, question: Callable[[LedgerConnection], Any]) -> tuple[Any, int]:
    with patch.object(ledger, "rows", wraps=ledger.rows) as asked:
        answer = question(ledger)
    plans = [ledger.rows(f"EXPLAIN (ANALYZE, FORMAT JSON) {asked[0]}", asked[1]) for asked, _ in asked.call_args_list]
    return answer, sum(_looked_at(row["QUERY PLAN"][0]["Plan"]) for (row,) in plans)


def _looked_at(node: dict[str, Any]) -> int:
    """Rows of tables that a plan's node and those below it have touched."""
    below = sum(_looked_at(inner) for inner in node.get("Plans", ()))
    if "Relation Name" not in node:
        return below
    return below + (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
