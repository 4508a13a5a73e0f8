"""cliproxy.wire.history: calls and results paired, adjacent and in order, whatever the client sent."""

import json
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict

from cliproxy.wire.history import NO_RESULT, repair
from cliproxy.wire.model import Carrier, Media, Reasoning, Refusal, Text, ToolCall, ToolResult, Turn


def user(*parts):
    return Turn("user", [Text(part) if isinstance(part, str) else part for part in parts])


def assistant(*parts):
    return Turn("assistant", [Text(part) if isinstance(part, str) else part for part in parts])


def call(id, name="f", arguments="{}", **more):
    return ToolCall(id, name, arguments, **more)


def result(id, text="ok", name=None, **more):
    return ToolResult(id, [Text(text)], name, **more)


def outline(turns):
    """Each turn as its role's initial and what its parts are, short enough to read."""
    words = []
    for turn in turns:
        parts = []
        for part in turn.parts:
            match part:
                case ToolCall(id, name):
                    parts.append(f"{name}#{id}")
                case ToolResult(id, parts_, name):
                    parts.append(f"{name}#{id}={''.join(inner.text for inner in parts_ if isinstance(inner, Text))}")
                case Text(text) | Reasoning(text):
                    parts.append(text)
                case other:
                    parts.append(type(other).__name__)
        words.append(f"{turn.role[0]}: {', '.join(parts)}")
    return words


CASES = {
    "nothing to do": (
        [user("hi"), assistant("look", call("a")), user(result("a"))],
        ["u: hi", "a: look, f#a", "u: f#a=ok"],
    ),
    "neighbours of one role become one turn": (
        [user("a"), user("b"), assistant("c"), assistant("d")],
        ["u: a, b", "a: c, d"],
    ),
    "system turns stay apart": (
        [user("a"), Turn("system", [Text("s")]), Turn("system", [Text("t")]), user("b")],
        ["u: a", "s: s", "s: t", "u: b"],
    ),
    "results in the order of the calls": (
        [user("go"), assistant(call("a"), call("b")), user(result("b", "2"), result("a", "1"))],
        ["u: go", "a: f#a, f#b", "u: f#a=1, f#b=2"],
    ),
    "parallel results split over several turns": (
        [user("go"), assistant(call("a"), call("b")), user(result("a", "1")), user(result("b", "2"))],
        ["u: go", "a: f#a, f#b", "u: f#a=1, f#b=2"],
    ),
    "calls split over several turns": (
        [user("go"), assistant(call("a")), assistant(call("b")), user(result("a", "1"), result("b", "2"))],
        ["u: go", "a: f#a, f#b", "u: f#a=1, f#b=2"],
    ),
    "other content after the results": (
        [user("go"), assistant(call("a")), user("and", result("a"), "now")],
        ["u: go", "a: f#a", "u: f#a=ok, and, now"],
    ),
    "a result far from its call": (
        [user("go"), assistant(call("a")), user("wait"), assistant("yes"), user(result("a", "late"))],
        ["u: go", "a: f#a", "u: f#a=late, wait", "a: yes"],
    ),
    "a system turn between call and result": (
        [user("go"), assistant(call("a")), Turn("system", [Text("s")]), user(result("a"), "then")],
        ["u: go", "a: f#a", "u: f#a=ok", "s: s", "u: then"],
    ),
    "a result before its call": (
        [user("go", result("a", "early")), assistant(call("a")), user("then")],
        ["u: go", "a: f#a", "u: f#a=early, then"],
    ),
    "a result before its call does not replace a later one": (
        [user("go", result("a", "early")), assistant(call("a")), user(result("a", "right"))],
        ["u: go", "a: f#a", "u: f#a=right"],
    ),
    "several results for one call: first position, last content": (
        [user("go"), assistant(call("a"), call("b")), user(result("a", "1"), result("b"), result("a", "2"))],
        ["u: go", "a: f#a, f#b", "u: f#a=2, f#b=ok"],
    ),
    "a result without a call": (
        [user("go", result("zz")), assistant("hm"), user(result("yy"), "next")],
        ["u: go", "a: hm", "u: next"],
    ),
    "a turn of nothing but a result without a call": (
        [user("go"), assistant("a"), user(result("zz")), assistant("b")],
        ["u: go", "a: a, b"],
    ),
    "a call that is never answered": (
        [user("go"), assistant(call("a")), user("forget it")],
        ["u: go", "a: f#a", f"u: f#a={NO_RESULT}, forget it"],
    ),
    "one of two calls is never answered": (
        [user("go"), assistant(call("a"), call("b")), user(result("b"))],
        ["u: go", "a: f#a, f#b", f"u: f#a={NO_RESULT}, f#b=ok"],
    ),
    "unanswered calls at the end stay": (
        [user("go"), assistant("look", call("a"), call("b"))],
        ["u: go", "a: look, f#a, f#b"],
    ),
    "ids that Gemini leaves out": (
        [
            user("go"),
            assistant(call("", "f"), call("", "g"), call("", "f")),
            user(result("", "f1", "f"), result("", "f2", "f"), result("", "g1", "g")),
            assistant(call("", "f")),
            user(result("", "f3", "f")),
        ],
        [
            "u: go",
            "a: f#call_1, g#call_2, f#call_3",
            "u: f#call_1=f1, g#call_2=g1, f#call_3=f2",
            "a: f#call_4",
            "u: f#call_4=f3",
        ],
    ),
    "an older call without id and answer takes no later result": (
        [user("go"), assistant(call("")), user("no"), assistant(call("")), user(result("", "2nd", "f"))],
        ["u: go", "a: f#call_1", f"u: f#call_1={NO_RESULT}, no", "a: f#call_2", "u: f#call_2=2nd"],
    ),
    "results with neither id nor name": (
        [user("go"), assistant(call("", "f"), call("x", "g")), user(result("", "1"), result("", "2"))],
        ["u: go", "a: f#call_1, g#x", "u: f#call_1=1, g#x=2"],
    ),
    "a result with an id for a call without": (
        [user("go"), assistant(call("", "f")), user(result("made-up", "1", "f"))],
        ["u: go", "a: f#call_1", "u: f#call_1=1"],
    ),
    "a result without an id for a call with one": (
        [user("go"), assistant(call("x", "f")), user(result("", "1", "f"))],
        ["u: go", "a: f#x", "u: f#x=1"],
    ),
    "one id used by calls of several turns": (
        [
            user("go"),
            assistant(call("a")),
            user(result("a", "1")),
            assistant(call("a")),
            user(result("a", "2")),
        ],
        ["u: go", "a: f#a", "u: f#a=1", "a: f#a_2", "u: f#a_2=2"],
    ),
    "one id used twice in a turn": (
        [user("go"), assistant(call("a", "f"), call("a", "g")), user(result("a", "1"), result("a", "2"))],
        ["u: go", "a: f#a, g#a_2", "u: f#a=1, g#a_2=2"],
    ),
    "made-up ids avoid those in use": (
        [
            user("go"),
            assistant(call("", "f"), call("call_1", "g")),
            user(result("", "1", "f"), result("call_1", "2")),
        ],
        ["u: go", "a: f#call_1_, g#call_1", "u: f#call_1_=1, g#call_1=2"],
    ),
    "a wrong name of a result": (
        [user("go"), assistant(call("a", "f")), user(result("a", "1", "unknown"))],
        ["u: go", "a: f#a", "u: f#a=1"],
    ),
    "empty texts and turns go": (
        [user("hi", ""), assistant("", Reasoning(), Refusal("")), user("there", "")],
        ["u: hi, there"],
    ),
    "white space is content": (
        [user("a"), assistant("\n"), user("b")],
        ["u: a", "a: \n", "u: b"],
    ),
    "one user turn stays": ([user("")], ["u: "]),
    "one user turn is there": ([], ["u: "]),
    "an assistant alone gets a user before it": ([assistant("hi")], ["u: ", "a: hi"]),
}


