"""Files of environment variables: what a change does, and above all what it leaves alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.setup.env_syntax import EnvSyntax
from cliproxy.setup.syntax import SettingsFault

SYNTAX = EnvSyntax()
SNIPPETS = [
    "# a comment", "", "export OTHER=1 # why", "  SPACED = 'a b'", 'LONG="one\nGEMINI_API_KEY=inside\ntwo"', "BARE",
    "OTHER=2", "EMPTY=",
]  # fmt: skip
NAMES = st.sampled_from(["GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL"])
VALUES = st.sampled_from(["sk-test-1", "http://127.0.0.1:8317", "with space", "it's", 'say "hi"', "a#b", "$HOME", ""])


@st.composite
def files(draw: st.DrawFn) -> str:
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    text = newline.join(draw(st.lists(st.sampled_from(SNIPPETS), max_size=6)))
    return text + draw(st.sampled_from(["", newline]))


@given(files(), NAMES, VALUES)
def test_a_variable_is_set_and_nothing_else_changes(text: str, name: str, value: str) -> None:
    after = SYNTAX.set(text, (name,), value)
    assert SYNTAX.read(after) == SYNTAX.read(text) | {name: value}
    assert after.startswith(text)


@given(files(), NAMES, VALUES, VALUES)
def test_a_variable_that_is_there_is_changed_in_its_place(text: str, name: str, first: str, second: str) -> None:
    before = SYNTAX.set(text, (name,), first)
    after = SYNTAX.set(before, (name,), second)
    assert after == SYNTAX.set(text, (name,), second)


@given(files(), NAMES, VALUES)
def test_a_variable_that_was_set_can_be_taken_out_again(text: str, name: str, value: str) -> None:
    after = SYNTAX.remove(SYNTAX.set(text, (name,), value), (name,))
    assert after.rstrip("\r\n") == text.rstrip("\r\n")


def test_the_last_of_several_is_in_force_and_an_export_stays() -> None:
    text = "A=1\n\n  export A=2 # why\nB=3\n"
    assert SYNTAX.set(text, ("A",), "x y") == "A=1\n\n  export A='x y' # why\nB=3\n"
    assert SYNTAX.set("A='x # y'\n", ("A",), "1") == "A=1\n"
    assert SYNTAX.remove(text, ("A",)) == "B=3\n"


@pytest.mark.parametrize("value", ["two\nlines", "all '\"` quotes", "back\\slash here"])
def test_what_no_quotes_can_hold_is_refused(value: str) -> None:
    with pytest.raises(SettingsFault, match="cannot be written"):
        SYNTAX.set("", ("A",), value)
