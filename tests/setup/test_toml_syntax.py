"""TOML settings files: what a change does, and above all what it leaves alone."""

import tomllib
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cliproxy.setup.syntax import Keys, SettingsFault
from cliproxy.setup.toml_syntax import TomlSyntax

SYNTAX = TomlSyntax()
PATHS: st.SearchStrategy[Keys] = st.sampled_from(
    [
        ("model",),
        ("a",),
        ("a", "b"),
        ("a", "d"),
        ("model_providers", "cliproxy", "name"),
        ("model_providers", "cliproxy", "base url"),
        ("model_providers", "x", "base_url"),
    ]
)
VALUES = st.one_of(st.text(max_size=6), st.integers(0, 9), st.just("http://127.0.0.1:8317/v1"))
SNIPPETS = [
    "# a comment", "", "  # indented", 'model = "gpt-5" # mine', "model = '''a\n# no comment\n'''", "a = 1", "a.b = 1",
    "a.c = 2 # why", "list = [\n  1, # one\n  2,\n]", "[a]", "[ a ] # spaced", "b = 3", "[a.b]", "[other]",
    "other = { x = 1, y = 2 }", "model_providers = { x = { name = 'x' } }", "[model_providers.x]", 'name = "x"',
    "[model_providers.cliproxy]", 'name = "old" # ours', "[[servers]]", "model_providers.x.name = 'x'",
    "model_providers.y.name = 'y'", "when = 1979-05-27T07:32:00Z", '"quoted key" = 1', "[model_providers]",
    "nested = [\n[1],\n  [2], # two\n]", 'prompt = """\n[no header]\na = 2\n"""',
]  # fmt: skip


@st.composite
def files(draw: st.DrawFn) -> str:
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    lines = draw(st.lists(st.sampled_from(SNIPPETS), max_size=9))
    text = newline.join(line.replace("\n", newline) for line in lines) + draw(st.sampled_from(["", newline]))
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        assume(False)
    return text


def lines_of(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def lost(before: str, after: str) -> list[str]:
    """Lines that are gone, or are elsewhere in the order; an inline table may get longer."""
    rest = iter(lines_of(after))
    return [line for line in lines_of(before) if "{" not in line and line not in rest]


def at(document: dict[str, Any], keys: Keys) -> object:
    value: Any = document
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def without_empty(value: Any) -> Any:
    """Tables that come and go with what is in them."""
    if not isinstance(value, dict):
        return value
    return {key: kept for key, part in value.items() if (kept := without_empty(part)) != {}}


@given(files(), PATHS, VALUES)
def test_a_value_is_set_and_nothing_else_changes(text: str, keys: Keys, value: str | int) -> None:
    before = SYNTAX.read(text)
    try:
        after = SYNTAX.set(text, keys, value)
    except SettingsFault:
        return
    table = expected = deepcopy(before)
    for key in keys[:-1]:
        table = table.setdefault(key, {})
    table[keys[-1]] = value
    assert SYNTAX.read(after) == expected
    if at(before, keys) is None:
        assert lost(text, after) == []


@given(files(), PATHS, VALUES)
def test_a_value_that_was_set_can_be_taken_out_again(text: str, keys: Keys, value: str | int) -> None:
    before = SYNTAX.read(text)
    if at(before, keys) is not None:
        return
    try:
        after = SYNTAX.remove(SYNTAX.set(text, keys, value), keys)
    except SettingsFault:
        return
    assert without_empty(SYNTAX.read(after)) == without_empty(before)
    assert lost(text, after) == []


CODEX = """\
# my Codex
model = "gpt-5.5" # the good one
notify = [
  "say", # loudly
  "[done]",
]

# servers
[mcp_servers.docs]
command = 'npx'

[profiles.fast]
model = "gpt-5.5-mini"
"""


def test_values_go_where_a_person_would_put_them() -> None:
    text = SYNTAX.set(CODEX, ("model",), "demo/echo")
    text = SYNTAX.set(text, ("model_provider",), "cliproxy")
    text = SYNTAX.set(text, ("model_providers", "cliproxy", "name"), "cliproxy")
    text = SYNTAX.set(text, ("model_providers", "cliproxy", "base_url"), "http://127.0.0.1:8317/v1")
    expected = CODEX.replace('"gpt-5.5" #', '"demo/echo" #').replace(
        "]\n\n# servers", ']\nmodel_provider = "cliproxy"\n\n# servers'
    )
    table = '\n[model_providers.cliproxy]\nname = "cliproxy"\nbase_url = "http://127.0.0.1:8317/v1"\n'
    assert text == expected + table


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 'a = "x"\n'),
        ("# mine", '# mine\na = "x"\n'),
        ("[t]\nb = 1", 'a = "x"\n\n[t]\nb = 1'),
        ("# the file\n\n# the table\n[t]\n", '# the file\n\na = "x"\n\n# the table\n[t]\n'),
        ("b = 1\r\n[t]\r\n", 'b = 1\r\na = "x"\r\n[t]\r\n'),
    ],
)
def test_a_value_of_the_root_stays_out_of_the_tables(text: str, expected: str) -> None:
    assert SYNTAX.set(text, ("a",), "x") == expected


def test_a_file_may_end_without_a_new_line() -> None:
    assert SYNTAX.set("[a] # why", ("a", "b"), "x") == '[a] # why\nb = "x"\n'
    assert SYNTAX.set("[a]\nc = 1", ("a", "b"), "x") == '[a]\nc = 1\nb = "x"\n'


def test_a_table_is_removed_with_its_tables_but_not_with_the_comments_of_the_next() -> None:
    text = "a = 1\n\n[ours]\nx = 1\n\n[ours.inner]\ny = 1\n\n# of the next\n[next]\nz = 1\n"
    assert SYNTAX.remove(text, ("ours",)) == "a = 1\n\n# of the next\n[next]\nz = 1\n"
    assert SYNTAX.remove("a = 1\n\n[ours]\nx = 1\n", ("ours",)) == "a = 1\n"


def test_dotted_and_inline_tables_are_edited_in_place() -> None:
    dotted = "model_providers.x.name = 'x'\nmodel_providers.x.base_url = 'http://one' # why\n"
    path = ("model_providers", "x", "base_url")
    assert SYNTAX.set(dotted, path, "two") == dotted.replace("'http://one'", '"two"')
    inline = "model_providers = { x = { name = 'x' } } # why\n"
    assert SYNTAX.read(SYNTAX.set(inline, path, "two")) == {"model_providers": {"x": {"name": "x", "base_url": "two"}}}


def test_what_cannot_be_done_without_harm_is_refused() -> None:
    with pytest.raises(SettingsFault, match="change it by hand"):
        SYNTAX.set("model_providers = { x = { name = 'x' } }\n", ("model_providers", "cliproxy", "name"), "cliproxy")
    with pytest.raises(SettingsFault, match="model_providers is no table"):
        SYNTAX.set("model_providers = 1\n", ("model_providers", "cliproxy", "name"), "cliproxy")


def test_an_edit_that_comes_out_as_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # As tomlkit once did with dotted keys that follow a new table.
    monkeypatch.setattr("cliproxy.setup.toml_syntax._edited", lambda body, keys, edit: 'model = "x"\n')
    with pytest.raises(SettingsFault, match="change it by hand"):
        SYNTAX.set('model = "y"\nlost = 1\n', ("model",), "x")


def test_a_faulty_file_is_refused_with_its_line() -> None:
    with pytest.raises(SettingsFault, match="not valid TOML") as refused:
        SYNTAX.set("a = 1\nb = = 2\n", ("c",), 1)
    assert refused.value.line == 2
