"""The name under which an upstream keeps a conversation's prompt cache."""

import uuid

_SESSIONS = uuid.UUID("6f1c9d0e-6d0f-5c0b-9c55-2d1f6a3f0c11")


def conversation_id(session: str) -> str:
    """A UUID, always the same for a conversation; empty where that is unknown."""
    return str(uuid.uuid5(_SESSIONS, session)) if session else ""
