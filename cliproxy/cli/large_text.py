"""Short codes in letters three lines high, to be read from another device."""

_GLYPHS = {
    "A": "25755", "B": "65656", "C": "34443", "D": "65556", "E": "74647", "F": "74644", "G": "34553", "H": "55755",
    "I": "72227", "J": "11152", "K": "55655", "L": "44447", "M": "57755", "N": "65555", "O": "25552", "P": "65644",
    "Q": "25573", "R": "65655", "S": "34216", "T": "72222", "U": "55557", "V": "55552", "W": "55775", "X": "55255",
    "Y": "55222", "Z": "71247", "0": "75557", "1": "26227", "2": "71747", "3": "71317", "4": "55711", "5": "74717",
    "6": "74757", "7": "71122", "8": "75757", "9": "75717", "-": "00700", " ": "00000",
}  # fmt: skip
"""Five rows of three dots, a digit's bits for each."""

_BLOCKS = " ▄▀█"
"""Two dots above each other: neither, the lower, the upper, both."""


def enlarged(text: str, columns: int) -> str:
    """The text in three lines of block characters; empty where it holds other characters, or needs more columns."""
    glyphs = [_GLYPHS.get(character) for character in text]
    if not all(glyphs) or len(glyphs) * 4 > columns:
        return ""
    rows = ["0".join(_dots(glyph[row]) for glyph in glyphs if glyph) for row in range(5)]
    rows.append("0" * len(rows[0]))
    return "\n".join(
        "".join(_BLOCKS[int(upper) * 2 + int(lower)] for upper, lower in zip(*pair, strict=True)).rstrip()
        for pair in zip(rows[::2], rows[1::2], strict=True)
    )


def _dots(digit: str) -> str:
    return f"{int(digit):03b}"
