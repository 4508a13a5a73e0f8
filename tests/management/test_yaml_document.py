"""Values of a YAML file change, and everything else of it stays as its user wrote it."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.management.yaml_document import YamlDocument, YamlFault
from tests.processes import ROOT

FILE = """\
# top
api-keys:   # mine
  - sk-1    # laptop
  # about two
  - sk-2

# --- next
debug: false # dbg
claude-api-key:
  - api-key: a
    base-url: http://x  # xx
  # second
  - api_key: b   # bee
    models: [one, two]   # ms
# tail of claude
port: 1
# end
"""


def changed(path: str, value: Any, text: str = FILE) -> str:
    document = YamlDocument(text)
    document.put(tuple(path.split("/")), value)
    return document.text()


def removed(path: str, text: str = FILE) -> str:
    document = YamlDocument(text)
    document.remove(tuple(path.split("/")))
    return document.text()


@pytest.mark.parametrize("text", [FILE, (ROOT / "config.yaml").read_text("utf-8"), "", "# only\n# this", "a: 1"])
def test_a_file_that_nobody_changes_stays_as_it_is(text: str) -> None:
    assert YamlDocument(text).text() in (text, f"{text}\n")


def test_a_scalar_changes_in_its_place() -> None:
    assert changed("port", 2) == FILE.replace("port: 1", "port: 2")
    assert changed("debug", True) == FILE.replace("debug: false #", "debug: true  #")


def test_a_key_that_is_spelled_otherwise_is_the_same() -> None:
    assert changed("claude_api_key", [], "claude-api-key: [x]\n") == "claude-api-key: []\n"
    assert changed("request-retry", 3, "request_retry: 2 # two\n") == "request_retry: 3 # two\n"
    assert YamlDocument("routing: {session_affinity: yes}\n").get(("routing", "session-affinity")) == "yes"


def test_a_new_key_comes_last_and_what_is_there_stays_behind_it() -> None:
    assert changed("request-retry", 3) == FILE.replace("port: 1\n", "port: 1\nrequest-retry: 3\n")
    assert changed("routing/strategy", "rr") == FILE.replace("port: 1\n", "port: 1\nrouting:\n  strategy: rr\n")


def test_lists_grow_and_shrink_with_their_comments() -> None:
    grown = changed("api-keys", ["sk-1", "sk-2", "sk-3"])
    assert grown == FILE.replace("  - sk-2\n", "  - sk-2\n  - sk-3\n")
    assert changed("api-keys", ["sk-1"]) == FILE.replace("  - sk-2\n", "")
    first_gone = changed("api-keys", ["sk-2"])
    assert "# about two\n  - sk-2\n\n# --- next\n" in first_gone and "laptop" not in first_gone
    emptied = changed("api-keys", [])
    assert "api-keys: [] # mine\n\n# --- next\ndebug" in emptied


def test_entries_keep_their_comments_when_others_of_their_values_change() -> None:
    entries = [
        {"api-key": "a", "base-url": "http://y"},
        {"api-key": "b", "models": ["one", "two"], "prefix": "p"},
        {"api-key": "c"},
    ]
    text = changed("claude-api-key", entries)
    assert yaml.safe_load(text)["claude-api-key"][0]["base-url"] == "http://y"
    for comment in ("# xx", "# second", "# bee", "# ms", "# tail of claude", "# end"):
        assert text.count(comment) == 1
    assert text.index("- api-key: c") < text.index("# tail of claude")
    assert "  - api_key: b   # bee\n    models: [one, two]   # ms\n    prefix: p\n" in text


def test_the_first_of_several_entries_can_go() -> None:
    text = changed("claude-api-key", [{"api-key": "b", "models": ["one", "two"]}])
    assert "claude-api-key:\n  # second\n  - api_key: b" in text
    assert text.endswith("# tail of claude\nport: 1\n# end\n")


def test_what_is_removed_takes_its_own_comments_along_only() -> None:
    text = removed("claude-api-key")
    assert "claude" not in text.replace("# tail of claude", "")
    assert text.endswith("debug: false # dbg\n# tail of claude\nport: 1\n# end\n")
    assert removed("port").endswith("# tail of claude\n# end\n")
    first = removed("api-keys")
    assert first.startswith("# top\n") and "# --- next\ndebug: false" in first and "laptop" not in first
    assert removed("nothing/here") == FILE


def test_the_template_takes_values_where_it_has_none() -> None:
    template = (ROOT / "config.yaml").read_text("utf-8")
    text = changed("api-keys", ["sk-1", {"name": "n", "key": "k"}], template)
    assert text == template.replace("\napi-keys: []\n", "\napi-keys:\n  - sk-1\n  - name: n\n    key: k\n")


def test_the_indentation_of_the_file_is_kept() -> None:
    flat = "api-keys:\n- a\nrouting:\n    strategy: rr\n"
    assert changed("api-keys", ["a", "b"], flat) == "api-keys:\n- a\n- b\nrouting:\n    strategy: rr\n"
    assert changed("streaming/keepalive-seconds", 5, flat).endswith("streaming:\n    keepalive-seconds: 5\n")


def test_a_key_without_a_value_says_nothing_of_the_indentation() -> None:
    text = "api-keys:\n- name: n\n  expires:\n  key: a\nrouting:\n  strategy: rr\n"
    assert changed("request-retry", 1, text) == text + "request-retry: 1\n"


def test_a_file_of_comments_only_keeps_them() -> None:
    assert changed("debug", True, "# one\n# two") == "# one\n# two\ndebug: true\n"


def test_line_ends_stay_windows() -> None:
    assert changed("b", 2, "a: 1 # x\r\nb: 1\r\n") == "a: 1 # x\r\nb: 2\r\n"


@pytest.mark.parametrize("text", ["a: [", "- a\n", "plain", "a: 1\na: 2\n", "\t- x: y", "a: *b"])
def test_what_cannot_be_read_cannot_be_changed(text: str) -> None:
    with pytest.raises(YamlFault):
        YamlDocument(text)


_SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.text("abc#:-'\" {}[]!&*%@`0", max_size=12),
    st.just("007"),
    st.just(""),
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(["name", "api-key", "x", "y"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(before=st.dictionaries(st.sampled_from("abcd"), _VALUES), key=st.sampled_from("abcde"), value=_VALUES)
def test_what_is_put_is_what_is_read(before: dict[str, Any], key: str, value: Any) -> None:
    """Whatever was there, the file then says the new value, and the others as before."""
    document = YamlDocument(yaml.safe_dump(before) if before else "")
    document.put((key,), value)
    again = YamlDocument(document.text())
    assert again.get((key,)) == value
    assert {name: again.get((name,)) for name in before if name != key} == {
        name: item for name, item in before.items() if name != key
    }


@given(
    keys=st.lists(st.sampled_from(["one", "two", "three", "four"]), unique=True),
    wanted=st.lists(st.sampled_from(["one", "two", "three", "four", "five"]), unique=True),
)
def test_comments_of_entries_that_stay_stay(keys: list[str], wanted: list[str]) -> None:
    """A comment on an entry's own line goes and comes with the entry; what follows the list is never lost."""
    entries = "".join(f"  - key: {key}  # of {key}\n    rpm: 1\n" for key in keys)
    text = f"api-keys:\n{entries}# after\nport: 1\n" if keys else "api-keys: []\n# after\nport: 1\n"
    written = changed("api-keys", [{"key": key, "rpm": 2} for key in wanted], text)
    for key in ("one", "two", "three", "four"):
        count = written.count(f"# of {key}")
        if len(keys) == len(wanted) and key not in wanted:
            # Another one in its place may be the same one renamed, which keeps its comment.
            assert count <= 1
        else:
            assert count == int(key in keys and key in wanted)
    assert written.endswith("# after\nport: 1\n")
    assert [entry["key"] for entry in yaml.safe_load(written)["api-keys"]] == wanted


def test_nothing_is_made_of_tags(tmp_path: Path) -> None:
    mark = tmp_path / "made"
    document = YamlDocument(f"a: !!python/object/apply:pathlib.Path.touch [{mark}]\nb: 1\n")
    document.put(("b",), 2)
    assert "b: 2" in document.text()
    assert not mark.exists()
