"""Credentials and candidates for tests of the pool."""

from typing import Any

from cliproxy.credentials.outcome import Outcome
from cliproxy.credentials.pool import Ask
from cliproxy.credentials.record import Candidate, Credential, grouped
from cliproxy.wire.model import ModelFacts

QUOTA = Outcome("quota", tries_next=True, sidelines=True)
TRANSIENT = Outcome("transient", tries_next=True, sidelines=True, seconds=60.0)
REQUEST = Outcome("request", tries_next=False, sidelines=False)


def credential(name: str, **fields: Any) -> Credential:
    """One whose secret is `sk-test-NAME`."""
    defaults: dict[str, Any] = {"provider": "claude", "formats": ("anthropic",), "base_url": "http://upstream.test"}
    return Credential(secret=f"sk-test-{name}", **{**defaults, **fields})


def candidate(name: str, model: str = "model", **fields: Any) -> Candidate:
    return Candidate(credential(name, **fields), model, ModelFacts(model))


def ask(*candidates: Candidate, session: str = "", model: str = "model") -> Ask:
    return Ask(grouped(model, candidates), model, session)


def name_of(found: Candidate | None) -> str:
    """The name that `candidate` was given; empty for none."""
    return found.credential.secret.removeprefix("sk-test-") if found else ""
