"""What both databases make of the same statements."""

from contextlib import closing

import pytest

from cliproxy.usage.connection import LedgerConnection, LedgerFault, Unstorable
from cliproxy.usage.place import Place, open_ledger
from cliproxy.usage.queries import journal
from cliproxy.usage.rows import rows_of
from cliproxy.usage.writing import write_rows
from tests.usage.exchanges import exchange


def test_parameters_are_where_they_are_meant(ledger: LedgerConnection) -> None:
    words = "'100 % of ? and :this exchange' AS said, 7 % 4 AS rest"
    (by_place,) = ledger.rows(f"SELECT {words}, ? + 0 AS given", [3])
    (by_name,) = ledger.rows(f"SELECT {words}, :it + 0 AS given", {"it": 3, "more": 4})
    assert by_place == by_name == {"said": "100 % of ? and :this exchange", "rest": 3, "given": 3}


def test_what_fails_is_undone_as_a_whole(ledger: LedgerConnection) -> None:
    row, _ = rows_of(exchange())
    with pytest.raises(ZeroDivisionError), ledger.writing():
        ledger.insert("exchange", [{**row, "seq": 1}])
        assert len(journal(ledger)) == 1
        raise ZeroDivisionError
    assert journal(ledger) == []
    assert write_rows(ledger, [rows_of(exchange())]) == 1


def test_a_fault_is_one_of_the_ledgers(ledger: LedgerConnection) -> None:
    for statement in ("SELECT nothing FROM nowhere", "no statement"):
        with pytest.raises(LedgerFault):
            ledger.rows(statement)
        with pytest.raises(LedgerFault):
            ledger.run(statement)
        with pytest.raises(LedgerFault):
            ledger.run_for_each(statement, [{"some": 1}])
        with pytest.raises(LedgerFault):
            ledger.insert("exchange", [{"some": 1}])


def test_half_a_character_is_told_from_other_faults(ledger: LedgerConnection) -> None:
    with pytest.raises(Unstorable):
        ledger.rows("SELECT id FROM exchange WHERE id = ?", ["\ud83d"])


def test_a_ledger_that_is_closed_is_closed(place: Place) -> None:
    connection = open_ledger(place)
    connection.close()
    connection.close()
    with pytest.raises(LedgerFault):
        connection.version()
    with closing(open_ledger(place)) as other:
        assert other.version() == 1
