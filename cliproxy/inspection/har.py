"""HAR files without secrets. Source: http://www.softwareishard.com/blog/har-12-spec/"""

import base64
import binascii
from typing import Any, cast

from cliproxy.inspection.redaction import Redactor
from cliproxy.secrets import mask
from cliproxy.wire.model import Json

_URLS = frozenset({"url", "redirectURL"})


def redacted_har(har: Json, redactor: Redactor) -> Json:
    """The same file; what is not a request's or an answer's own is looked through as text."""
    return cast("Json", _clean(har, redactor))


def _clean(value: Any, redactor: Redactor, within: str = "") -> Any:
    match value:
        case {"name": str(name), "value": str(text)}:
            return {**cast("Json", value), "value": _named(name, text, redactor, within)}
        case {"text": str(text), "mimeType": str(kind)}:
            body = cast("Json", value)
            rest = {name: _clean(each, redactor, name) for name, each in body.items() if name != "text"}
            return {**rest, "text": _text(text, kind, body.get("encoding") == "base64", redactor)}
        case dict():
            members = cast("Json", value).items()
            return {name: _clean(each, redactor, name) for name, each in members}
        case list():
            return [_clean(each, redactor, within) for each in cast("list[Any]", value)]
        case str():
            if within == "data":
                return _text(value, "application/json", False, redactor)  # of a WebSocket's message
            return redactor.url(value) if within in _URLS else redactor.text(value)
        case _:
            return value


def _named(name: str, text: str, redactor: Redactor, within: str) -> str:
    if within == "cookies":
        return mask(text)
    if within == "queryString":
        return redactor.url(f"{name}={text}").removeprefix(f"{name}=")
    if within == "params":
        return redactor.words(redactor.header(name, text))
    return redactor.header(name, text)


def _text(text: str, kind: str, is_base64: bool, redactor: Redactor) -> str:
    if not is_base64:
        return redactor.body(text.encode("utf-8", "surrogatepass"), kind).decode("utf-8", "replace")
    try:
        return base64.b64encode(redactor.body(base64.b64decode(text), kind)).decode()
    except binascii.Error:
        return ""
