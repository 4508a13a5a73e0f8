"""The sections that name upstreams with an API key, and the keys that clients of this gateway show."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal, override

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_core import PydanticCustomError

from cliproxy.wire.model import Format

from .rules import ErrorRule
from .values import (
    Amount,
    Count,
    Flag,
    Headers,
    HttpUrl,
    Name,
    Prefix,
    ProxyUrl,
    Section,
    Whole,
    one_of,
)

_TEMPLATE_KEYS = re.compile(r"your-api-key-[123]")


def _not_a_template(key: SecretStr) -> SecretStr:
    if _TEMPLATE_KEYS.fullmatch(key.get_secret_value()):
        raise PydanticCustomError("refused", "this key is the template's and known to everyone; choose one of your own")
    if not key.get_secret_value():
        raise ValueError("text that is not empty")
    return key


ClientSecret = Annotated[SecretStr, AfterValidator(_not_a_template)]


def _moment(value: object) -> object:
    """Pydantic alone would take `2027` for seconds since 1970."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        moment = None
    if not isinstance(moment, datetime):
        raise ValueError("a date or time such as 2026-12-31 or 2026-12-31T18:00:00Z")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


class ClientKey(Section):
    """A key that clients of this gateway show, with what it may do. Plain text is a key without limits."""

    shorthand = "key"

    name: str = ""
    """Name for people in usage tables and logs. Empty = the masked key."""
    key: ClientSecret
    """The key itself."""
    models: tuple[Name, ...] = ()
    """Models that this key may use; `*` stands for any text. Empty = all."""
    providers: tuple[Name, ...] = ()
    """Providers that this key may use. Empty = all."""
    rpm: Count = 0
    """Requests a minute. 0 = no limit."""
    tpm: Count = 0
    """Tokens a minute, input and output together. 0 = no limit."""
    budget_usd: Amount = 0
    """US dollars that this key may spend a month, by list prices. 0 = no limit."""
    expires: Annotated[datetime, BeforeValidator(_moment)] | None = None
    """Date or time (RFC 3339) from which the key is refused; UTC where no zone is given. Absent = never."""


class Thinking(Section):
    """How much a model can be told to think."""

    min: Count = 0
    """Smallest budget, tokens. 0 = any."""
    max: Count = 0
    """Largest budget, tokens. 0 = the model takes no budget."""
    zero_allowed: Flag = False
    """Thinking can be switched off."""
    dynamic_allowed: Flag = False
    """The model can choose the budget itself."""
    levels: tuple[Annotated[Name, one_of()], ...] = ()
    """Levels that it knows, from `none`, `auto` and `minimal` to `xhigh` and `max`. Empty = no levels."""

    @model_validator(mode="after")
    def _in_order(self) -> "Thinking":
        if self.min > self.max > 0:
            raise ValueError("min to be at most max")
        return self


class Model(Section):
    """A model that an upstream offers. Plain text is its name."""

    shorthand = "name"

    name: Name
    """Model at the upstream."""
    alias: str = ""
    """Name that clients use. With `*` at its end it takes every name that begins so. Empty = `name`."""
    display_name: str = ""
    """Name for people in model lists. Empty = the client's name for it."""
    max_context_length: Count = 0
    """Context window to report in model lists, tokens. 0 = what the catalogue says."""
    force_mapping: Flag = False
    """Write the alias into the `model` field of answers."""
    is_compat: Flag = False
    """Keep thinking blocks whose signature is empty, for upstreams that are not the vendor's own."""
    thinking: Thinking | None = None
    """What the model can do with thinking. Absent = what the catalogue says."""

    @property
    def client_name(self) -> str:
        """The name, or pattern of names, under which clients ask for it."""
        return self.alias or self.name


class CompatModel(Model):
    """A model of an OpenAI-compatible upstream."""

    image: Flag = False
    """The model makes images (`/v1/images/*`)."""
    input_modalities: tuple[Annotated[Name, one_of()], ...] = ()
    """What it reads: `text`, `image`, `audio`; `[text]` keeps images out of tool results. Empty = unknown."""
    output_modalities: tuple[Annotated[Name, one_of()], ...] = ()
    """What it writes: `text`, `image`, `audio`. Empty = unknown."""


ClientFormat = Annotated[
    Format,
    one_of(
        openai="openai-chat",
        responses="openai-responses",
        openai_response="openai-responses",
        claude="anthropic",
        anthropic_messages="anthropic",
    ),
]


