"""cliproxy.members: credentials that come and go."""

from typing import Any, cast

from cliproxy.credentials.record import Credential
from cliproxy.exchange import Transport
from cliproxy.members import Members

ONE, TWO = (Credential("aistudio", ("gemini",), f"https://{name}.test") for name in ("one", "two"))


def transport() -> Transport:
    return cast(Any, object())


def test_who_joined_is_there_until_it_leaves() -> None:
    members, first, second = Members(), transport(), transport()
    members.join(ONE, first)
    members.join(TWO, second)
    assert members.credentials() == [ONE, TWO]
    assert (members.transport_of(ONE), members.transport_of(TWO)) == (first, second)
    members.leave(ONE.id)
    assert members.credentials() == [TWO]
    assert members.transport_of(ONE) is None


def test_who_joins_again_takes_its_own_place() -> None:
    members, again = Members(), transport()
    members.join(ONE, transport())
    members.join(ONE, again)
    assert (members.credentials(), members.transport_of(ONE)) == ([ONE], again)


def test_changes_are_told() -> None:
    members = Members()
    seen: list[list[Credential]] = []
    members.changed = lambda: seen.append(members.credentials())
    members.join(ONE, transport())
    members.leave(ONE.id)
    members.leave(ONE.id)
    assert seen == [[ONE], []]
