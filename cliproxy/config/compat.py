"""What other programs' files hold beyond `Config`: Token Proxy's keys, and keys accepted and ignored.

OneProxy needs nothing here: its names are CLIProxyAPI's with `_` for `-`, which the loader takes everywhere.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr

from .schema.credentials import (
    ClaudeKey,
    ClientFormat,
    ClientKey,
    ClientSecret,
    CodexKey,
    GeminiKey,
    OpenAICompatibility,
    Upstream,
    UpstreamSecret,
)
from .schema.root import Codex, Config, QuotaExceeded, RemoteManagement, Routing
from .schema.values import Count, Flag, Headers, HttpUrl, Name, ProxyUrl, Section, Whole, one_of


class Ignored(StrEnum):
    """Why a known key has no effect; the value is what the warning says."""

    IMITATION = "they only serve the imitation of vendors' clients, which this program does not do"
    NOT_BUILT = "this program does not have these features of CLIProxyAPI"


IGNORED: dict[type[Section], dict[str, Ignored]] = {
    Config: {
        "antigravity": Ignored.IMITATION,
        "claude-header-defaults": Ignored.IMITATION,
        "codex-header-defaults": Ignored.IMITATION,
        "disable-claude-cloak-mode": Ignored.IMITATION,
        "antigravity-signature-bypass-strict": Ignored.NOT_BUILT,
        "antigravity-signature-cache-enabled": Ignored.NOT_BUILT,
        "commercial-mode": Ignored.NOT_BUILT,
        "credential-concurrency": Ignored.NOT_BUILT,
        "credential-in-flight": Ignored.NOT_BUILT,
        "gpt-image-2-base-model": Ignored.NOT_BUILT,
        "home": Ignored.NOT_BUILT,
        "interactions-api-key": Ignored.NOT_BUILT,
        "plugins": Ignored.NOT_BUILT,
        "pprof": Ignored.NOT_BUILT,
        "redis-usage-queue-retention-seconds": Ignored.NOT_BUILT,
        "tray-token-rate": Ignored.NOT_BUILT,
        "video-result-auth-cache-ttl": Ignored.NOT_BUILT,
        "xai": Ignored.NOT_BUILT,
    },
    ClaudeKey: {
        "cloak": Ignored.IMITATION,
        "experimental-cch-signing": Ignored.IMITATION,
        "fingerprint-profile": Ignored.IMITATION,
    },
    Codex: {
        "disable-codex-cloaking": Ignored.IMITATION,
        "identity-confuse": Ignored.IMITATION,
        "live-media-relay": Ignored.NOT_BUILT,
        "optimize-multi-agent-v2": Ignored.NOT_BUILT,
        "orphan-delegation-compatibility": Ignored.NOT_BUILT,
    },
    CodexKey: {"alpha-search": Ignored.NOT_BUILT},
    QuotaExceeded: {"antigravity-credits": Ignored.NOT_BUILT},
    RemoteManagement: {
        "disable-auto-update-panel": Ignored.NOT_BUILT,
        "panel-github-repository": Ignored.NOT_BUILT,
    },
    Routing: {"session-affinity-subagents": Ignored.NOT_BUILT},
}
"""Kebab-case keys by the section they stand in; what is below them is not looked at."""


def why_ignored(section: type[Section], key: str) -> Ignored | None:
    """Why `key` (kebab-case) has no effect in `section`, or None where it is not one of these keys."""
    return next((keys[key] for kind, keys in IGNORED.items() if key in keys and issubclass(section, kind)), None)


class Overrides(Section):
    """Changes to the requests of a Token Proxy upstream."""

    header: Headers = Field(default_factory=dict, repr=False)
    """Headers for the upstream; null removes the header."""


def _as_proxy_url(value: object) -> object:
    """Without a proxy of its own, an upstream of Token Proxy uses none, unless it names the placeholder."""
    return {"$app_proxy_url": "", "": "direct"}.get(value, value) if isinstance(value, str) else value


class TokenProxyUpstream(Section):
    """An entry of Token Proxy's `upstreams`."""

    id: Name
    """Name of the upstream."""
    providers: Annotated[
        tuple[Literal["openai", "openai-response", "anthropic", "gemini", "kiro", "codex"], ...],
        Field(min_length=1),
    ]
    """APIs that it serves."""
    base_url: HttpUrl = ""
    """Address of the API, with or without the version in its path."""
    api_key: UpstreamSecret = SecretStr("")
    """The upstream's API key."""
    proxy_url: Annotated[ProxyUrl, BeforeValidator(_as_proxy_url), Field(repr=False)] = "direct"
    """Proxy for this upstream; `$app_proxy_url` = the top level's. Absent = none."""
    priority: Whole = 0
    """Upstreams with a higher number are used first."""
    enabled: Flag = True
    """Use this upstream."""
    model_mappings: dict[Name, Name] = Field(default_factory=dict)
    """Client's model (`*` at the end stands for any text) to the upstream's."""
    convert_from_map: dict[str, tuple[ClientFormat, ...]] = Field(default_factory=dict)
    """Client formats that may be translated, by provider. Absent = none."""
    overrides: Overrides = Overrides()
    """Changes to its requests."""

    def entry(self, provider: str) -> tuple[str, Upstream] | None:
        """The section of `Config` and the entry in it that stand for this upstream serving `provider`.

        None for accounts, which come from `auth-dir`. Token Proxy adds a request's whole path to the base URL
        and drops what is there twice; here it ends before the version (Anthropic, Gemini) or after (OpenAI).
        """
        if not self.base_url:
            return None
        unversioned = self.base_url.removesuffix("/v1").removesuffix("/v1beta")
        entry: dict[str, Any] = {
            "convert_from": self.convert_from_map.get(provider, ()),
            "disabled": not self.enabled,
            "headers": self.overrides.header,
            "models": [
                {"name": name, "alias": alias, "force_mapping": True} for alias, name in self.model_mappings.items()
            ],
            "priority": self.priority,
            "proxy_url": self.proxy_url,
        }
        keyed = entry | {"api_key": self.api_key}
        match provider:
            case "openai" | "openai-response":
                entry |= {
                    "name": self.id,
                    "wire": "openai-chat" if provider == "openai" else "openai-responses",
                    "base_url": f"{unversioned}/v1",
                    "api_key_entries": [{"api_key": self.api_key}],
                }
                return "openai_compatibility", OpenAICompatibility.model_validate(entry)
            case "anthropic":
                return "claude_api_key", ClaudeKey.model_validate(keyed | {"base_url": unversioned})
            case "gemini":
                return "gemini_api_key", GeminiKey.model_validate(keyed | {"base_url": unversioned})
            case "codex":
                return "codex_api_key", CodexKey.model_validate(keyed | {"base_url": self.base_url})
            case _:
                return None


