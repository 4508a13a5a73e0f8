"""Sections with keys for upstreams: listed as in the file, changed entry by entry, and switched off and on."""

from typing import Any

import pytest

from cliproxy.management.upstream_keys import SECTIONS
from tests.management.conftest import At
from tests.management.desk import Desk

KEYED = [section.name for section in SECTIONS if section.name != "openai-compatibility"]


def file_of(section: str) -> str:
    return f"""\
{section}:
  - api-key: sk-test-1  # first
    base-url: https://one.example
  - api_key: sk-test-1
    base_url: https://two.example
    priority: 3
  - api-key: sk-test-3
    base-url: https://one.example
"""


COMPATIBLE = """\
openai-compatibility:
  - name: alpha
    base-url: https://alpha.example/v1
    api-key-entries:
      - sk-test-1
      - api-key: sk-test-2  # spare
  - name: beta
    base-url: https://beta.example/v1
"""


async def entries(desk: Desk, section: str) -> list[dict[str, Any]]:
    return (await desk.get(f"/{section}"))[section]


@pytest.mark.parametrize("section", KEYED)
async def test_entries_are_listed_with_the_index_of_their_credential(desk_with: At, section: str) -> None:
    desk = await desk_with(file_of(section))
    listed = await entries(desk, section)
    assert [entry["api-key"] for entry in listed] == ["sk-test-1", "sk-test-1", "sk-test-3"]
    assert listed[1]["base-url"] == "https://two.example"
    indexes = [entry["auth-index"] for entry in listed]
    known = [one["auth_index"] for one in (await desk.get("/credentials"))["credentials"] if one["kind"] == "key"]
    assert indexes == known and len(set(indexes)) == 3


@pytest.mark.parametrize("section", KEYED)
async def test_entries_are_replaced_changed_and_removed(desk_with: At, section: str) -> None:
    desk = await desk_with(file_of(section))
    listed = await entries(desk, section)
    # As a panel does: what was listed comes back, with the index in it.
    listed[2]["prefix"] = "team"
    assert (await desk.ask("PUT", f"/{section}", listed)).status == 200
    assert "auth-index" not in desk.config_text() and "# first" in desk.config_text()
    assert (await entries(desk, section))[2]["prefix"] == "team"
    change = {"match": "sk-test-3", "value": {"priority": 7, "prefix": None}}
    assert (await desk.ask("PATCH", f"/{section}", change)).status == 200
    changed = (await entries(desk, section))[2]
    assert (changed["priority"], changed.get("prefix")) == (7, None)
    assert (await desk.ask("DELETE", f"/{section}", query={"api-key": "sk-test-3"})).status == 200
    assert (await desk.ask("DELETE", f"/{section}", query={"index": 0})).status == 200
    assert [entry["base-url"] for entry in await entries(desk, section)] == ["https://two.example"]
    assert (await desk.ask("PUT", f"/{section}", {"items": []})).status == 200
    assert await entries(desk, section) == []


async def test_an_entry_that_could_be_several_is_told_by_its_address(desk_with: At) -> None:
    desk = await desk_with(file_of("claude-api-key"))
    change = {"match": "sk-test-1", "value": {"priority": 1}}
    unclear = await desk.ask("PATCH", "/claude-api-key", change)
    assert (unclear.status, unclear.json["error"]) == (400, "multiple items match; index is required")
    assert (await desk.ask("DELETE", "/claude-api-key", query={"api-key": "sk-test-1"})).status == 400
    clear = await desk.ask("PATCH", "/claude-api-key", change, query={"base-url": "https://one.example/"})
    assert clear.status == 200
    assert [entry.get("priority") for entry in await entries(desk, "claude-api-key")] == [1, 3, None]
    query = {"api-key": "sk-test-1", "base-url": "https://two.example"}
    assert (await desk.ask("DELETE", "/claude-api-key", query=query)).status == 200
    assert len(await entries(desk, "claude-api-key")) == 2


