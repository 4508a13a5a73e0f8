"""Who may use the management API: the key, the machine by its socket, and what five wrong keys lead to."""

import asyncio
import itertools
from pathlib import Path

import bcrypt
import pytest

from cliproxy.config.schema.root import RemoteManagement
from cliproxy.management.authentication import (
    FAILURES,
    FORGOTTEN_S,
    LOCKED_OUT_S,
    MAX_ADDRESSES,
    Guard,
    hashed,
    is_hashed,
    is_loopback,
)
from cliproxy.management.faults import ManagementFault
from tests.management.conftest import At
from tests.management.desk import KEY, Desk

HASH = bcrypt.hashpw(KEY.encode(), bcrypt.gensalt(4)).decode()
THERE = "203.0.113.7"


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def settings(secret: str = HASH, *, remote: bool = False) -> RemoteManagement:
    return RemoteManagement.model_validate({"secret-key": secret, "allow-remote": remote})


async def status(guard: Guard, presented: str | None, peer: str = "127.0.0.1", *, remote: bool = False) -> int:
    """200 where it lets in."""
    try:
        await guard.admit(settings(remote=remote), peer, presented)
    except ManagementFault as fault:
        return fault.status
    return 200


@pytest.mark.parametrize(
    ("peer", "is_here"),
    [
        ("127.0.0.1", True), ("127.8.9.10", True), ("::1", True), ("::ffff:127.0.0.1", True),
        ("10.0.0.1", False), ("::ffff:10.0.0.1", False), ("2001:db8::1", False), ("localhost", False), ("", False),
    ],
)  # fmt: skip
def test_this_machine_is_told_by_its_address(peer: str, is_here: bool) -> None:
    assert is_loopback(peer) is is_here


@pytest.mark.parametrize("secret", [HASH, KEY], ids=["hashed", "plain"])
async def test_the_key_lets_in_hashed_or_not(secret: str) -> None:
    guard = Guard()
    for _ in range(2):
        await guard.admit(settings(secret), "127.0.0.1", KEY)
    with pytest.raises(ManagementFault) as refused:
        await guard.admit(settings(secret), "127.0.0.1", KEY + "x")
    assert (refused.value.status, str(refused.value)) == (401, "invalid management key")


async def test_without_any_key_there_is_nothing() -> None:
    with pytest.raises(ManagementFault) as refused:
        await Guard().admit(settings(""), "127.0.0.1", "")
    assert refused.value.status == 404


async def test_a_missing_key_is_refused_and_does_not_count() -> None:
    guard = Guard()
    assert [await status(guard, None) for _ in range(20)] == [401] * 20
    assert await status(guard, KEY) == 200


async def test_the_environments_password_is_a_key_too_and_opens_to_other_machines() -> None:
    guard = Guard("test-password")
    assert await status(guard, "test-password", THERE) == 200
    assert await status(guard, KEY, THERE) == 200
    assert await status(guard, "test-passwor", THERE) == 401
    await guard.admit(settings(""), THERE, "test-password")


async def test_other_machines_only_where_allowed() -> None:
    guard = Guard()
    assert await status(guard, KEY, THERE) == 403
    await guard.admit(settings(remote=True), THERE, KEY)


@pytest.mark.parametrize("peer", ["127.0.0.1", THERE])
async def test_five_wrong_keys_lock_an_address_out_for_half_an_hour(peer: str) -> None:
    clock = Clock()
    guard = Guard("x", clock)
    assert [await status(guard, "wrong", peer) for _ in range(FAILURES)] == [401] * FAILURES
    assert await status(guard, KEY, peer) == 403
    assert await status(guard, KEY, "192.0.2.1") == 200
    clock.now_s += LOCKED_OUT_S - 1
    with pytest.raises(ManagementFault) as refused:
        await guard.admit(settings(), peer, KEY)
    assert refused.value.headers["Retry-After"] == "1"
    clock.now_s += 1
    assert await status(guard, KEY, peer) == 200


async def test_a_right_key_ends_the_count() -> None:
    guard = Guard()
    for _ in range(3):
        assert [await status(guard, "wrong") for _ in range(FAILURES - 1)] == [401] * (FAILURES - 1)
        assert await status(guard, KEY) == 200


async def test_failures_of_long_ago_do_not_count() -> None:
    clock = Clock()
    guard = Guard(clock=clock)
    for _ in range(FAILURES - 1):
        await status(guard, "wrong")
    clock.now_s += FORGOTTEN_S + 1
    assert await status(guard, "wrong") == 401
    assert await status(guard, KEY) == 200


async def test_guesses_that_come_together_are_not_all_tried() -> None:
    guard = Guard()
    statuses = await asyncio.gather(*(status(guard, f"guess {number}") for number in range(50)))
    assert sorted(statuses) == [401] * FAILURES + [403] * (50 - FAILURES)


async def test_one_users_many_ipv6_addresses_are_one() -> None:
    guard = Guard("x")
    peers = itertools.cycle(["2001:db8:1:2::1", "2001:db8:1:2:ffff::2"])
    assert [await status(guard, "wrong", next(peers)) for _ in range(FAILURES)] == [401] * FAILURES
    assert await status(guard, KEY, "2001:db8:1:2::3") == 403
    assert await status(guard, KEY, "2001:db8:1:3::3") == 200