@pytest.mark.parametrize("name", CASES)
def test_repair(name):
    """Class 2: tool call and result pairing."""
    turns, wanted = CASES[name]
    assert outline(repair(turns, [])) == wanted


@pytest.mark.parametrize(
    ("turns", "record"),
    [
        ([user("go", result("zz"))], "tool result zz: no call to go with it"),
        ([user("go", result("", "x", "f"))], "tool result f: no call to go with it"),
        (
            [user("go"), assistant(call("a")), user("x")],
            "tool call f a: has no result, a note stands in for it",
        ),
        (
            [user("go"), assistant(call("a", "f", '{"x'))],
            "tool call f a: its arguments are not a JSON object",
        ),
        ([user("go", call("a"))], "tool call f: stands in a user turn"),
    ],
)
def test_each_loss_is_recorded(turns, record):
    dropped = ["before"]
    repair(turns, dropped)
    assert dropped == ["before", record]


def test_nothing_is_recorded_where_nothing_is_lost():
    dropped = []
    repair([user("a"), user("b"), assistant(call("a"), call("b")), user(result("b"), result("a"))], dropped)
    assert dropped == []


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ("", "{}"),
        (" \n", "{}"),
        ('{"city": "Par', "{}"),
        ("[1]", "{}"),
        ('"text"', "{}"),
        ("null", "{}"),
        ('{"a": 1}', '{"a": 1}'),
        ('{"a": NaN}', '{"a": NaN}'),
        ('{"a": "\\ud800"}', '{"a": "\\ud800"}'),
        ("[" * 5000, "{}"),
    ],
)
def test_arguments_of_a_function_are_an_object(arguments, sent):
    repaired = repair([user("go"), assistant(call("a", arguments=arguments))], [])
    assert repaired[1].parts == [call("a", arguments=sent)]


