"""JSON as the vendors' clients really send it: msgspec where it can, the standard library where it must.

msgspec refuses what `json.loads` takes (lone surrogate escapes, NaN, huge exponents); models emit all three.
"""

import json
from typing import Any, cast

import msgspec

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def loads(data: bytes | str) -> Any:
    """Decode JSON. Raises ValueError for anything that is not JSON in UTF-8, and for what nests thousands deep."""
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("the JSON nests too deeply") from None


def dumps(value: Any) -> bytes:
    """Encode JSON, compact, UTF-8. Lone surrogates become U+FFFD; NaN and infinities become null."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        text = json.dumps(value, ensure_ascii=False)
    # Through UTF-16, which knows surrogates: halves that stand side by side become the character they mean.
    return _encode(json.loads(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")))


def dumps_text(value: Any) -> str:
    """`dumps` as str, for JSON that travels inside JSON (tool arguments)."""
    return dumps(value).decode()


def loads_object(data: bytes | str, what: str) -> dict[str, Any]:
    """Decode a JSON object. Raises ValueError naming `what` when it is not one."""
    value = loads(data)
    if not isinstance(value, dict):
        raise ValueError(f"{what} must be a JSON object, not {type(value).__name__}")
    return cast("dict[str, Any]", value)
