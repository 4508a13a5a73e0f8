"""Codes are drawn so large that they can be read from another device, where they fit."""

from string import ascii_uppercase, digits

import pytest

from cliproxy.cli.large_text import enlarged


def test_letters_of_three_lines() -> None:
    assert enlarged("L-1", 80).split("\n") == [
        "█       ▄█",
        "█   ▀▀▀  █",
        "▀▀▀     ▀▀▀",
    ]


def test_no_two_characters_look_the_same() -> None:
    characters = ascii_uppercase + digits + "-"
    assert len({enlarged(character, 80) for character in characters}) == len(characters)


@pytest.mark.parametrize("text", ["ab", "É", "A_B"])
def test_other_characters_are_not_drawn(text: str) -> None:
    assert enlarged(text, 80) == ""


@pytest.mark.parametrize(("columns", "fits"), [(36, True), (35, False)])
def test_what_is_too_wide_is_not_drawn(columns: int, fits: bool) -> None:
    drawn = enlarged("WDJB-MJHT", columns)
    assert bool(drawn) == fits
    assert all(len(line) <= columns for line in drawn.split("\n"))
