"""cliproxy.inspection.outline: values written for people."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from cliproxy.inspection.outline import (
    MAX_CHARACTERS,
    MAX_ITEMS,
    Entry,
    clipped,
    on_one_line,
    outline,
    size_text,
)


def test_an_outline_reads_like_yaml() -> None:
    written = outline(
        [
            Entry("answer", "claude-sonnet-4-5 (anthropic)"),
            Entry("text", "two\nlines: here\n"),
            Entry(
                "call Edit (…1234)", {"file": "/a.py", "old": "x\ny", "lines": [1, 2], "deep": [{"a": None, "b": True}]}
            ),
            Entry("said", [Entry("text", "once"), Entry("text", "twice")]),
        ]
    )
    assert written == (
        "answer: claude-sonnet-4-5 (anthropic)\n"
        " \n"
        "text: |\n"
        "  two\n"
        "  lines: here\n"
        " \n"
        "call Edit (…1234):\n"
        "  file: /a.py\n"
        "  old: |\n"
        "    x\n"
        "    y\n"
        "  lines: [1, 2]\n"
        "  deep:\n"
        "    - a: null\n"
        "      b: true\n"
        " \n"
        "said:\n"
        "  text: once\n"
        "  text: twice"
    )


@pytest.mark.parametrize(
    "text", ["", "true", "null", "- x", "a: b", "a #b", '"', "x ", "[", "{}", "1e3:", "!x", "&x", "*"]
)
def test_text_that_yaml_would_read_as_something_else_is_quoted(text: str) -> None:
    assert YAML(typ="safe").load(outline([Entry("x", text)])) == {"x": text}


_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.from_regex(r"[a-z][a-z :#\-'\"\n]{0,30}", fullmatch=True),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.from_regex("[a-z][a-z :#]{0,8}", fullmatch=True), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(_values)
def test_what_is_written_is_what_was_there(value: Any) -> None:
    read = YAML(typ="safe").load(outline([Entry("value", value)]))
    assert _stripped(read["value"]) == _stripped(value)


def _stripped(value: Any) -> Any:
    """Line ends at the end of a text are not shown."""
    match value:
        case str():
            return value.rstrip("\n")
        case list():
            return [_stripped(each) for each in value]
        case dict():
            return {name: _stripped(each) for name, each in value.items()}
        case _:
            return value


def test_long_texts_keep_their_ends() -> None:
    text = "begin" + "x" * 10_000 + "end"
    shown = clipped(text, 400)
    assert shown.startswith("begin")
    assert shown.endswith("end")
    assert "9,608 characters" in shown
    assert len(shown) < 450


def test_an_outline_stays_within_bounds() -> None:
    many = outline([Entry(f"n{number}", "x" * 9000) for number in range(100)], 10_000)
    assert len(many) < MAX_CHARACTERS + 1000
    assert many.endswith("more than can be shown")
    assert f"# … {300 - MAX_ITEMS} more" in outline([Entry("list", [{"a": n} for n in range(300)])])
    deep: Any = "bottom"
    for _ in range(500):
        deep = [[deep]]
    assert "bottom" not in outline([Entry("deep", deep)])


def test_half_a_character_is_no_trouble() -> None:
    assert "�" in outline([Entry("x", "a\ud800b")])


def test_sizes_and_lines() -> None:
    assert [size_text(n) for n in (1, 999, 1234, 2_500_000)] == ["1 bytes", "999 bytes", "1.2 KB", "2.5 MB"]
    assert on_one_line("a\r\nb", 9) == "a⏎b"
    assert on_one_line("abcdef", 3) == "abc…"