class Upstream(Section):
    """What every entry of the upstream sections has."""

    base_url: HttpUrl = ""
    """Address of the API; the format's own path is added to it."""
    prefix: Prefix = ""
    """Lets clients write `prefix/model` to mean this entry."""
    priority: Whole = 0
    """Entries with a higher number are used first."""
    disabled: Flag = False
    """Do not use this entry."""
    headers: Headers = Field(default_factory=dict, repr=False)
    """Headers for the upstream. `$Name` copies the client's header `Name`, null removes the header."""
    proxy_url: ProxyUrl = Field(default="", repr=False)
    """Proxy for this entry, as in `proxy-url` of the top level; `direct` = none. Empty = the top level's."""
    excluded_models: tuple[Name, ...] = ()
    """Models that this entry does not offer; `*` stands for any text, case does not matter."""
    disable_cooling: Flag | None = None
    """Never sideline this entry after a failure. Absent = the top level's `disable-cooling`."""
    request_retry: Whole | None = None
    """Further rounds of tries for this entry. Negative or absent = the top level's `request-retry`."""
    request_scoped_errors: tuple[ErrorRule, ...] = ()
    """How to take certain errors of this upstream."""
    max_concurrent: Count = 0
    """Requests that may be under way at once with one key. 0 = no limit."""
    convert_from: tuple[ClientFormat, ...] | None = None
    """Client formats that may be translated for this upstream, beside its own. Absent = all, empty = none."""

    @field_validator("request_retry")
    @classmethod
    def _negative_inherits(cls, rounds: int | None) -> int | None:
        return None if rounds is not None and rounds < 0 else rounds


def _sendable(key: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[\x21-\x7e]*", key.get_secret_value()):
        raise ValueError("text of ASCII characters without spaces, as a header must carry it")
    return key


UpstreamSecret = Annotated[SecretStr, AfterValidator(_sendable)]
Weight = Annotated[int, Field(strict=True, le=1_000_000)]


class KeyedUpstream(Upstream):
    """An upstream with one API key."""

    needs_base_url: ClassVar[bool] = False

    api_key: UpstreamSecret = SecretStr("")
    """The upstream's API key. Empty = none is sent."""
    weight: Weight = 1
    """Share of requests under `weighted-round-robin`, at most 1000000. 0 or less = none."""
    models: tuple[Model, ...] = ()
    """Models that the key offers, in place of the built-in list. Empty = the built-in list."""

    @override
    @classmethod
    def why_skipped(cls, values: Mapping[str, Any]) -> str | None:
        if _is_blank(values.get("base_url")):
            if cls.needs_base_url:
                return "it has no base-url"
            if _is_blank(values.get("api_key")):
                return "it has neither api-key nor base-url"
        return None


class GeminiKey(KeyedUpstream):
    """A key for Google's Gemini API, or for an API like it."""


class VertexKey(KeyedUpstream):
    """A key for Vertex AI, or for an API like it."""


class ClaudeKey(KeyedUpstream):
    """A key for Anthropic's API, or for an API like it."""

    rebuild_mid_system_message: Flag = False
    """Move messages of role `system` to the `system` field, for models that refuse them elsewhere."""


class CodexKey(KeyedUpstream):
    """A key for an upstream that speaks OpenAI's Responses API. Needs `base-url`."""

    needs_base_url = True

    websockets: Flag = False
    """The upstream also takes requests over a WebSocket."""


class XaiKey(KeyedUpstream):
    """A key for xAI's API, or for an API like it. Needs `base-url`."""

    needs_base_url = True

    websockets: Flag = False
    """The upstream also takes requests over a WebSocket."""


class KeyEntry(Section):
    """One key of an OpenAI-compatible upstream. Plain text is the key."""

    shorthand = "api_key"

    api_key: UpstreamSecret = SecretStr("")
    """The upstream's API key. Empty = none is sent."""
    weight: Weight = 1
    """Share of requests under `weighted-round-robin`, at most 1000000. 0 or less = none."""
    proxy_url: ProxyUrl = Field(default="", repr=False)
    """Proxy for this key; `direct` = none. Empty = the upstream's."""


_SPOKEN: Mapping[str, tuple[Format, ...]] = {
    "glm": ("openai-chat", "anthropic"),
    "iflow": ("openai-chat",),
    "kimi": ("openai-chat", "anthropic"),
    "qwen": ("openai-chat",),
}
"""Formats of the vendors that an upstream's `dialect` may name."""


class OpenAICompatibility(Upstream):
    """An upstream of any maker, with any number of keys. Needs `base-url`."""

    name: Name
    """Name of the provider in model lists, usage and logs."""
    wire: ClientFormat = "openai-chat"
    """Format that the upstream speaks: OpenAI's, Anthropic's (what is called Claude-compatible), or Gemini's."""
    dialect: Annotated[Literal["glm", "iflow", "kimi", "qwen"], one_of()] | None = None
    """Vendor whose API it is, where that has rules of its own beyond the format. Absent = it has none."""
    api_key_entries: tuple[KeyEntry, ...] = ()
    """The upstream's keys. Empty = none is sent."""
    models: tuple[CompatModel, ...] = ()
    """Models that it offers. An alias that stands on several makes them stand in for each other."""
    support_prompt_cache_key: Flag = False
    """The upstream understands `prompt_cache_key`: derive one where the client sends none."""

    @model_validator(mode="after")
    def _is_spoken(self) -> "OpenAICompatibility":
        if self.dialect and self.wire not in _SPOKEN[self.dialect]:
            raise ValueError(f"wire to be {' or '.join(_SPOKEN[self.dialect])}, which {self.dialect} speaks")
        return self

    @override
    @classmethod
    def why_skipped(cls, values: Mapping[str, Any]) -> str | None:
        return "it has no base-url" if _is_blank(values.get("base_url")) else None
