"""Whatever a user pastes is read as what they mean, or refused with words that help."""

import pytest

from cliproxy.oauth.errors import LoginFailed
from cliproxy.oauth.redirect import Redirect, of_query, of_text

URL = "http://localhost:1455/auth/callback"


@pytest.mark.parametrize(
    ("text", "code", "state"),
    [
        (f"{URL}?code=ab12&state=st_1", "ab12", "st_1"),
        (f"{URL}?state=st_1&scope=openid%20email&code=ab%2F12%3D", "ab/12=", "st_1"),
        (f"  <{URL}?code=ab12&state=st_1>\n", "ab12", "st_1"),
        (f'"{URL}?code=ab12&state=st_1"', "ab12", "st_1"),
        (f"{URL}?code=ab\n 12&sta\r\nte= st_1", "ab12", "st_1"),
        (f"{URL}?code=ab12&state=st_1#", "ab12", "st_1"),
        (f"{URL}?code=ab12&state=st_1#_=_", "ab12", "st_1"),
        (f"{URL}?code=ab12#_=_", "ab12", ""),
        (f"{URL}#code=ab12&state=st_1", "ab12", "st_1"),
        (f"{URL}?code=ab12#st_1", "ab12", "st_1"),
        ("?code=ab12&state=st_1", "ab12", "st_1"),
        ("code=ab12&state=st_1", "ab12", "st_1"),
        ("state=st_1&code=ab12", "ab12", "st_1"),
        ("localhost:1455/auth/callback?code=ab12&state=st_1", "ab12", "st_1"),
        ("test-code-1#st_1", "test-code-1", "st_1"),
        ("test-code-1\n", "test-code-1", ""),
        ("test-\ncode-1", "test-code-1", ""),
        ("4/0AbCd-Ef_gh", "4/0AbCd-Ef_gh", ""),
        ("4%2F0AbCd", "4/0AbCd", ""),
        (f"{URL}?code=ab12", "ab12", ""),
    ],
)
def test_pasted_answers(text: str, code: str, state: str) -> None:
    assert of_text(text) == Redirect(code, state)


def test_a_pasted_refusal() -> None:
    redirect = of_text(f"{URL}?error=access_denied&error_description=The+user+said+no&state=st_1")
    assert redirect == Redirect("", "st_1", "access_denied", "The user said no")


@pytest.mark.parametrize(
    "text", ["", "  \n", '""', "x" * 20_000, "é", "https://example.com/", "http://", "y", "no idea what"]
)
def test_what_is_no_answer(text: str) -> None:
    with pytest.raises(LoginFailed):
        of_text(text)


def test_the_address_to_open_is_not_the_one_to_paste() -> None:
    redirect = of_text("https://example.com/oauth/authorize?response_type=code&state=st_1&code_challenge=abc")
    assert redirect == Redirect("", "st_1")


def test_control_characters_are_left_out() -> None:
    assert of_query({"code": "ab\x1b[2J12", "error_description": "a\nb"}) == Redirect("ab[2J12", "", "", "ab")


@pytest.mark.parametrize(
    ("state", "required", "fits"),
    [
        ("st_1", True, True),
        ("st_2", True, False),
        ("", True, False),
        ("", False, True),
        ("st_2", False, False),
        ("é", False, False),
    ],
)
def test_states(state: str, required: bool, fits: bool) -> None:
    redirect = Redirect("ab12", state)
    if fits:
        redirect.check_state("st_1", required=required)
    else:
        with pytest.raises(LoginFailed, match="another login"):
            redirect.check_state("st_1", required=required)


def test_a_redirect_shows_neither_code_nor_state() -> None:
    assert "ab12" not in repr(Redirect("ab12", "st_1"))
    assert "st_1" not in repr(Redirect("ab12", "st_1"))
