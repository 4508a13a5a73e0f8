"""Amp: the address in `settings.json`, the key in the file in which it keeps one for each address."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cliproxy.config.schema import Config
from cliproxy.setup.json_syntax import JsonSyntax
from cliproxy.setup.syntax import Settings
from cliproxy.setup.tool import Environment, Gateway, Pointer, SettingsFile, Tool, folder, text_at

_URL = "amp.url"


def _files(home: Path, env: Environment) -> tuple[SettingsFile, ...]:
    settings = folder(home, env, "XDG_CONFIG_HOME", ".config") / "amp" / "settings.json"
    if named := env.get("AMP_SETTINGS_FILE"):
        settings = Path(named).expanduser()
    secrets = folder(home, env, "XDG_DATA_HOME", ".local/share") / "amp" / "secrets.json"
    return (
        SettingsFile(settings, JsonSyntax(comments=True, trailing_commas=True)),
        SettingsFile(secrets, JsonSyntax()),
    )


def _settings(gateway: Gateway) -> tuple[Settings, ...]:
    return {(_URL,): gateway.url}, {(_key_for(gateway.url),): gateway.key}


def _pointer(documents: Sequence[Mapping[str, Any]]) -> Pointer | None:
    settings, secrets = documents
    url = text_at(settings, _URL)
    return Pointer(url, text_at(secrets, _key_for(url))) if url else None


def _lacks(config: Config) -> str:
    if config.ampcode.upstream_url:
        return ""
    return "what is not about models goes on to Amp's own server, and ampcode.upstream-url does not say where it is"


def _key_for(url: str) -> str:
    return f"apiKey@{url}"


AMP = Tool(
    "amp",
    "Amp",
    "amp",
    _files,
    _settings,
    _pointer,
    variables=("AMP_URL", "AMP_API_KEY"),
    lacks=_lacks,
)
