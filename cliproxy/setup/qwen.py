"""Qwen Code: a model provider of our own in `settings.json`, with every model of the gateway."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cliproxy.setup.json_syntax import JsonSyntax
from cliproxy.setup.merging import OUR_NAME
from cliproxy.setup.syntax import Settings, Value
from cliproxy.setup.tool import Environment, Gateway, Pointer, SettingsFile, Tool, folder, text_at

_KEY = "CLIPROXY_API_KEY"


def _files(home: Path, env: Environment) -> tuple[SettingsFile, ...]:
    return (SettingsFile(folder(home, env, "QWEN_HOME", ".qwen") / "settings.json", JsonSyntax(comments=True)),)


def _settings(gateway: Gateway) -> tuple[Settings, ...]:
    names = dict.fromkeys((*(model.name for model in gateway.models), gateway.model))
    return (
        {
            ("security", "auth", "selectedType"): "openai",
            ("env", _KEY): gateway.key,
            ("modelProviders", OUR_NAME): [_model(gateway, name) for name in names],
            ("providerProtocol", OUR_NAME): "openai",
            ("model", "name"): gateway.model,
            # Says whose model it is, should another provider have one of that name.
            ("model", "baseUrl"): gateway.openai_url,
        },
    )


def _model(gateway: Gateway, name: str) -> Value:
    entry: dict[str, Value] = {"id": name, "name": name, "baseUrl": gateway.openai_url, "envKey": _KEY}
    if context_tokens := gateway.facts_of(name).context_tokens:
        entry["generationConfig"] = {"contextWindowSize": context_tokens}
    return entry


def _pointer(documents: Sequence[Mapping[str, Any]]) -> Pointer | None:
    (settings,) = documents
    url = text_at(settings, "model", "baseUrl") or text_at(settings, "security", "auth", "baseUrl")
    key = text_at(settings, "env", _KEY) or text_at(settings, "security", "auth", "apiKey")
    return Pointer(url, key) if url else None


QWEN = Tool("qwen", "Qwen Code", "qwen", _files, _settings, _pointer, variables=(_KEY,), needs_model=True)