class Document(Config):
    """A whole file: `Config` with the keys of Token Proxy that `canonical` turns into CLIProxyAPI's."""

    local_api_key: ClientSecret | None = None
    """One more key that clients may show."""
    app_proxy_url: ProxyUrl = Field(default="", repr=False)
    """Proxy for requests to upstreams, where `proxy-url` is not set."""
    log_level: Annotated[Literal["silent", "error", "warn", "info", "debug", "trace"], one_of()] = "silent"
    """`debug` and `trace` switch `debug` on."""
    retryable_failure_cooldown_secs: Count | None = None
    """`transient-error-cooldown-seconds`, seconds. 0 = not at all."""
    upstreams: tuple[TokenProxyUpstream, ...] = ()
    """Upstreams of any kind."""

    def canonical(self) -> Config:
        values: dict[str, Any] = {name: getattr(self, name) for name in Config.model_fields}
        if self.local_api_key and all(client.key != self.local_api_key for client in self.api_keys):
            values["api_keys"] += (ClientKey(key=self.local_api_key),)
        values["proxy_url"] = self.proxy_url or self.app_proxy_url
        values["debug"] = self.debug or self.log_level in {"debug", "trace"}
        if self.retryable_failure_cooldown_secs is not None:
            values["transient_error_cooldown_seconds"] = self.retryable_failure_cooldown_secs or -1
        for upstream in self.upstreams:
            for provider in upstream.providers:
                if placed := upstream.entry(provider):
                    section, entry = placed
                    values[section] += (entry,)
        return Config.model_construct(**values)

    def left_out(self) -> Iterator[tuple[int, str]]:
        """Index of an upstream in `upstreams`, and what to say of a provider that it gives no entry."""
        for index, upstream in enumerate(self.upstreams):
            for provider in upstream.providers:
                if upstream.entry(provider) is None:
                    accounts = provider in {"kiro", "codex"}
                    reason = "its accounts come from auth-dir" if accounts else "it has no base-url"
                    yield index, f"{provider} is left out: {reason}"
