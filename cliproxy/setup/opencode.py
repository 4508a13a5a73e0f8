"""opencode: a provider of our own in `opencode.json` or `opencode.jsonc`, with every model of the gateway."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cliproxy.setup.files import is_set_up
from cliproxy.setup.json_syntax import JsonSyntax
from cliproxy.setup.merging import OUR_NAME
from cliproxy.setup.syntax import Keys, Settings, Value
from cliproxy.setup.tool import Environment, Gateway, Pointer, SettingsFile, Tool, folder, text_at

_PROVIDER: Keys = ("provider", OUR_NAME)
_SYNTAX = JsonSyntax(comments=True, trailing_commas=True)


def _files(home: Path, env: Environment) -> tuple[SettingsFile, ...]:
    base = folder(home, env, "XDG_CONFIG_HOME", ".config") / "opencode"
    plain, commented = base / "opencode.json", base / "opencode.jsonc"
    return (SettingsFile(commented if commented.exists() and not is_set_up(plain) else plain, _SYNTAX),)


def _settings(gateway: Gateway) -> tuple[Settings, ...]:
    settings: dict[Keys, Value] = {
        (*_PROVIDER, "npm"): "@ai-sdk/openai-compatible",
        (*_PROVIDER, "name"): OUR_NAME,
        (*_PROVIDER, "options", "baseURL"): gateway.openai_url,
        (*_PROVIDER, "options", "apiKey"): gateway.key,
    }
    for name in dict.fromkeys((*(model.name for model in gateway.models), *filter(None, [gateway.model]))):
        settings[*_PROVIDER, "models", name, "name"] = name
        facts = gateway.facts_of(name)
        if facts.context_tokens and facts.max_output_tokens:
            limits: Value = {"context": facts.context_tokens, "output": facts.max_output_tokens}
            settings[*_PROVIDER, "models", name, "limit"] = limits
    if gateway.model:
        settings["model",] = f"{OUR_NAME}/{gateway.model}"
    return (settings,)


def _pointer(documents: Sequence[Mapping[str, Any]]) -> Pointer | None:
    (config,) = documents
    url = text_at(config, *_PROVIDER, "options", "baseURL")
    return Pointer(url, text_at(config, *_PROVIDER, "options", "apiKey")) if url else None


OPENCODE = Tool(
    "opencode",
    "opencode",
    "opencode",
    _files,
    _settings,
    _pointer,
    advice="Its /models lists those of the gateway under cliproxy; --model makes one of them its default.",
)