async def test_a_compatible_upstream_goes_by_its_name_and_each_key_has_an_index(desk_with: At) -> None:
    desk = await desk_with(COMPATIBLE)
    alpha, _ = await entries(desk, "openai-compatibility")
    assert alpha["auth-index"] == alpha["api-key-entries"][0]["auth-index"] != alpha["api-key-entries"][1]["auth-index"]
    change = {"name": "beta", "value": {"api-key-entries": [{"api-key": "sk-test-5", "auth-index": "x"}]}}
    assert (await desk.ask("PATCH", "/openai-compatibility", change)).status == 200
    assert (
        "sk-test-5" in desk.config_text() and "auth-index" not in desk.config_text() and "# spare" in desk.config_text()
    )
    assert (await desk.ask("DELETE", "/openai-compatibility", query={"name": "alpha"})).status == 200
    assert [entry["name"] for entry in await entries(desk, "openai-compatibility")] == ["beta"]


@pytest.mark.parametrize("section", [*KEYED, "openai-compatibility"])
async def test_what_is_not_there_is_not_found(desk: Desk, section: str) -> None:
    nobody = {"match": "sk-nobody", "name": "nobody", "value": {"priority": 1}}
    assert (await desk.ask("PATCH", f"/{section}", nobody)).status == 404
    assert (await desk.ask("PATCH", f"/{section}", {"index": 5, "value": {}})).status == 404
    assert (await desk.ask("DELETE", f"/{section}", query={"api-key": "sk-x", "name": "x"})).status == 404
    assert (await desk.ask("DELETE", f"/{section}", query={"index": 3})).status == 404
    assert (await desk.ask("DELETE", f"/{section}")).status == 400


async def test_an_entry_that_would_not_be_valid_is_refused_with_its_line(desk_with: At) -> None:
    desk = await desk_with(file_of("claude-api-key"))
    before = desk.config_text()
    reply = await desk.ask("PATCH", "/claude-api-key", {"index": 1, "value": {"base-url": "not a url"}})
    assert (reply.status, reply.json["error"]) == (422, "invalid_config")
    assert "claude-api-key[1].base-url" in reply.json["message"]
    assert desk.config_text() == before


async def test_an_entry_that_the_gateway_leaves_out_has_no_index(desk_with: At) -> None:
    desk = await desk_with("codex-api-key:\n  - api-key: sk-test-1\n")
    (entry,) = await entries(desk, "codex-api-key")
    assert entry["auth-index"] == ""


async def test_a_key_is_switched_off_and_on_by_its_excluded_models(desk_with: At) -> None:
    desk = await desk_with(file_of("claude-api-key"))
    index = (await entries(desk, "claude-api-key"))[1]["auth-index"]
    reply = await desk.ask("PATCH", "/auth-files/status", {"auth_index": index, "disabled": True})
    assert reply.json == {
        "status": "ok", "disabled": True, "via": "config:excluded-models", "excluded_pattern": "*",
    }  # fmt: skip
    assert [entry.get("excluded-models") for entry in await entries(desk, "claude-api-key")] == [None, ["*"], None]
    (view,) = (await desk.get("/credentials", auth_index=index))["credentials"]
    assert (view["state"], view["usable"]) == ("disabled", False)
    await desk.ask("PATCH", "/auth-files/status", {"auth_index": index, "disabled": False})
    assert "excluded-models" not in desk.config_text()
    (view,) = (await desk.get("/credentials", auth_index=index))["credentials"]
    assert (view["state"], view["usable"]) == ("ready", True)


async def test_an_entry_that_says_disabled_can_be_switched_on(desk_with: At) -> None:
    desk = await desk_with(
        "claude-api-key:\n  - api-key: sk-test-1\n    disabled: true\n    excluded-models: [opus-*]\n"
    )
    (view,) = [one for one in (await desk.get("/credentials"))["credentials"] if one["kind"] == "key"]
    assert view["state"] == "disabled"
    change = {"auth_index": view["auth_index"], "disabled": False}
    assert (await desk.ask("PATCH", "/auth-files/status", change)).status == 200
    entry = desk.applied[-1].config.claude_api_key[0]
    assert (entry.disabled, entry.excluded_models) == (False, ("opus-*",))


async def test_keys_for_an_api_that_is_not_spoken_are_none(desk: Desk) -> None:
    assert await desk.get("/interactions-api-key") == {"interactions-api-key": []}
