"""What flows say of themselves: comments for people, marks, and metadata that filter expressions find.

`docs/inspection.md` lists the metadata, since filters are written against it.
"""

from collections.abc import Iterable
from typing import Any

from mitmproxy import http

from cliproxy.exchange import Attempt, Exchange

ATTEMPT = "cliproxy.attempt"
"""`flow.metadata` key: on an attempt's flow, the id of the client's flow."""
FORMAT = "cliproxy.format"
"""`flow.metadata` key: the wire format of a flow's bodies."""
DROPPED = "cliproxy.dropped"
"""`flow.metadata` key: what the upstream's format could not say, a list of str."""
PROVIDER = "cliproxy.provider"
UPSTREAM_MODEL = "cliproxy.upstream_model"
OUTCOME = "cliproxy.outcome"
REPLAY_OF = "cliproxy.replay_of"
"""`flow.metadata` key: the id of the flow that this one asks again."""

# Two that ordinary fonts have; most of mitmproxy's marks need an emoji font.
MARK_SERVED, MARK_FAILED = ":heavy_check_mark:", ":heavy_multiplication_x:"


def label_attempt(flow: http.HTTPFlow, client_id: str, exchange: Exchange, attempt: Attempt) -> None:
    """Say what is known of an attempt by now. client_id: of the client's flow."""
    flow.comment = attempt_comment(client_id, exchange, attempt)
    _put(
        flow,
        {
            ATTEMPT: client_id,
            "cliproxy.number": attempt.number,
            FORMAT: attempt.format,
            DROPPED: list(exchange.dropped),
            "cliproxy.error": attempt.error,
            **_who(exchange, attempt),
        },
    )


def label_client(flow: http.HTTPFlow, exchange: Exchange, attempt_ids: Iterable[str]) -> None:
    """Say on a client's flow what became of it by now. attempt_ids: of the attempts' flows."""
    flow.comment = client_comment(exchange, attempt_ids)
    if origin := flow.metadata.get(REPLAY_OF):
        flow.comment += f" · replay of {origin[:8]}"
    last = exchange.attempts[-1]
    _put(
        flow,
        {
            FORMAT: exchange.format,
            "cliproxy.retries": last.number - 1,
            DROPPED: list(exchange.dropped),
            **_who(exchange, last),
        },
    )


def _who(exchange: Exchange, attempt: Attempt) -> dict[str, Any]:
    return {
        "cliproxy.exchange": exchange.id,
        "cliproxy.model": exchange.model,
        PROVIDER: attempt.provider,
        UPSTREAM_MODEL: attempt.model,
        "cliproxy.credential": attempt.credential,
        "cliproxy.key": exchange.client_key,
        OUTCOME: outcome(attempt),
    }


def _put(flow: http.HTTPFlow, facts: dict[str, Any]) -> None:
    """What is empty is not said, so that a filter on a name alone finds those that have it."""
    for name, value in facts.items():
        if value in ("", None, []):
            flow.metadata.pop(name, None)
        else:
            flow.metadata[name] = value


def outcome(attempt: Attempt) -> str:
    """`running`, `served` or `failed`."""
    if not attempt.ended_s:
        return "running"
    return "failed" if attempt.error or attempt.status >= 400 else "served"


def attempt_comment(client_id: str, exchange: Exchange, attempt: Attempt) -> str:
    """`attempt 1 · gpt-5 → openai/gpt-5 → openai sk-t…#1f3a9c · 12 + 34 tokens · for client flow 4d0c…`"""
    served = f"{exchange.model or attempt.request.method} → {attempt.provider}/{attempt.model} → {attempt.credential}"
    facts = [f"attempt {attempt.number}", served]
    usage = attempt.usage
    if usage.input is not None or usage.output is not None:
        cached = f" ({usage.cache_read} cached)" if usage.cache_read else ""
        facts.append(f"{usage.input or 0}{cached} + {usage.output or 0} tokens")
    if attempt.finish_reason:
        facts.append(attempt.finish_reason)
    if attempt.error:
        facts.append(attempt.error)
    facts.append(f"for client flow {client_id[:8]}")
    return " · ".join(facts)


def client_comment(exchange: Exchange, attempt_ids: Iterable[str]) -> str:
    """`gpt-5 → openai/gpt-5 → openai sk-t…#1f3a9c · attempts 5e1f…`"""
    last = exchange.attempts[-1]
    facts = [f"{exchange.model or exchange.request.method} → {last.provider}/{last.model} → {last.credential}"]
    if exchange.client_key:
        facts.append(f"key {exchange.client_key}")
    facts.append(f"attempts {', '.join(id[:8] for id in attempt_ids)}")
    if exchange.dropped:
        facts.append(f"dropped {', '.join(exchange.dropped)}")
    return " · ".join(facts)
