"""The benchmark's table and JSON: values, ratios to bare `mitmdump`, and whether the targets are met."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.measures import (
    FIRST_BYTE,
    MEASURES,
    P50,
    PACED_ERRORS,
    RATE,
    REQUEST_CPU,
    STREAM,
    Measure,
    Results,
)
from bench.rows import BARE, GATEWAY, LOGGING, ROWS, TRANSLATING, UNBOOKED


@dataclass(frozen=True, slots=True)
class Target:
    """A limit for a row's measure: for its ratio to another row, or for its value where `reference` is empty."""

    row: str
    measure: Measure
    sign: str
    limit: float
    reference: str = BARE

    def reached(self, results: Results) -> float | None:
        """The figure that the limit is for; None if it was not measured."""
        if not self.reference:
            return results.value(self.row, self.measure)
        ratios = results.ratios(self.row, self.measure, self.reference)
        return statistics.median(ratios) if ratios else None

    def met(self, figure: float) -> bool:
        return figure <= self.limit if self.sign == "<=" else figure >= self.limit

    def __str__(self) -> str:
        limit = f"{self.sign} {self.limit:.2f}" if self.reference else f"{self.sign} {self.limit:.0f}"
        return limit if self.reference in (BARE, "") else f"{limit} of {self.reference}"


TARGETS = (
    Target(GATEWAY, P50, "<=", 1.0),
    Target(GATEWAY, FIRST_BYTE, "<=", 1.0),
    Target(GATEWAY, STREAM, "<=", 0.5),
    Target(GATEWAY, RATE, ">=", 1.0),
    Target(GATEWAY, REQUEST_CPU, "<=", 1.0),
    # The ledger adds 5 % at most, and so it does with metrics and log files.
    Target(UNBOOKED, REQUEST_CPU, ">=", 1 / 1.05, reference=GATEWAY),
    Target(LOGGING, REQUEST_CPU, "<=", 1.05, reference=UNBOOKED),
    Target(GATEWAY, PACED_ERRORS, "<=", 0, reference=""),
    *(Target(row, STREAM, "<=", 1.3, reference=GATEWAY) for row in TRANSLATING),
)


def table(results: Results) -> Iterator[str]:
    """Lines of text: for each measure its rows, with the least and the greatest ratio of a round in brackets."""
    yield f"{'':34}{'value':>11}  {'ratio to ' + BARE:24}{'target':32}ok?"
    for measure in MEASURES:
        yield f"{measure.name}{f' ({measure.unit})' if measure.unit else ''}"
        for row in ROWS:
            if (value := results.value(row, measure)) is None:
                continue
            target = next((t for t in TARGETS if (t.row, t.measure) == (row, measure)), None)
            line = f"    {row:30}{_figure(value):>11}  {_ratio(results.ratios(row, measure, BARE)):24}"
            yield (line + _verdict(target, results)).rstrip()


def _figure(value: float) -> str:
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def _ratio(ratios: Sequence[float]) -> str:
    if not ratios:
        return ""
    spread = f" ({min(ratios):.2f} to {max(ratios):.2f})" if len(ratios) > 1 and min(ratios) != max(ratios) else ""
    return f"{statistics.median(ratios):.2f}{spread}"


def _verdict(target: Target | None, results: Results) -> str:
    if target is None or (figure := target.reached(results)) is None:
        return ""
    reached = "" if target.reference in (BARE, "") else f" ({figure:.2f})"
    return f"{f'{target}{reached}':32}{'yes' if target.met(figure) else 'NO'}"


def as_json(results: Results) -> dict[str, Any]:
    """Everything that was measured, every round of it, and the targets."""
    rows = {
        row: {
            measure.name: {
                "unit": measure.unit,
                "value": results.value(row, measure),
                "rounds": rounds,
                "ratios": results.ratios(row, measure, BARE),
            }
            for measure, rounds in figures.items()
        }
        for row, figures in results.figures.items()
    }
    targets = [
        {
            "row": target.row,
            "measure": target.measure.name,
            "target": str(target),
            "reached": figure,
            "met": figure is not None and target.met(figure),
        }
        for target in TARGETS
        for figure in [target.reached(results)]
    ]
    return {
        "rows": rows,
        "targets": targets,
        "faults": {row: dict(faults) for row, faults in results.faults.items()},
    }
