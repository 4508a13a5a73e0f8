"""What becomes of an auth file that two have changed at once."""

import json

import pytest

from cliproxy.stores.merge import merged
from tests.stores.side import login


def test_settings_of_both_and_the_newer_login() -> None:
    base = login("1", "01", note="a", priority=1, prefix="p")
    ours = login("1", "01", note="b", priority=1, prefix="p")
    theirs = json.loads(login("2", "02", note="a", priority=2))
    assert json.loads(merged(base, ours, json.dumps(theirs).encode())) == {**theirs, "note": "b"}


@pytest.mark.parametrize("ours_is_newer", [True, False])
def test_a_login_is_never_put_together_of_two(ours_is_newer: bool) -> None:
    older, newer = login("1", "01", id_token="test-id-1"), login("2", "02")
    ours, theirs = (newer, older) if ours_is_newer else (older, newer)
    assert json.loads(merged(None, ours, theirs)) == json.loads(newer)


@pytest.mark.parametrize("unusable", [b'{"access_token": "test-1"}', b"[]", b""])
def test_what_can_be_used_stays(unusable: bytes) -> None:
    usable = login("1", "01")
    assert merged(None, usable, unusable) == usable
    assert merged(None, unusable, usable) == usable
