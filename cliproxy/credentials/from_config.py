"""The credentials that `config.yaml` holds: its API key sections, and the built-in demo."""

from collections.abc import Iterator

from cliproxy.config.schema import (
    CodexKey,
    CompatModel,
    Config,
    KeyedUpstream,
    Model,
    OpenAICompatibility,
    Upstream,
    XaiKey,
)
from cliproxy.credentials.record import Credential, OfferedModel
from cliproxy.wire.model import EFFORTS, FORMATS, Format, ThinkingFacts

ANTHROPIC_URL = "https://api.anthropic.com"
GEMINI_URL = "https://generativelanguage.googleapis.com"
VERTEX_URL = "https://aiplatform.googleapis.com"
DEMO_URL = "demo://in-process"

_WITH_A_DIALECT = frozenset({"vertex", "xai"})
"""Vendors whose keys, too, are used by their own dialect."""


def credentials_of(config: Config) -> list[Credential]:
    """All credentials of the config, in its order. Disabled entries are left out."""
    found = [*_keyed(config), *_compatible(config)]
    if config.demo:
        demo = Credential(
            "demo", FORMATS, DEMO_URL, models=(OfferedModel("demo/echo", "echo", "Demo: says what it hears"),)
        )
        found.append(demo)
    return found


def _keyed(config: Config) -> Iterator[Credential]:
    sections: tuple[tuple[str, Format, str, tuple[KeyedUpstream, ...]], ...] = (
        ("gemini", "gemini", GEMINI_URL, config.gemini_api_key),
        ("codex", "openai-responses", "", config.codex_api_key),
        ("claude", "anthropic", ANTHROPIC_URL, config.claude_api_key),
        ("vertex", "gemini", VERTEX_URL, config.vertex_api_key),
        ("xai", "openai-responses", "", config.xai_api_key),
    )
    for provider, format_, default_url, entries in sections:
        for entry in entries:
            if entry.disabled:
                continue
            base_url = entry.base_url or _configured_url(config, provider) or default_url
            yield _credential(
                config,
                entry,
                provider,
                format_,
                base_url,
                secret=entry.api_key.get_secret_value(),
                models=tuple(map(_offered, entry.models)),
                weight=entry.weight,
                proxy_url=entry.proxy_url,
                dialect=provider if provider in _WITH_A_DIALECT else "",
            )


def _compatible(config: Config) -> Iterator[Credential]:
    for entry in config.openai_compatibility:
        if entry.disabled:
            continue
        for key in entry.api_key_entries or (None,):
            yield _credential(
                config,
                entry,
                entry.name,
                entry.wire,
                entry.base_url,
                secret=key.api_key.get_secret_value() if key else "",
                models=tuple(map(_offered, entry.models)),
                weight=key.weight if key else 1,
                proxy_url=(key.proxy_url if key else "") or entry.proxy_url,
                dialect=entry.dialect or "",
            )


def _credential(
    config: Config,
    entry: Upstream | OpenAICompatibility,
    provider: str,
    format_: Format,
    base_url: str,
    *,
    secret: str,
    models: tuple[OfferedModel, ...],
    weight: int,
    proxy_url: str,
    dialect: str = "",
) -> Credential:
    return Credential(
        provider,
        (format_,),
        base_url.rstrip("/"),
        secret,
        models,
        prefix=entry.prefix,
        excluded=tuple(name.lower() for name in entry.excluded_models),
        priority=entry.priority,
        weight=weight,
        max_concurrent=entry.max_concurrent,
        request_retry=entry.request_retry,
        cools=not (config.disable_cooling if entry.disable_cooling is None else entry.disable_cooling),
        error_rules=entry.request_scoped_errors,
        headers=dict(entry.headers),
        proxy_url=proxy_url,
        # Codex upstreams answer streams for certain and whole bodies only sometimes; CLIProxyAPI asks them likewise.
        streams_only=provider == "codex",
        convert_from=entry.convert_from,
        dialect=dialect,
        websockets=isinstance(entry, CodexKey | XaiKey) and entry.websockets,
    )


def _offered(model: Model) -> OfferedModel:
    thinking = model.thinking
    return OfferedModel(
        model.client_name,
        model.name,
        model.display_name,
        model.max_context_length,
        model.force_mapping,
        ThinkingFacts(
            min=thinking.min if thinking.max else None,
            max=thinking.max or None,
            zero_allowed=thinking.zero_allowed,
            dynamic_allowed=thinking.dynamic_allowed,
            # `auto` is no level of its own: it says that the model may decide.
            levels=tuple(level for level in EFFORTS if level in thinking.levels),
        )
        if thinking
        else None,
        (model.input_modalities or None) if isinstance(model, CompatModel) else None,
    )


def _configured_url(config: Config, provider: str) -> str:
    """The base URL that the `providers` section gives a built-in provider."""
    section = config.providers.get(provider)
    return section.base_url if section else ""