async def test_the_memory_of_failures_is_bounded() -> None:
    guard = Guard("x")
    for number in range(MAX_ADDRESSES + 10):
        guard._failed(f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}")
    assert len(guard._failures) == MAX_ADDRESSES


@pytest.mark.parametrize("secret", ["$2b$broken", "$2a$99$" + "x" * 53])
async def test_a_hash_that_is_none_lets_nobody_in(secret: str) -> None:
    with pytest.raises(ManagementFault) as refused:
        await Guard().admit(settings(secret), "127.0.0.1", secret)
    assert refused.value.status == 401


async def test_keys_that_bcrypt_does_not_take_are_wrong_keys() -> None:
    guard = Guard()
    assert await status(guard, "x" * 100) == 401
    assert await status(guard, "nul\0nul") == 401


def test_a_key_is_hashed_unless_it_is_too_long() -> None:
    assert is_hashed(hashed("short")) and bcrypt.checkpw(b"short", hashed("short").encode())
    assert hashed("x" * 73) == ""


# ---------------------------------------------------------------- of the application


async def test_both_headers_take_the_key(desk: Desk) -> None:
    for headers in ({"Authorization": f"Bearer {KEY}"}, {"Authorization": KEY}, {"X-Management-Key": KEY}):
        assert (await desk.ask("GET", "/debug", key=None, headers=headers)).status == 200
    assert (await desk.ask("GET", "/debug", key=None, headers={"Cookie": f"key={KEY}"})).status == 401
    assert (await desk.ask("GET", "/debug", key=None, query={"key": KEY})).status == 401


async def test_headers_cannot_make_another_machine_this_one(desk: Desk) -> None:
    forged = {
        "X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1", "Forwarded": "for=127.0.0.1",
        "CF-Connecting-IP": "127.0.0.1", "True-Client-IP": "127.0.0.1", "Host": "localhost", "Origin": "http://127.0.0.1",
    }  # fmt: skip
    reply = await desk.ask("GET", "/debug", headers=forged, peer=THERE)
    assert (reply.status, reply.json) == (403, {"error": "remote management disabled"})


async def test_headers_cannot_share_or_shed_a_lock_out(desk: Desk) -> None:
    for number in range(FAILURES):
        reply = await desk.ask("GET", "/debug", key="wrong", headers={"X-Forwarded-For": f"10.0.0.{number}"})
        assert reply.status == 401
    reply = await desk.ask("GET", "/debug", headers={"X-Forwarded-For": "10.0.0.99"})
    assert (reply.status, reply.json["error"]) == (403, "IP banned due to too many failed attempts")


async def test_what_is_not_there_is_told_only_to_who_may_come_in(desk: Desk) -> None:
    assert (await desk.ask("GET", "/nothing", key=None)).status == 401
    assert (await desk.ask("GET", "/nothing")).status == 404
    assert (await desk.ask("DELETE", "/debug", key=None)).status == 401
    refused = await desk.ask("DELETE", "/debug")
    assert (refused.status, refused.headers["allow"]) == (405, "GET, PATCH, PUT")


async def test_without_a_key_in_the_config_the_whole_tree_is_gone(desk: Desk) -> None:
    text = desk.config_text().replace(f"  secret-key: {KEY}\n", "  allow-remote: true\n")
    assert (await desk.ask("PUT", "/config.yaml", body=text.encode())).status == 200
    for path in ("/debug", "/nothing", "/oauth-callback", "/openapi.json", ""):
        reply = await desk.ask("GET", path)
        assert (reply.status, reply.json) == (404, {"error": "not found"})


async def test_answers_let_no_other_site_read_them(desk: Desk) -> None:
    for method, path in (("GET", "/debug"), ("OPTIONS", "/debug"), ("GET", "/nothing")):
        reply = await desk.ask(method, path, headers={"Origin": "https://evil.example"})
        assert not [name for name in reply.headers if name.lower().startswith("access-control")]
        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["x-cpa-support-plugin"] == "false"
        assert {"x-cpa-version", "x-cpa-commit", "x-cpa-build-date"} <= {name.lower() for name in reply.headers}


async def test_a_plain_key_of_the_file_is_replaced_by_its_hash(desk_with: At, tmp_path: Path) -> None:
    desk = await desk_with("debug: true  # stays\n")
    await desk.operator.hide_key()
    text = desk.config_text()
    assert KEY not in text and "  secret-key: $2b$" in text and "debug: true  # stays" in text
    # It stays the same key, before the file is read again and after.
    assert len(desk.applied) == 1
    assert (await desk.ask("GET", "/debug")).status == 200
    assert (await desk.ask("PUT", "/debug", {"value": False})).status == 200
    assert is_hashed(desk.applied[-1].config.remote_management.secret_key.get_secret_value())
    assert (await desk.ask("GET", "/debug")).status == 200
    assert (await desk.ask("GET", "/debug", key="wrong")).status == 401
    await desk.operator.hide_key()
    assert desk.config_text().count("$2b$") == 1


async def test_a_key_that_cannot_be_hashed_stays_and_says_so(desk: Desk) -> None:
    long = "k" * 80
    text = desk.config_text().replace(KEY, long)
    await desk.ask("PUT", "/config.yaml", body=text.encode())
    with pytest.raises(ManagementFault, match="72 bytes"):
        await desk.operator.hide_key()
    assert (await desk.ask("GET", "/debug", key=long)).status == 200
