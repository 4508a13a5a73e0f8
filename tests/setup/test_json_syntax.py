"""JSON settings files: what a change does, and above all what it leaves alone."""

import json
from typing import Any

import json5_document
import pytest
from hypothesis import given
from hypothesis import strategies as st
from json5_document import TokenKind

from cliproxy.setup.json_syntax import JsonSyntax
from cliproxy.setup.syntax import Keys, SettingsFault, Value
from tests.setup.json_layouts import PATHS, VALUES, layouts

PLAIN = JsonSyntax()
COMMENTED = JsonSyntax(comments=True)
LENIENT = JsonSyntax(comments=True, trailing_commas=True)


def foreign(text: str) -> list[str]:
    """What a person wrote, comments too; commas and white space follow from it."""
    kept = [token for token in json5_document.tokenize(source=text) if token.kind is not TokenKind.WHITESPACE]
    return [token.text.rstrip() for token in kept if token.text != ","]


def is_within(part: list[str], whole: list[str]) -> bool:
    rest = iter(whole)
    return all(token in rest for token in part)


def changed(document: dict[str, Any], keys: Keys, value: Value) -> dict[str, Any]:
    *tables, last = keys
    result = table = json.loads(json.dumps(document))
    for key in tables:
        table = table.setdefault(key, {})
    table[last] = value
    return result


# ---------------------------------------------------------------- any file


@given(layouts(), PATHS, VALUES)
def test_a_value_is_set_and_nothing_else_changes(text: str, keys: Keys, value: Value) -> None:
    before = LENIENT.read(text)
    try:
        expected = changed(before, keys, value)
    except (TypeError, AttributeError):
        with pytest.raises(SettingsFault, match="is no object"):
            LENIENT.set(text, keys, value)
        return
    after = LENIENT.set(text, keys, value)
    assert LENIENT.read(after) == expected
    was_there = changed(before, keys, value).keys() == before.keys()
    if not was_there:
        assert is_within(foreign(text), foreign(after))


@given(layouts(), PATHS, VALUES)
def test_a_value_that_was_set_can_be_taken_out_again(text: str, keys: Keys, value: Value) -> None:
    before = LENIENT.read(text)
    table: Any = before
    for key in keys[:-1]:
        table = table.get(key) if isinstance(table, dict) else None
    if not isinstance(table, dict) or keys[-1] in table:
        return
    after = LENIENT.remove(LENIENT.set(text, keys, value), keys)
    assert LENIENT.read(after) == before
    assert foreign(after) == foreign(text)


@given(layouts(), st.data())
def test_a_value_is_removed_and_nothing_else_changes(text: str, data: st.DataObject) -> None:
    before = LENIENT.read(text)
    if not before:
        return
    key = data.draw(st.sampled_from(sorted(before)))
    after = LENIENT.remove(text, (key,))
    del before[key]
    assert LENIENT.read(after) == before
    assert is_within(foreign(after), foreign(text))


@given(layouts(), PATHS, VALUES)
def test_setting_twice_is_setting_once(text: str, keys: Keys, value: Value) -> None:
    try:
        once = LENIENT.set(text, keys, value)
    except SettingsFault:
        return
    assert LENIENT.read(LENIENT.set(once, keys, value)) == LENIENT.read(once)


# ---------------------------------------------------------------- how it looks


def test_a_member_is_laid_out_as_its_neighbours() -> None:
    text = '{\n    "env": {\n        "FOO": "1" // mine\n    }\n}\n'
    expected = '{\n    "env": {\n        "FOO": "1", // mine\n        "BAR": "2"\n    }\n}\n'
    assert COMMENTED.set(text, ("env", "BAR"), "2") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", '{\n  "a": {\n    "b": 1\n  }\n}\n'),
        ("{}", '{\n  "a": {\n    "b": 1\n  }\n}'),
        ('{"x": 1}', '{"x": 1, "a": {"b": 1}}'),
        ('{"x": 1,}', '{"x": 1, "a": {"b": 1},}'),
        ('{\n\t"x": 1\n}', '{\n\t"x": 1,\n\t"a": {\n\t\t"b": 1\n\t}\n}'),
        ('{\r\n "x": 1\r\n}\r\n', '{\r\n "x": 1,\r\n "a": {\r\n  "b": 1\r\n }\r\n}\r\n'),
        ('{\n  "x": 1,\n  // last\n}', '{\n  "x": 1,\n  "a": {\n    "b": 1\n  },\n  // last\n}'),
        ("{\n  // nothing yet\n}", '{\n  // nothing yet\n  "a": {\n    "b": 1\n  }\n}'),
    ],
)
def test_a_table_is_made_where_it_is_missing(text: str, expected: str) -> None:
    assert LENIENT.set(text, ("a", "b"), 1) == expected


def test_a_list_is_replaced_in_the_layout_that_it_has() -> None:
    assert PLAIN.set('{"a": [1, 2]}', ("a",), [3]) == '{"a": [3]}'
    assert PLAIN.set('{\n  "a": [\n    1\n  ]\n}', ("a",), [3]) == '{\n  "a": [\n    3\n  ]\n}'


def test_a_comment_does_not_swallow_what_follows_a_removed_member() -> None:
    assert LENIENT.read(LENIENT.remove('{ // why\n"a": 1 }', ("a",))) == {}
    assert LENIENT.read(LENIENT.remove('{"b": 2, // why\n"a": 1 }', ("a",))) == {"b": 2}


# ---------------------------------------------------------------- what its tool would not read


@pytest.mark.parametrize(
    ("syntax", "text", "line", "reason"),
    [
        (PLAIN, '{\n  "a": 1\n  "b": 2\n}', 3, "not valid JSON"),
        (PLAIN, '{\n  // why\n  "a": 1\n}', 2, "reads no comments"),
        (PLAIN, '{\n  "a": 1,}', 2, "not valid JSON"),
        (COMMENTED, '{\n  // why\n  "a": 1,}', 3, "not valid JSON"),
        (LENIENT, "{\n  a: 1\n}", 2, "not valid JSON"),
        (LENIENT, '{\n\n  "a": 1, "a": 2\n}', 3, "Duplicate key"),
        (LENIENT, "\n[1]", 2, "expected a JSON object"),
        (LENIENT, "// only this", 1, "not valid JSON"),
    ],
)
def test_a_faulty_file_is_refused_with_its_line(syntax: JsonSyntax, text: str, line: int, reason: str) -> None:
    for attempt in (lambda: syntax.read(text), lambda: syntax.set(text, ("x",), 1)):
        with pytest.raises(SettingsFault, match=reason) as refused:
            attempt()
        assert refused.value.line == line


def test_what_its_tool_reads_is_read() -> None:
    assert PLAIN.read('\ufeff{"a": 1}') == {"a": 1}
    assert COMMENTED.read('// why\n{"a": "// no comment" /* b */}') == {"a": "// no comment"}
    assert LENIENT.read('{"a": [1, {"b": 2,},], /* , */}') == {"a": [1, {"b": 2}]}
