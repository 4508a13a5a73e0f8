"""Carries one format's opaque reasoning token through a client of another, which gives it back untouched."""

import base64
import binascii
from typing import get_args

import msgspec

from cliproxy.wire.model import FORMATS, Carrier

_PREFIX = "cpx1"
_KINDS = get_args(Carrier.__annotations__["kind"])

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(tuple[str, str, str, str | None]).decode


def seal(carrier: Carrier) -> str:
    """Text for a client's opaque slot, from which `unseal` makes the same carrier again.

    It is legal base64 as a whole: Gemini's SDKs decode the slot to bytes and encode it again, maybe in the other
    of base64's two alphabets. Equal carriers give equal text, which keeps prompt caches warm.
    """
    content = _encode((carrier.origin, carrier.kind, carrier.data, carrier.id))
    return _PREFIX + base64.urlsafe_b64encode(content).decode()


def unseal(text: str) -> Carrier | None:
    """The carrier that was sealed into `text`, or None when it is somebody's own token."""
    if not text.startswith(_PREFIX):
        return None
    try:
        content = base64.b64decode(text[len(_PREFIX) :].replace("-", "+").replace("_", "/"), validate=True)
        origin, kind, data, id = _decode(content)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        return None
    if origin not in FORMATS or kind not in _KINDS:
        return None
    return Carrier(origin, kind, data, id)
