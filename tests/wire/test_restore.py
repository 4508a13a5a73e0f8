"""cliproxy.wire.restore: tool names, freeform tools and namespaces on their way back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.wire.fold import fold, unfold
from cliproxy.wire.model import (
    Answer,
    Delta,
    Finish,
    PartEnd,
    PartStart,
    Request,
    ServerTool,
    Start,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)
from cliproxy.wire.restore import Restorer, flattened

EXEC = Tool("exec", kind="custom", namespace="functions")
PATCH = Tool("apply_patch", kind="custom")
LOOK = Tool("look", schema={"type": "object"})


def request(*tools, turns=()):
    return Request("openai-responses", "m", list(turns), tools=list(tools))


def answer(*calls):
    return Answer(parts=[Text("So."), *calls], finish="tool")


def restored(tools, names, *calls):
    """The calls as restored from a stream, which must be the same as from a whole answer."""
    streamed = fold(Restorer(request(*tools), names).apply(list(unfold(answer(*calls)))))
    whole = Restorer(request(*tools), names).answer(answer(*calls))
    assert streamed == whole
    return whole.parts[1:]


def test_where_nothing_changed_the_events_pass_as_they_are():
    events = list(unfold(answer(ToolCall("a", "look", "{}"))))
    assert Restorer(request(LOOK), {}).apply(events) is events


def test_names_come_back():
    calls = restored([LOOK], {"fs_read": "fs.read"}, ToolCall("a", "fs_read", '{"p":1}'), ToolCall("b", "look", "{}"))
    assert calls == [ToolCall("a", "fs.read", '{"p":1}'), ToolCall("b", "look", "{}")]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ('{"input": "*** Begin\\n\\"x\\""}', '*** Begin\n"x"'),
        ('{"input": ""}', ""),
        ("{}", ""),
        ("", ""),
        ("*** Begin Patch", "*** Begin Patch"),
        ('{"patch": "x"}', '{"patch": "x"}'),
        ('{"input": 5}', '{"input": 5}'),
        ('["x"]', '["x"]'),
        ('{"input": "\\ud800"}', "\ud800"),
    ],
)
def test_a_freeform_tool_that_went_as_a_function_comes_back_with_raw_text(arguments, text):
    assert restored([PATCH], {}, ToolCall("a", "apply_patch", arguments)) == [
        ToolCall("a", "apply_patch", text, kind="custom")
    ]


def test_a_freeform_call_stays_as_it_is():
    call = ToolCall("a", "apply_patch", '{"input": "x"}', kind="custom")
    assert restored([PATCH], {}, call) == [call]


def test_namespace_and_name_come_back_to_a_freeform_tool():
    assert restored([EXEC], {"exec_": "exec"}, ToolCall("a", "exec_", '{"input":"1+1"}')) == [
        ToolCall("a", "exec", "1+1", kind="custom", namespace="functions")
    ]


def test_namespaces_come_back():
    tool = Tool("wait", namespace="clock")
    assert restored([tool, LOOK], {}, ToolCall("a", "wait", "{}"), ToolCall("b", "look", "{}")) == [
        ToolCall("a", "wait", "{}", namespace="clock"),
        ToolCall("b", "look", "{}"),
    ]


def test_a_namespace_that_the_upstream_knows_stays():
    call = ToolCall("a", "wait", "{}", namespace="other")
    assert restored([Tool("wait", namespace="clock")], {}, call) == [call]


def test_calls_that_are_open_at_once_are_kept_apart():
    events = [
        Start(),
        PartStart(0, ToolCall("a", "apply_patch", "")),
        PartStart(1, ToolCall("b", "look", "")),
        Delta(0, '{"inp'),
        Delta(1, '{"x"'),
        Delta(0, 'ut":"P"}'),
        Delta(1, ":1}"),
        PartEnd(1),
        PartEnd(0),
        Finish("tool"),
    ]
    restorer = Restorer(request(PATCH, LOOK), {})
    pieces = [event for each in events for event in restorer.apply([each])]
    assert fold(pieces).parts == [
        ToolCall("a", "apply_patch", "P", kind="custom"),
        ToolCall("b", "look", '{"x":1}'),
    ]


@given(st.text(), st.integers(1, 7))
def test_raw_text_comes_back_whole_however_it_was_cut(text, size):
    arguments = json.dumps({"input": text})
    events = [Start(), PartStart(0, ToolCall("a", "apply_patch", ""))]
    events += [Delta(0, arguments[at : at + size]) for at in range(0, len(arguments), size)]
    events += [PartEnd(0), Finish("tool")]
    assert fold(Restorer(request(PATCH), {}).apply(events)).parts == [ToolCall("a", "apply_patch", text, kind="custom")]


def test_without_clashes_a_request_is_flat_already():
    asked = request(EXEC, Tool("wait", namespace="clock"), LOOK, ServerTool("web_search", "openai-responses", {}))
    assert flattened(asked) is asked


def test_tools_of_one_name_in_two_namespaces_are_told_apart_and_come_back():
    one, two = Tool("search", namespace="docs"), Tool("search", namespace="mail")
    turns = [
        Turn("user", [Text("hi")]),
        Turn("assistant", [ToolCall("a", "search", "{}", namespace="mail"), ToolCall("b", "look", "{}")]),
        Turn("user", [ToolResult("a", [Text("x")])]),
    ]
    asked = request(one, two, LOOK, turns=turns)
    before = repr(asked)
    flat = flattened(asked)
    assert [tool.name for tool in flat.tools] == ["docs__search", "mail__search", "look"]
    assert flat.turns[1].parts == [
        ToolCall("a", "mail__search", "{}", namespace="mail"),
        ToolCall("b", "look", "{}"),
    ]
    assert repr(asked) == before
    calls = [ToolCall("a", "mail__search", "{}"), ToolCall("b", "docs__search", "{}")]
    assert restored([one, two, LOOK], {}, *calls) == [
        ToolCall("a", "search", "{}", namespace="mail"),
        ToolCall("b", "search", "{}", namespace="docs"),
    ]
