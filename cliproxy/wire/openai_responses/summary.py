"""The summary that stands for a conversation in a `compaction` item of the gateway's own making."""

from cliproxy.wire import envelope
from cliproxy.wire.model import Carrier, Json
from cliproxy.wire.names import new_id
from cliproxy.wire.openai_responses.vocabulary import FORMAT

_MARK = "summary"
"""Stands where other carriers have the id of their item."""


def compaction_item(summary: str) -> Json:
    """The item with which a client carries the summary on: opaque to it, as OpenAI's own are."""
    text = summary.encode("utf-8", "replace").decode()
    sealed = envelope.seal(Carrier(FORMAT, "encrypted", text, _MARK))
    return {"id": new_id("cmp_"), "type": "compaction", "encrypted_content": sealed}


def told(encrypted_content: str) -> str | None:
    """What a model is told in place of the item; None when the item is OpenAI's and only OpenAI can read it."""
    carrier = envelope.unseal(encrypted_content)
    if carrier is None or carrier.id != _MARK:
        return None
    return f"Summary of the conversation so far:\n\n{carrier.data}"
