"""Rules that users write: how to take an upstream's error, what to change in requests, how to name models."""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, override

from pydantic import Field

from .values import Flag, HeaderName, Name, Section, one_of


class ErrorRule(Section):
    """What to do on an upstream's error that it recognises. Rules come before the built-in judgement."""

    status: Annotated[int, Field(strict=True, ge=100, le=599)]
    """HTTP status of the upstream's answer."""
    match: tuple[Name, ...] = ()
    """Texts of which the body must contain one. With no text and no expression, the status is enough."""
    match_regexr: tuple[re.Pattern[str], ...] = ()
    """Regular expressions of which one must be found in the body, where no text of `match` is."""
    action: Annotated[Literal["stop", "stop-and-cooldown", "continue", "continue-and-cooldown"], one_of()]
    """`stop` answers with the error, `continue` tries another credential; `-and-cooldown` rests this one."""


# CLIProxyAPI's names for formats are understood beside ours; some of them say the provider too.
Protocol = Annotated[
    Literal["openai-chat", "openai-responses", "anthropic", "gemini", "antigravity", "codex", "interactions"],
    one_of(openai="openai-chat", responses="openai-responses", claude="anthropic"),
]


class PayloadSelector(Section):
    """Which requests a payload rule is for. Every key that is given must hold."""

    shorthand = "name"

    name: Name = "*"
    """Upstream model; `*` stands for any text."""
    protocol: Protocol | None = None
    """Format that the upstream speaks; `codex` and `antigravity` mean these providers. Absent = any."""
    from_protocol: Protocol | None = None
    """Format that the client speaks. Absent = any."""
    headers: dict[HeaderName, str] = Field(default_factory=dict)
    """Header of the client to the value it must have; `*` stands for any text."""
    match: tuple[dict[str, Any], ...] = ()
    """Paths in the body with the values they must have."""
    not_match: tuple[dict[str, Any], ...] = ()
    """Paths in the body with values they must not have."""
    exist: tuple[str, ...] = ()
    """Paths that must be in the body and not null."""
    not_exist: tuple[str, ...] = ()
    """Paths that must be missing from the body, or null."""


class PayloadRule(Section):
    """Values to write into the body that goes upstream."""

    models: tuple[PayloadSelector, ...] = ()
    """Requests that the rule is for; one match is enough."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Path in the body (gjson and sjson syntax) to the value to write there."""


class RawPayloadRule(PayloadRule):
    """The same with values that are written as JSON text."""

    params: dict[str, Any] = Field(default_factory=dict)
    """Path in the body (gjson and sjson syntax) to the JSON text to write there."""

    @override
    @classmethod
    def why_skipped(cls, values: Mapping[str, Any]) -> str | None:
        params = values.get("params")
        try:
            for raw in params.values() if isinstance(params, dict) else ():
                json.loads(raw if isinstance(raw, str) else "null")
        except ValueError:
            return "its params have a value that is not JSON"
        return None


class PayloadFilter(Section):
    """Parts to take out of the body that goes upstream."""

    models: tuple[PayloadSelector, ...] = ()
    """Requests that the rule is for; one match is enough."""
    params: tuple[Name, ...] = ()
    """Paths in the body (gjson and sjson syntax) to remove."""


class Payload(Section):
    """Changes to request bodies, made after translation."""

    default: tuple[PayloadRule, ...] = ()
    """Values that are written where the client's request has none."""
    default_raw: tuple[RawPayloadRule, ...] = ()
    """The same with values written as JSON text."""
    override: tuple[PayloadRule, ...] = ()
    """Values that are always written."""
    override_raw: tuple[RawPayloadRule, ...] = ()
    """The same with values written as JSON text."""
    filter: tuple[PayloadFilter, ...] = ()
    """Parts that are always removed."""


class OAuthAlias(Section):
    """Another name for a model of the accounts of one provider."""

    name: Name
    """Model at the provider."""
    alias: Name
    """Name that clients use."""
    fork: Flag = False
    """Offer the alias beside the model's own name instead of in its place."""
    display_name: str = ""
    """Name for people in model lists. Empty = the provider's."""
    force_mapping: Flag = False
    """Write the alias into the `model` field of answers."""


class ModelChain(Section):
    """Models to try one after another under a name of your own."""

    targets: Annotated[tuple[Name, ...], Field(min_length=1)]
    """Model names as clients would send them, the first choice first."""
    on: tuple[Annotated[Literal["quota", "error", "context"], one_of()], ...] = ("quota", "error")
    """When to go on: `quota` used up, an `error` of the upstream, a `context` too long for the model."""
