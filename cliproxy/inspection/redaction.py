"""Takes secrets out of what is saved or shared: those that are known, and whatever looks like one.

A secret leaves its mask (`cliproxy.secrets.mask`), so that two can still be told apart. What is masked already stays.
"""

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple
from urllib.parse import quote

from cliproxy.inspection.wordless import wordless
from cliproxy.secrets import SECRET_HEADERS, SHORTEST_SECRET, mask, mask_header, mask_query
from cliproxy.wire import json

_MASK_SIGN = "…#".encode()
_SECRET_HEADER = re.compile(r"api[-_]?key|token(?!s)|secret|password|credential", re.IGNORECASE)


class _Shape(NamedTuple):
    """What a kind of secret looks like."""

    sign: bytes
    """How it begins. Searched for by itself, which is many times faster than by a pattern."""
    pattern: re.Pattern[bytes]
    """Matches from the sign on; its group is the secret."""


_SHAPES = tuple(
    _Shape(sign.encode(), re.compile(pattern.encode(), re.DOTALL))
    for sign, pattern in (
        # Keys and tokens of the vendors, and those that agents come across.
        ("sk-", r"(?<![\w-])(sk-[\w-]{16,})"),
        ("AIza", r"(AIza[\w-]{30,})"),
        ("ya29.", r"(ya29\.[\w.-]{20,})"),
        ("1//", r"(?<!\w)(1//[\w-]{30,})"),
        ("GOCSPX-", r"(GOCSPX-[\w-]{16,})"),
        ("eyJ", r"(?<!\w)(eyJ[\w-]{8,}(?:\.[\w-]*){2,4})"),
        ("rt_", r"(?<!\w)(rt_[\w.-]{30,})"),
        ("gh", r"(?<!\w)(gh[pousr]_\w{30,})"),
        ("github_pat_", r"(github_pat_\w{30,})"),
        ("glpat-", r"(glpat-[\w-]{20,})"),
        ("xox", r"(?<!\w)(xox[abeoprs]-[\w-]{10,})"),
        ("AKIA", r"(?<!\w)(AKIA[A-Z0-9]{16})(?!\w)"),
        ("ASIA", r"(?<!\w)(ASIA[A-Z0-9]{16})(?!\w)"),
        ("aoaAAAA", r"(?<!\w)(aoaAAAA[\w+/=:-]{20,})"),
        ("aorAAAA", r"(?<!\w)(aorAAAA[\w+/=:-]{20,})"),
        ("xai-", r"(?<!\w)(xai-\w{20,})"),
        ("gsk_", r"(?<!\w)(gsk_\w{20,})"),
        ("hf_", r"(?<!\w)(hf_\w{20,})"),
        ("sgamp_", r"(?<!\w)(sgamp_\w{10,})"),
        ("earer ", r"earer +([\w.~+/=-]{16,})"),
        ("PRIVATE KEY-----", r"PRIVATE KEY-----(.+?)-----END"),
        # Members of JSON, also of JSON that is a text in JSON, and fields of forms.
        *(
            (name, name + r"(?:\\*\"\s*:\s*\\*\"|=)([\w.~+/=%-]{8,})")
            for name in (
                "access_token", "refresh_token", "id_token", "session_token", "auth_token", "accessToken",
                "refreshToken", "idToken", "sessionToken", "authToken", "client_secret", "clientSecret", "secret_key",
                "secretKey", "private_key", "api_key", "apiKey", "code_verifier",
            )
        ),
        ("assword", r"assword\\*\"\s*:\s*\\*\"([^\"\\\s]{8,})"),
        # Variables of an environment.
        *(
            (name, name + r"\\*[\"']?\s*[:=]\s*\\*[\"']?([\w.~+/=-]{12,})")
            for name in ("_API_KEY", "_SECRET", "_TOKEN")
        ),
    )
)  # fmt: skip


class Redactor:
    """Redacts what passes a door to the outside."""

    def __init__(self, secrets: Iterable[str] = (), *, keeps_words: bool = True) -> None:
        """secrets: those that are known. keeps_words: False leaves of each body only how it is built."""
        self._keeps_words = keeps_words
        self._masks: dict[bytes, bytes] = {}
        for secret in secrets:
            if len(secret) >= SHORTEST_SECRET:
                masked = mask(secret).encode()
                escaped = json.dumps(secret)[1:-1]
                for spelling in (secret.encode("utf-8", "surrogateescape"), escaped, quote(secret, safe="").encode()):
                    self._masks[spelling] = masked

    def text(self, text: str) -> str:
        """A text of our own, such as a comment or an error."""
        return self._masked(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")

    def header(self, name: str, value: str) -> str:
        """The value of a header."""
        if name.lower() in SECRET_HEADERS or _SECRET_HEADER.search(name):
            return mask_header(value)
        return self.text(value)

    def url(self, url: str) -> str:
        """A URL, or a path with a query."""
        return self.text(mask_query(url))

    def body(self, body: bytes, content_type: str = "") -> bytes:
        """The body of a message, without its content encoding. content_type: with or without parameters."""
        if not self._keeps_words:
            body = wordless(body, content_type.partition(";")[0].strip().lower())
        return self._masked(body)

    def words(self, text: str) -> str:
        """A text that others wrote."""
        return self.text(text) if self._keeps_words else f"({len(text)} characters)"

    def _masked(self, data: bytes) -> bytes:
        for secret, masked in self._masks.items():
            if secret in data:
                data = data.replace(secret, masked)
        for shape in _SHAPES:
            if shape.sign in data:
                data = _without(shape, data)
        return data


def _without(shape: _Shape, data: bytes) -> bytes:
    """The data with the secrets of one kind masked."""
    pieces, done = list[bytes](), 0
    at = data.find(shape.sign)
    while at >= 0:
        match = shape.pattern.match(data, at)
        if match and _MASK_SIGN not in match[1]:
            secret = match[1].decode("utf-8", "surrogateescape")
            pieces += (data[done : match.start(1)], mask(secret).encode("utf-8", "surrogateescape"))
            done = match.end(1)
        at = data.find(shape.sign, max(done, at + 1))
    return b"".join((*pieces, data[done:])) if pieces else data


Level = Literal["secrets", "content", "off"]
"""What is taken out: secrets, also all that was said, nothing."""
LEVELS: tuple[Level, ...] = ("secrets", "content", "off")
