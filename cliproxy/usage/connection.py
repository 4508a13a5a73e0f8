"""What the ledger needs of its database, be it SQLite or PostgreSQL.

Statements are written once, in the words that both understand: parameters are `:name` or `?`, sums of counts are cast
to BIGINT (PostgreSQL makes decimals of them), and a moment that is compared with an hour is a whole number.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from cliproxy.usage.rows import Row

type Parameters = Mapping[str, Any] | Sequence[Any]


class LedgerFault(Exception):
    """The ledger cannot be read or written at the moment. Says why, without secrets."""


class Unstorable(LedgerFault):
    """A value is none that the database could hold: half a character, a number without end."""


class LedgerConnection(Protocol):
    """For one thread at a time. Everything but `close` raises LedgerFault."""

    def rows(self, statement: str, parameters: Parameters = ()) -> list[Row]:
        """What a question finds."""
        ...

    def run(self, statement: str, parameters: Parameters = ()) -> int:
        """How many rows a statement changed."""
        ...

    def insert(self, table: str, rows: Sequence[Row]) -> None:
        """Add rows, all with the same columns in the same order."""
        ...

    def run_for_each(self, statement: str, rows: Sequence[Row]) -> None: ...

    def writing(self) -> AbstractContextManager[None]:
        """One transaction, all or nothing. No other process writes meanwhile, so numbers grow in commit order."""
        ...

    def pruning(self) -> AbstractContextManager[bool]:
        """Whether no other process prunes meanwhile."""
        ...

    def version(self) -> int:
        """Of the tables; 0: there are none yet."""
        ...

    def define(self, script: str, version: int) -> None:
        """Take a step of `schema.MIGRATIONS`, which are in SQLite's words, to a version."""
        ...

    def exceeds(self, limit_bytes: int) -> bool:
        """Whether what is kept is larger."""
        ...

    def shrink(self) -> None:
        """Give the room of what was removed back."""
        ...

    def close(self) -> None: ...
