"""Gemini CLI: the kind of login in `settings.json`; address and key as variables in `.env`, where alone it looks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cliproxy.setup.env_syntax import EnvSyntax
from cliproxy.setup.json_syntax import JsonSyntax
from cliproxy.setup.syntax import Settings
from cliproxy.setup.tool import Environment, Gateway, Pointer, SettingsFile, Tool, folder, text_at, under

_ADVICE = (
    "It reads ~/.gemini/.env only in folders that it trusts (it asks; without a terminal: --skip-trust), and only where"
    " neither the project nor a folder above has a .env of its own: there, set the two variables in that file."
)


def _files(home: Path, env: Environment) -> tuple[SettingsFile, ...]:
    base = folder(home, env, "GEMINI_CLI_HOME", "") / ".gemini"
    return (
        SettingsFile(base / "settings.json", JsonSyntax(comments=True)),
        SettingsFile(base / ".env", EnvSyntax()),
    )


def _settings(gateway: Gateway) -> tuple[Settings, ...]:
    # With an address alone it picks a kind of login that it then refuses without a terminal.
    login = under(("security", "auth"), {"selectedType": "gemini-api-key"})
    model = under(("model",), {"name": gateway.model})
    return login | model, under((), {"GEMINI_API_KEY": gateway.key, "GOOGLE_GEMINI_BASE_URL": gateway.url})


def _pointer(documents: Sequence[Mapping[str, Any]]) -> Pointer | None:
    _, variables = documents
    url = text_at(variables, "GOOGLE_GEMINI_BASE_URL")
    return Pointer(url, text_at(variables, "GEMINI_API_KEY")) if url else None


GEMINI = Tool(
    "gemini",
    "Gemini CLI",
    "gemini",
    _files,
    _settings,
    _pointer,
    variables=("GOOGLE_GEMINI_BASE_URL", "GEMINI_API_KEY"),
    asks_for="gemini-",
    advice=_ADVICE,
)
