"""cliproxy.wire.names: names and ids that fit, and the way back."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.wire.names import ToolNames, call_id, new_id

OPENAI = {"limit": 64, "legal": "a-zA-Z0-9_-"}
GEMINI = {"limit": 64, "legal": "a-zA-Z0-9_.:-", "first": "a-zA-Z_"}
LONG_MCP = "mcp__a_very_long_server_name__and_a_very_long_tool_name_0123456789_abc"


@pytest.mark.parametrize("name", ["f", "get_weather", "mcp__server-one__do_the_thing_now", "a" * 64, "0", "-"])
def test_legal_names_stay(name):
    names = ToolNames(**OPENAI)
    assert names.send(name) == name
    assert names.restored == {}


def test_illegal_characters_are_replaced_and_restored():
    names = ToolNames(**OPENAI)
    assert names.send("fs.read") == "fs_read"
    assert names.restored == {"fs_read": "fs.read"}


def test_a_first_character_that_is_not_legal_there_gets_one_before_it():
    names = ToolNames(**GEMINI)
    assert names.send("3d.render") == "_3d.render"
    assert names.restored == {"_3d.render": "3d.render"}


def test_the_tool_of_a_long_mcp_name_stays_readable():
    names = ToolNames(**OPENAI)
    assert names.send(LONG_MCP) == "mcp__and_a_very_long_tool_name_0123456789_abc"
    assert names.restored == {"mcp__and_a_very_long_tool_name_0123456789_abc": LONG_MCP}


def test_long_names_that_begin_alike_stay_apart():
    names = ToolNames(**OPENAI)
    first, second = names.send("x" * 70 + "1"), names.send("x" * 70 + "2")
    assert first != second
    assert names.restored == {first: "x" * 70 + "1", second: "x" * 70 + "2"}


def test_a_name_that_another_was_changed_into_is_changed_too():
    names = ToolNames(**OPENAI)
    changed, other = names.send("fs.read"), names.send("fs_read")
    assert changed != other
    assert names.restored[changed] == "fs.read" and names.restored[other] == "fs_read"


@given(
    st.lists(st.text(min_size=1, max_size=80) | st.text("ab._", min_size=60, max_size=70)),
    st.sampled_from([OPENAI, GEMINI]),
)
def test_names_fit_and_come_back(originals, rules):
    names = ToolNames(**rules)
    legal = re.compile(f"[{rules.get('first', rules['legal'])}][{rules['legal']}]{{0,{rules['limit'] - 1}}}")
    sent = [names.send(name) for name in originals]
    assert all(legal.fullmatch(name) for name in sent)
    assert [names.restored.get(name, name) for name in sent] == originals
    assert [names.send(name) for name in originals] == sent
    again = ToolNames(**rules)
    assert [again.send(name) for name in originals] == sent


@pytest.mark.parametrize("id", ["call_abc1", "toolu_01A-b", "x" * 64])
def test_legal_ids_stay(id):
    assert call_id(id, **OPENAI) == id


@pytest.mark.parametrize("id", ["call:1/abc.def|x", "x" * 65, "\ud800", "ä"])
def test_other_ids_become_legal_and_always_the_same(id):
    sent = call_id(id, **OPENAI)
    assert re.fullmatch("[a-zA-Z0-9_-]{1,64}", sent)
    assert call_id(id, **OPENAI) == sent
    assert call_id(sent, **OPENAI) == sent


def test_ids_that_would_become_alike_stay_apart():
    assert call_id("a.b", **OPENAI) != call_id("a:b", **OPENAI)


def test_an_empty_id_becomes_a_new_one():
    first, second = call_id("", **OPENAI, prefix="toolu_"), call_id("", **OPENAI, prefix="toolu_")
    assert first != second and first.startswith("toolu_")


def test_new_ids_are_unique():
    ids = {new_id("call_") for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch("call_[0-9a-f]{24}", id) for id in ids)
