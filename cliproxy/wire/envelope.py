"""Carries one format's opaque reasoning token through a client of another, which gives it back untouched."""

import base64
import binascii
from typing import Literal

import msgspec

from cliproxy.wire import json
from cliproxy.wire.model import Carrier, Format

_PREFIX = "cpx1"
_MARK = f'"{_PREFIX}'.encode()

_decode = msgspec.json.Decoder(tuple[Format, Literal["signature", "redacted", "encrypted"], str, str | None]).decode


def seal(carrier: Carrier) -> str:
    """Text for a client's opaque slot, from which `unseal` makes the same carrier again.

    It is legal base64 as a whole: Gemini's SDKs decode the slot to bytes and encode it again, maybe in the
    other of base64's two alphabets. Equal carriers give equal text, which keeps prompt caches warm.
    """
    content = json.dumps((carrier.origin, carrier.kind, carrier.data, carrier.id))
    return _PREFIX + base64.urlsafe_b64encode(content).decode()


def unseal(text: str) -> Carrier | None:
    """The carrier that was sealed into `text`, or None when it is somebody's own token."""
    if not text.startswith(_PREFIX):
        return None
    try:
        content = base64.b64decode(text[len(_PREFIX) :].replace("-", "+").replace("_", "/"), validate=True)
        return Carrier(*_decode(content))
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        return None


def holds_sealed(body: bytes) -> bool:
    """Whether JSON may hold what `seal` made. False is certain, and cheap."""
    return _MARK in body
