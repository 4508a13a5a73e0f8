"""Claude Code: the `env` block of `settings.json`, which goes before the environment's own variables."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cliproxy.setup.json_syntax import JsonSyntax
from cliproxy.setup.syntax import Settings
from cliproxy.setup.tool import Environment, Gateway, Pointer, SettingsFile, Tool, folder, text_at, under

_KINDS = ("OPUS", "SONNET", "HAIKU")


def _files(home: Path, env: Environment) -> tuple[SettingsFile, ...]:
    return (SettingsFile(folder(home, env, "CLAUDE_CONFIG_DIR", ".claude") / "settings.json", JsonSyntax()),)


def _settings(gateway: Gateway) -> tuple[Settings, ...]:
    variables = {
        "ANTHROPIC_BASE_URL": gateway.url,
        "ANTHROPIC_AUTH_TOKEN": gateway.key,
        "CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY": "1",
    }
    if gateway.model:
        # Side requests name other kinds of model than the one that was chosen.
        variables |= {"ANTHROPIC_MODEL": gateway.model}
        variables |= {f"ANTHROPIC_DEFAULT_{kind}_MODEL": gateway.model for kind in _KINDS}
        context_tokens = gateway.facts_of(gateway.model).context_tokens
        if context_tokens and not gateway.model.startswith(CLAUDE.asks_for):
            variables["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] = str(context_tokens)
    return (under(("env",), variables),)


def _pointer(documents: Sequence[Mapping[str, Any]]) -> Pointer | None:
    (settings,) = documents
    url = text_at(settings, "env", "ANTHROPIC_BASE_URL")
    return Pointer(url, text_at(settings, "env", "ANTHROPIC_AUTH_TOKEN")) if url else None


CLAUDE = Tool("claude", "Claude Code", "claude", _files, _settings, _pointer, asks_for="claude-")
