"""A request as a line for a shell. Credentials are variables there, since what is shown of them is only a mask."""

import re
import shlex
from collections.abc import Iterable

_MASK = re.compile(r"[^\s=&?:]{0,4}…#[0-9a-f]{6}")
_CURLS_OWN = frozenset({"host", "content-length", "connection", "transfer-encoding", "accept-encoding", "expect"})


def curl_line(method: str, url: str, headers: Iterable[tuple[str, str]], body: bytes, variable: str) -> str:
    """variable: the shell's name for the credential. Raises ValueError for a body that no shell takes as text."""
    words = ["curl", "-sS", "-N"]
    if method not in ("GET", "POST") or (method == "POST" and not body):
        words += ["-X", method]
    words.append(_quoted(url, variable))
    for name, value in headers:
        if name.lower() not in _CURLS_OWN and not name.startswith(":"):
            words += ["-H", _quoted(f"{name}: {value}", variable)]
    if not body:
        return " ".join(words)
    if b"\0" in body:
        raise ValueError("the body is not text")
    words += ["--data-binary", shlex.quote(_text(body))]
    return " ".join(words)


def _text(body: bytes) -> str:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise ValueError("the body is not text") from None
    # curl reads a file where data begins so; JSON may as well begin with a space.
    return f" {text}" if text.startswith("@") else text


def _quoted(word: str, variable: str) -> str:
    """One word of the line, in which a variable takes the place of a mask."""
    pieces = _MASK.split(word)
    if len(pieces) == 1:
        return shlex.quote(word)
    return f'"${{{variable}}}"'.join(shlex.quote(piece) if piece else "" for piece in pieces)
