"""`cliproxy usage`: what was used and what it cost, from the ledger."""

import csv
import json
import sys
import time
from contextlib import closing
from datetime import datetime, timedelta
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from cliproxy.cli.configuration import ConfigPath, load
from cliproxy.usage.connection import LedgerFault
from cliproxy.usage.place import Place, described, open_ledger, place_of
from cliproxy.usage.queries import SUMMED, By, totals
from cliproxy.usage.rows import Row

_HEADINGS = {
    "exchanges": "requests",
    "failures": "failed",
    "fresh_tokens": "input",
    "cache_read_tokens": "cache read",
    "cache_write_tokens": "cache write",
    "output_tokens": "output",
    "reasoning_tokens": "reasoning",
    "cost_usd": "USD",
}


def usage(
    by: Annotated[By, Parameter(help="What to sum by.")] = "day",
    *,
    days: Annotated[int, Parameter(help="How many days back, today included.")] = 30,
    config: ConfigPath = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="As JSON, for scripts.")] = False,
    as_csv: Annotated[bool, Parameter(name="--csv", negative="", help="As CSV, for spreadsheets.")] = False,
) -> None:
    """Show requests, tokens and list prices by day, key, model, provider or credential."""
    rows = _rows(place_of(load(config).usage), by, days)
    if as_json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
    elif as_csv:
        _write_csv(rows, by)
    else:
        _show(rows, by)


def _rows(place: Place, by: By, days: int) -> list[Row]:
    today = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    offset = today.utcoffset() or timedelta()
    since_s = (today - timedelta(days=max(0, days - 1))).timestamp()
    try:
        with closing(open_ledger(place, read_only=True)) as connection:
            rows = totals(connection, since_s, time.time(), by, offset_s=int(offset.total_seconds()))
    except LedgerFault as fault:
        raise SystemExit(f"the usage ledger {described(place)} cannot be read: {fault}") from None
    return [{**row, by: _label(row[by], by)} for row in rows]


def _label(value: object, by: By) -> str:
    if not isinstance(value, int | float):
        return str(value)
    moment = datetime.fromtimestamp(value)
    return f"{moment:%Y-%m-%d}" if by == "day" else f"{moment:%Y-%m-%d %H:%M}"


def _show(rows: list[Row], by: By) -> None:
    # In a pipe there is no width to keep to.
    console = Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else 200)
    if not rows:
        console.print("Nothing was used in this time.")
        return
    table = Table(by, box=None)
    for heading in _HEADINGS.values():
        table.add_column(heading, justify="right")
    for row in [*rows, {by: "all", **{name: sum(row[name] for row in rows) for name in _HEADINGS}}]:
        table.add_row(str(row[by]), *(_cell(name, row[name]) for name in _HEADINGS))
    console.print(table)
    if unpriced := sum(row["unpriced"] for row in rows):
        console.print(f"{unpriced} of the requests went to models without a known price, which are not in the sum.")


def _cell(name: str, value: float) -> str:
    if not value:
        return ""
    return f"{value:,.2f}" if name == "cost_usd" else f"{value:,}"


def _write_csv(rows: list[Row], by: By) -> None:
    writer = csv.DictWriter(sys.stdout, [by, *SUMMED])
    writer.writeheader()
    writer.writerows(rows)
