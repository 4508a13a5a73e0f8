"""From an exchange that is over to the ledger's rows."""

import json
from typing import Any, NamedTuple

from cliproxy.exchange import Attempt, Exchange
from cliproxy.usage.prices import cost_usd
from cliproxy.wire.model import Usage

Row = dict[str, Any]
"""Column to value."""
TOKENS = ("fresh_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")


class Unpriced(NamedTuple):
    """An exchange as it is booked: nothing of the exchange itself, with its bodies, is held until it is written."""

    row: Row
    attempts: list[Row]
    """They lack the exchange that they belong to."""
    usages: list[Usage | None]
    """Of each attempt; None: it used nothing."""


def rows_of(exchange: Exchange) -> tuple[Row, list[Row]]:
    """The row of an exchange and those of its attempts, which lack the exchange that they belong to."""
    return priced(unpriced_rows_of(exchange))


def priced(unpriced: Unpriced) -> tuple[Row, list[Row]]:
    """The rows with what they cost, as far as prices are known."""
    row, attempts, usages = unpriced
    for attempt, usage in zip(attempts, usages, strict=True):
        if usage:
            attempt["cost_usd"] = cost_usd(attempt["provider"], attempt["model"], usage)
    costs = [attempt["cost_usd"] for attempt in attempts if attempt["cost_usd"] is not None]
    row["cost_usd"] = sum(costs) if costs else None
    return row, attempts


def unpriced_rows_of(exchange: Exchange) -> Unpriced:
    """The rows without prices, whose table may take its time to load.

    What an exchange used is the sum over its attempts: a failed one may have cost something too.
    """
    attempts = exchange.attempts
    rows = [_attempt_row(attempt) for attempt in attempts]
    good = next((attempt for attempt in reversed(attempts) if not attempt.error and attempt.status < 400), None)
    served = good or (attempts[-1] if attempts else None)
    tokens = rows[0] if len(rows) == 1 else {name: sum(row[name] for row in rows) for name in TOKENS}
    row: Row = {
        "id": exchange.id,
        "started_s": exchange.started_s,
        "first_byte_s": (served.first_byte_s or None) if served else None,
        "ended_s": exchange.ended_s,
        "client_key": exchange.client_key,
        "client_format": exchange.format,
        "upstream_format": (served.format or "") if served else "",
        "operation": exchange.operation,
        "stream": exchange.stream,
        "model_asked": exchange.model,
        "model": served.model if served else "",
        "provider": served.provider if served else "",
        "credential": served.credential if served else "",
        "effort": exchange.effort,
        "status": exchange.status,
        # A stream that was cut has a status of its own that says otherwise.
        "error": exchange.error or ("" if good or not served else served.error),
        "retries": max(0, len(attempts) - 1),
        **{name: tokens[name] for name in TOKENS},
        "cost_usd": None,
        "dropped": json.dumps(exchange.dropped) if exchange.dropped else "",
    }
    return Unpriced(row, rows, [_used(attempt.usage) for attempt in attempts])


def _used(usage: Usage) -> Usage | None:
    return None if usage.input is None and usage.output is None else usage


def _attempt_row(attempt: Attempt) -> Row:
    usage = attempt.usage
    return {
        "number": attempt.number,
        "started_s": attempt.started_s,
        "headers_s": attempt.headers_s or None,
        "first_byte_s": attempt.first_byte_s or None,
        "ended_s": attempt.ended_s or attempt.started_s,
        "provider": attempt.provider,
        "credential": attempt.credential,
        "model": attempt.model,
        "format": attempt.format or "",
        "status": attempt.status,
        "error": attempt.error,
        "fresh_tokens": usage.input or 0,
        "cache_read_tokens": usage.cache_read or 0,
        "cache_write_tokens": usage.cache_write or 0,
        "output_tokens": usage.output or 0,
        "reasoning_tokens": usage.reasoning or 0,
        # None where nothing was used, or no price is known.
        "cost_usd": None,
    }
