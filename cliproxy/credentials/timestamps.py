"""Points in time as auth files and login files of vendors' tools write them."""

import math
from datetime import UTC, datetime

_FIRST_MS = 1e12
"""Numbers above it are milliseconds: as seconds they would lie thirty thousand years ahead."""


def seconds_of(value: object) -> float | None:
    """UTC epoch seconds from RFC 3339 text, or from seconds or milliseconds since 1970 as a number or text.

    None for whatever says no time: other values, nothing, and zero in each of these forms.
    """
    if isinstance(value, str):
        return _of_text(value.strip())
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _of_number(value)
    return None


def rfc3339(seconds: float) -> str:
    """`2026-11-21T10:00:00Z`, of whole seconds."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")


def _of_text(text: str) -> float | None:
    try:
        return _of_number(float(text))
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    # Go writes its zero time as that of the year 1.
    return _of_number((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _of_number(number: float) -> float | None:
    if not 0 < number < math.inf:
        return None
    return number / 1000 if number > _FIRST_MS else float(number)
