"""Codex: a model provider of our own in `config.toml`. Its login in `auth.json` stays as it is."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cliproxy.setup.merging import OUR_NAME
from cliproxy.setup.syntax import Settings, Value
from cliproxy.setup.toml_syntax import TomlSyntax
from cliproxy.setup.tool import Environment, Gateway, Pointer, SettingsFile, Tool, folder, text_at, under


def _files(home: Path, env: Environment) -> tuple[SettingsFile, ...]:
    return (SettingsFile(folder(home, env, "CODEX_HOME", ".codex") / "config.toml", TomlSyntax()),)


def _settings(gateway: Gateway) -> tuple[Settings, ...]:
    chosen: dict[str, Value | None] = {"model_provider": OUR_NAME, "model": gateway.model}
    if gateway.model and not gateway.model.startswith(CODEX.asks_for):
        chosen["model_context_window"] = gateway.facts_of(gateway.model).context_tokens
    provider = {
        "name": OUR_NAME,
        "base_url": gateway.openai_url,
        "wire_api": "responses",
        "experimental_bearer_token": gateway.key,
    }
    return (under((), chosen) | under(("model_providers", OUR_NAME), provider),)


def _pointer(documents: Sequence[Mapping[str, Any]]) -> Pointer | None:
    (config,) = documents
    provider = text_at(config, "model_provider") or "openai"
    table = ("model_providers", provider)
    url = text_at(config, *table, "base_url") or (text_at(config, "openai_base_url") if provider == "openai" else "")
    return Pointer(url, text_at(config, *table, "experimental_bearer_token")) if url else None


CODEX = Tool("codex", "Codex", "codex", _files, _settings, _pointer, asks_for="gpt-")
