"""What an authorization server told the browser to bring back, from a query or from whatever the user pasted."""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

from cliproxy.oauth.errors import LoginFailed

_MAX_CHARS = 16_384
_PARAMETER = re.compile(r"(^|[?&#])(code|state|error)=")
_CODE = re.compile(r"[\x21-\x7e]{8,}")
"""No server gives shorter ones; what a key pressed by mistake leaves is shorter."""


@dataclass(frozen=True, slots=True)
class Redirect:
    """The parameters of a redirect to the client (RFC 6749, sections 4.1.2 and 4.1.2.1)."""

    code: str = field(default="", repr=False)
    state: str = field(default="", repr=False)
    error: str = ""
    description: str = ""

    def check_state(self, expected: str, *, required: bool) -> None:
        """Raises LoginFailed for an answer to another login.

        required: as for everything that comes over HTTP. A person may paste a code alone.
        """
        if not self.state and not required:
            return
        if not hmac.compare_digest(self.state.encode(), expected.encode()):
            raise LoginFailed("this answer belongs to another login: use the address that this one shows")


def of_query(query: Mapping[str, str]) -> Redirect:
    """Of the query parameters of a callback."""
    words = [
        "".join(character for character in query.get(name, "") if character.isprintable())[:_MAX_CHARS]
        for name in ("code", "state", "error", "error_description")
    ]
    return Redirect(*words)


def of_text(text: str) -> Redirect:
    """Of a pasted redirect URL, its query, `code#state`, or a code. Raises LoginFailed for anything else."""
    # Terminals and mail programs break long addresses into lines, and wrap them in quotes or brackets.
    pasted = "".join(line.strip() for line in text.splitlines()).strip("\"'<>` ")
    if not pasted or len(pasted) > _MAX_CHARS:
        raise LoginFailed("paste the address that the browser shows after you have agreed")
    if _PARAMETER.search(pasted):
        return of_query(_parameters(pasted.replace(" ", "")))
    if "://" in pasted:
        raise LoginFailed("this address holds no code: paste the one that the browser shows after you have agreed")
    code, _, state = pasted.partition("#")
    if not _CODE.fullmatch(code):
        raise LoginFailed("this is neither an address nor a code")
    return of_query({"code": unquote(code), "state": state})


def _parameters(pasted: str) -> dict[str, str]:
    """Those of the query, then those of the fragment, where single-page applications put them."""
    address, _, fragment = pasted.partition("#")
    query = address.partition("?")[2] or ("" if "://" in address else address)
    found = dict(parse_qsl(fragment)) | dict(parse_qsl(query))
    if fragment and "=" not in fragment:
        found.setdefault("state", fragment)
    return found