def test_the_raw_input_of_a_freeform_call_stays():
    raw = call("a", "exec", "not JSON", kind="custom")
    repaired = repair([user("go"), assistant(raw), user(result("a"))], [])
    assert repaired[1].parts == [raw]
    assert repaired[2].parts == [result("a", name="exec", kind="custom")]


def test_signed_empty_parts_stay():
    carrier = Carrier("gemini", "signature", "s")
    signed = assistant(Text("", carrier=carrier), Reasoning("", carrier))
    assert repair([user("hi"), signed], [])[1] == signed


def test_the_request_itself_stays_as_it_was():
    turns = [
        user("a", ""),
        user("b"),
        assistant(call("", arguments="")),
        user(result("", name="f"), result("zz")),
    ]
    before = [asdict(turn) for turn in turns]
    text = repr(turns)
    repair(turns, [])
    assert [asdict(turn) for turn in turns] == before and repr(turns) == text


# ---------------------------------------------------------------- properties

_ids = st.sampled_from(["", "a", "b", "c", "call_1"])
_names = st.sampled_from(["f", "g"])
_words = st.text("xyz", max_size=2)
_texts = st.builds(Text, _words)
_results = st.builds(ToolResult, _ids, st.lists(_texts, max_size=1), st.none() | _names)
_calls = st.builds(ToolCall, _ids, _names, st.sampled_from(["", "{}", '{"x":1}', "{", "[]"]))
_media = st.builds(Media, st.just("image"), data=st.just("AA=="))
_turns = st.lists(
    st.one_of(
        st.builds(Turn, st.just("user"), st.lists(_texts | _results | _media, max_size=4)),
        st.builds(Turn, st.just("assistant"), st.lists(_texts | _calls, max_size=4)),
        st.builds(Turn, st.just("system"), st.lists(_texts, max_size=1)),
    ),
    max_size=8,
)


@given(_turns)
def test_each_result_follows_its_call_and_each_call_but_the_last_has_one(turns):
    repaired = repair(turns, [])
    for index, turn in enumerate(repaired):
        called = [part for part in turn.parts if isinstance(part, ToolCall)]
        if called and index < len(repaired) - 1:
            following = repaired[index + 1]
            assert following.role == "user"
            answers = [part for part in following.parts[: len(called)] if isinstance(part, ToolResult)]
            assert [(part.id, part.name) for part in answers] == [(part.id, part.name) for part in called]
    assert sum(isinstance(part, ToolResult) for turn in repaired for part in turn.parts) == sum(
        isinstance(part, ToolCall) for turn in repaired[:-1] for part in turn.parts
    )


@given(_turns)
def test_ids_are_unique_and_never_empty(turns):
    ids = [part.id for turn in repair(turns, []) for part in turn.parts if isinstance(part, ToolCall)]
    assert len(set(ids)) == len(ids) and all(ids)


@given(_turns)
def test_roles_alternate_and_turns_have_content(turns):
    repaired = repair(turns, [])
    for turn, following in pairwise(repaired):
        assert turn.role != following.role or turn.role == "system"
    assert all(turn.parts for turn in repaired)
    assert any(turn.role == "user" for turn in repaired)


@given(_turns)
def test_nothing_else_is_lost(turns):
    def contents(turns):
        return [part for turn in turns for part in turn.parts if isinstance(part, Text | Media) and part != Text("")]

    repaired = repair(turns, [])
    # Content never moves past other content of a user or assistant turn.
    assert contents(repaired) == contents(turns)
    calls = Counter(part.name for turn in turns for part in turn.parts if isinstance(part, ToolCall))
    assert Counter(p.name for turn in repaired for p in turn.parts if isinstance(p, ToolCall)) == calls


@given(_turns)
def test_arguments_are_objects(turns):
    for turn in repair(turns, []):
        for part in turn.parts:
            if isinstance(part, ToolCall):
                assert isinstance(json.loads(part.arguments), dict)


@given(_turns)
def test_repairing_twice_changes_nothing_more(turns):
    once = repair(turns, [])
    dropped = []
    assert repair(once, dropped) == once
    assert dropped == []


@given(_turns)
def test_a_longer_conversation_repairs_its_beginning_alike(turns):
    """Class 13: what was sent in the last request is sent again in the same words, or prompt caches go cold."""
    begun = [Turn("user", [Text("go")]), *turns]
    once = repair(begun, [])
    again = repair([*begun, Turn("user", [Text("more")])], [])
    assert again[: len(once) - 1] == once[:-1]
