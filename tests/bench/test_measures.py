"""Each row gets every figure, and an answer that is wrong is counted with its row."""

from dataclasses import replace

from bench.measures import MEASURES, P50, PACED_ERRORS, Plan, measure
from bench.rows import BARE, DIRECT, Row
from bench.servers import Server, upstream
from tests import upstream as scripted
from tests.answers import Answer

PLAN = Plan(rounds=2, requests=5, streams=2, rate_requests=40, paced=(DIRECT,))
BARE_PACED = replace(PLAN, paced=(BARE,))


async def test_every_measure_is_taken_in_every_round() -> None:
    with upstream() as server:
        results = await measure([Row(DIRECT, server)], PLAN, lambda _: None)
    assert set(results.figures[DIRECT]) == set(MEASURES)
    assert len(results.figures[DIRECT][P50]) == 2
    assert results.value(DIRECT, PACED_ERRORS) == 0
    assert not results.faults[DIRECT]


async def test_wrong_answers_are_counted_with_their_row() -> None:
    async with scripted.Upstream() as broken:
        broken.script(*[Answer(status=500)] * 3000)
        with upstream() as server:
            rows = [Row(DIRECT, server), Row(BARE, Server(broken.port, server.pid))]
            results = await measure(rows, BARE_PACED, lambda _: None)
    assert not results.faults[DIRECT]
    assert results.faults[BARE] == {"cannot begin: status 500": 3 * 2, "status 500": 500}
    assert results.value(BARE, P50) is None


async def test_a_server_that_is_gone_leaves_the_other_rows() -> None:
    async with scripted.Upstream() as gone:
        port = gone.port
    with upstream() as server:
        rows = [Row(BARE, Server(port, server.pid)), Row(DIRECT, server)]
        results = await measure(rows, BARE_PACED, lambda _: None)
    assert results.faults[BARE].total() == 3 * 2 + 500
    assert results.value(BARE, PACED_ERRORS) == 500
    assert len(results.figures[DIRECT][P50]) == 2
