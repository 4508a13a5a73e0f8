"""`python -m bench`: measures, prints the table, exits with 1 if a row did not run or an answer was wrong.

A missed target does not change the exit status: a shared machine can miss one by itself.
"""

import argparse
import asyncio
import json
import platform
import resource
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.measures import FULL, QUICK, REQUEST_CPU, Plan, Results, measure
from bench.report import as_json, table
from bench.rows import GATEWAY, Field, running


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the gateway beside a bare mitmdump.")
    parser.add_argument("--quick", action="store_true", help="about half a minute; the ratios are rougher")
    parser.add_argument(
        "--translate",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="measure the rows whose client and upstream speak different formats",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every figure of every round there")
    arguments = parser.parse_args()
    _allow_many_sockets()
    # So that a `kill` unwinds the stack and ends the servers too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    field, results = asyncio.run(_measure(QUICK if arguments.quick else FULL, arguments.translate))
    _print(field, results)
    _measure_pool(results)
    translating, broken = _measure_wire() if arguments.translate else ([], "")
    if arguments.json:
        machine = {
            "python": platform.python_version(),
            "machine": platform.machine(),
            "quick": arguments.quick,
        }
        missing = {"failed": field.failed, "skipped": field.skipped, "wire": translating}
        written = json.dumps({**machine, **missing, **as_json(results)}, indent=1)
        arguments.json.write_text(written, encoding="utf-8")
    return 1 if field.failed or broken or any(results.faults.values()) else 0


def _measure_wire() -> tuple[list[dict[str, Any]], str]:
    """Print what translating costs without a server around it; return it for the JSON, or why it does not run."""
    _progress("translating in this process")
    try:
        # Here, since the rows of servers can be measured even where the gateway's code cannot be imported.
        from bench import wire

        measured = list(wire.costs())
    except (ImportError, ValueError) as problem:
        print(f"\ntranslating in this process: does not run: {problem}")
        return [], str(problem)
    print("", *wire.table(measured), sep="\n")
    return wire.as_json(measured), ""


def _measure_pool(results: Results) -> None:
    """Print what choosing a credential costs."""
    _progress("choosing credentials in this process")
    try:
        from bench import pool
    except ImportError as problem:
        print(f"\nchoosing a credential: does not run: {problem}")
        return
    print("", *pool.table(list(pool.costs()), results.value(GATEWAY, REQUEST_CPU)), sep="\n")


async def _measure(plan: Plan, translate: bool) -> tuple[Field, Results]:
    with tempfile.TemporaryDirectory(prefix="cliproxy-bench-", ignore_cleanup_errors=True) as folder:
        _progress("starting")
        async with running(Path(folder), translate=translate) as field:
            return field, await measure(field.rows, plan, _progress)


def _print(field: Field, results: Results) -> None:
    for row, reason in field.failed.items():
        print(f"{row}: does not run: {reason}\n")
    for row, reason in field.skipped.items():
        print(f"{row}: skipped: {reason}\n")
    for line in table(results):
        print(line)
    for row, faults in results.faults.items():
        if faults:
            print(f"\n{row}: wrong answers: {dict(faults)}")


def _progress(what: str) -> None:
    print(f"... {what}", file=sys.stderr, flush=True)


def _allow_many_sockets() -> None:
    """Two sockets a stream in each server, and the servers inherit the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8192 if hard == resource.RLIM_INFINITY else min(8192, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    sys.exit(main())
