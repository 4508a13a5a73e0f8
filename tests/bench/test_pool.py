"""bench.pool: the cost of choosing a credential, told as a share of a request."""

from bench.pool import SHARES, Cost, costs, table


def test_both_pools_are_measured(monkeypatch) -> None:
    monkeypatch.setattr("bench.pool.REQUESTS", 20)
    measured = list(costs())
    assert [cost.credentials for cost in measured] == list(SHARES)
    assert all(cost.us > 0 for cost in measured)


def test_a_share_is_held_against_its_target() -> None:
    lines = list(table([Cost(1, 5.0), Cost(1000, 50.0)], 1.0))
    assert lines[-2].split()[-4:] == ["<=", "1", "%", "yes"]
    assert lines[-1].split()[-4:] == ["<=", "3", "%", "NO"]


def test_without_a_gateway_row_there_is_no_share() -> None:
    assert list(table([Cost(1, 5.0)], None))[-1].split() == ["1", "5.0", "-"]
