"""Ratios pair the rounds, targets judge ratios or values, and the table says so."""

from collections import Counter

from bench.measures import P50, PACED_ERRORS, RATE, STREAM, Results
from bench.report import TARGETS, Target, as_json, table
from bench.rows import BARE, GATEWAY


def _results() -> Results:
    results = Results()
    for bare_ms, gateway_ms in ((1.0, 0.9), (4.0, 3.0), (2.0, 2.2)):
        results.add(BARE, {P50: bare_ms, STREAM: 10.0}, Counter())
        results.add(GATEWAY, {P50: gateway_ms, STREAM: 6.0}, Counter())
    results.add(GATEWAY, {PACED_ERRORS: 0.0}, Counter())
    results.add("chat to anthropic", {STREAM: 7.2}, Counter({"no end marker": 2}))
    return results


def test_the_value_is_the_median_and_a_ratio_belongs_to_its_round() -> None:
    results = _results()
    assert results.value(GATEWAY, P50) == 2.2
    assert results.ratios(GATEWAY, P50, BARE) == [0.9, 0.75, 1.1]
    assert results.value(GATEWAY, RATE) is None


def test_targets_judge_in_their_own_direction() -> None:
    results = _results()
    assert Target(GATEWAY, P50, "<=", 1.0).reached(results) == 0.9
    assert Target(GATEWAY, RATE, ">=", 1.0).reached(results) is None
    assert Target(GATEWAY, RATE, ">=", 1.0).met(1.0)
    assert not Target(GATEWAY, RATE, ">=", 1.0).met(0.99)
    assert not Target(GATEWAY, STREAM, "<=", 0.5).met(0.6)


def test_the_table_shows_ratio_target_and_verdict() -> None:
    lines = {tuple(line.split()) for line in table(_results())}
    assert ("gateway", "2.2", "0.90", "(0.75", "to", "1.10)", "<=", "1.00", "yes") in lines
    assert ("gateway", "6", "0.60", "<=", "0.50", "NO") in lines
    assert ("gateway", "0", "<=", "0", "yes") in lines
    assert ("chat", "to", "anthropic", "7.2", "0.72", "<=", "1.30", "of", "gateway", "(1.20)", "yes") in lines


def test_json_holds_every_round_every_target_and_what_went_wrong() -> None:
    written = as_json(_results())
    assert written["rows"][GATEWAY][P50.name]["rounds"] == [0.9, 3.0, 2.2]
    assert len(written["targets"]) == len(TARGETS)
    assert [t["reached"] for t in written["targets"] if t["measure"] == RATE.name] == [None]
    assert written["faults"]["chat to anthropic"] == {"no end marker": 2}
