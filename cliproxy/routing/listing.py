"""Model lists in the shapes that clients read: OpenAI's, Anthropic's and Gemini's, and what Claude Code and Codex make
of them. Limits and thinking that a shape has no fields for stand in fields of our own, which no client minds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from urllib.parse import parse_qs

from cliproxy.config.schema import ModelChain
from cliproxy.exchange import ClientRequest
from cliproxy.routing.catalogue import CLAUDE_CODE_PREFIX, Catalogue, ListedModel
from cliproxy.routing.registry import builtin_registry
from cliproxy.wire.errors import ClientFault
from cliproxy.wire.model import EFFORTS, Format, Json, ModelFacts

CREATED = "2025-01-01T00:00:00Z"
"""Upstreams do not tell when a model was made; clients only need the field to be there."""
CREATED_S = 1735689600

_SHOWN_BY_CLAUDE_CODE = ("claude", "anthropic")

_CODEX_INSTRUCTIONS = (
    "You are a coding agent that works in the user's terminal. Use the tools you are given to read and change files and"
    " to run commands. Go on until the task is done, check your work, and then say briefly what you did."
)
"""Codex sends a model what its list says for it, and nothing of its own beside."""
_CODEX_PRIORITY = 1000
"""Codex's own models have small numbers, and stand before."""


def everything_listed(catalogue: Catalogue, chains: Mapping[str, ModelChain]) -> list[ListedModel]:
    """The models of a catalogue, and the user's own names for several (`models` in the config)."""
    listed = {model.name: model for model in catalogue.listed()}
    for name, chain in chains.items():
        if "*" not in name and (model := catalogue.describe(name, chain.targets)):
            listed.setdefault(name, model)
    return list(listed.values())


class ModelLists:
    """What the list routes answer, by who asks."""

    def __init__(self, models: Sequence[ListedModel], *, plain_for_claude_code: bool = False) -> None:
        """plain_for_claude_code: leave it to Claude Code which models it shows."""
        self._models = list(models)
        self._plain_for_claude_code = plain_for_claude_code

    def all(self, request: ClientRequest, format_: Format, may_use: Callable[[str], bool]) -> Json:
        """All models that the client may use, as it reads them."""
        models = [model for model in self._models if may_use(model.name)]
        if format_ == "openai-chat" and "client_version" in parse_qs(request.query):
            return list_for_codex(models, frozenset(model.name for model in builtin_registry().of("codex")))
        # So it calls itself when it asks for lists, and otherwise when it asks for answers.
        is_claude_code = request.headers.get("user-agent", "").startswith("claude-code/")
        if is_claude_code and not self._plain_for_claude_code:
            models = for_claude_code(models)
        return list_models(models, format_)

    def one(self, name: str, format_: Format, may_use: Callable[[str], bool]) -> Json:
        """One model, by any name that a list shows. Raises ClientFault (404)."""
        plain = name.removeprefix(CLAUDE_CODE_PREFIX)
        for model in self._models:
            if model.name in (name, plain) and may_use(model.name):
                return get_model([replace(model, name=name)], name, format_)
        return get_model((), name, format_)


def list_models(models: Sequence[ListedModel], format_: Format) -> Json:
    """All models, as the given format's list route answers."""
    match format_:
        case "anthropic":
            data = [_anthropic(model) for model in sorted(models, key=lambda m: m.display_name)]
            ids = [entry["id"] for entry in data]
            return {
                "data": data,
                "has_more": False,
                "first_id": ids[0] if ids else None,
                "last_id": ids[-1] if ids else None,
            }
        case "gemini":
            return {"models": [_gemini(model) for model in models]}
        case _:
            return {"object": "list", "data": [_openai(model) for model in models]}


def for_claude_code(models: Sequence[ListedModel]) -> list[ListedModel]:
    """The models under ids that Claude Code shows (`claude-code.disable-cloaking-model-list` switches this off).

    It leaves out what does not begin with a name of Anthropic's. The prefix keeps the rest readable, says whose list it
    is for, and is taken off again when such a name comes back (`Catalogue.meant`); no vendor ever sees it.
    """
    return [
        model
        if model.name.lower().startswith(_SHOWN_BY_CLAUDE_CODE)
        else replace(
            model,
            name=CLAUDE_CODE_PREFIX + model.name,
            display_name=f"{model.display_name} ({model.provider})",
        )
        for model in models
    ]


def list_for_codex(models: Sequence[ListedModel], built_in: frozenset[str]) -> Json:
    """The list that Codex asks for with `client_version`.

    built_in: names that Codex knows more of than we do: an entry here would replace what it knows.
    """
    others = [model for model in models if model.name not in built_in]
    return {"models": [_codex(model, _CODEX_PRIORITY + number) for number, model in enumerate(others)]}


def get_model(models: Sequence[ListedModel], name: str, format_: Format) -> Json:
    """One model, as the given format's model route answers. Raises ClientFault (404)."""
    for model in models:
        if model.name == name:
            match format_:
                case "anthropic":
                    return _anthropic(model)
                case "gemini":
                    return _gemini(model)
                case _:
                    return _openai(model)
    raise ClientFault(
        f"unknown model {name!r} (GET /v1/models lists all)",
        status=404,
        code="model_not_found",
        param="model",
    )


def _openai(model: ListedModel) -> Json:
    facts = model.facts
    entry: Json = {
        "id": model.name,
        "object": "model",
        "created": CREATED_S,
        "owned_by": model.provider,
        "display_name": model.display_name,
    }
    if facts.context_tokens:
        entry["context_length"] = facts.context_tokens
    if facts.max_output_tokens:
        entry["max_completion_tokens"] = facts.max_output_tokens
    if facts.input_modalities:
        entry["input_modalities"] = list(facts.input_modalities)
    return entry | _thinking(facts)


def _anthropic(model: ListedModel) -> Json:
    return {
        "type": "model",
        "id": model.name,
        "display_name": model.display_name,
        "created_at": CREATED,
        "owned_by": model.provider,
        "max_input_tokens": model.facts.context_tokens or 200_000,
        "max_tokens": model.facts.max_output_tokens or 64_000,
    } | _thinking(model.facts)


def _gemini(model: ListedModel) -> Json:
    entry: Json = {
        "name": f"models/{model.name}",
        "version": "001",
        "displayName": model.display_name,
        "description": f"{model.display_name} ({model.provider})",
        "supportedGenerationMethods": ["generateContent", "countTokens"],
    }
    if model.facts.context_tokens:
        entry["inputTokenLimit"] = model.facts.context_tokens
    if model.facts.max_output_tokens:
        entry["outputTokenLimit"] = model.facts.max_output_tokens
    if model.facts.known:
        entry["thinking"] = model.facts.thinking is not None
    return entry


def _thinking(facts: ModelFacts) -> Json:
    """`thinking`: its limits; false for a model that does not think; nothing where nobody knows."""
    thinking = facts.thinking
    if thinking is None:
        return {"thinking": False} if facts.known else {}
    said: Json = {"zero_allowed": thinking.zero_allowed, "dynamic_allowed": thinking.dynamic_allowed}
    if thinking.max is not None:
        said |= {"min": thinking.min or 0, "max": thinking.max}
    if thinking.levels:
        said["levels"] = list(thinking.levels)
    return {"thinking": said}


def _codex(model: ListedModel, priority: int) -> Json:
    """An entry with all the fields without which Codex (0.169, measured) reads none of the list."""
    facts = model.facts
    levels = facts.thinking.levels if facts.thinking else ()
    entry: Json = {
        "slug": model.name,
        "display_name": model.display_name,
        "description": f"{model.display_name} ({model.provider})",
        "supported_reasoning_levels": [
            {"effort": level, "description": f"{level.capitalize()} reasoning effort"}
            for level in EFFORTS
            if level in levels
        ],
        "shell_type": "shell_command",
        "visibility": "list",
        "supported_in_api": True,
        "priority": priority,
        "base_instructions": _CODEX_INSTRUCTIONS,
        "support_verbosity": False,
        "supports_parallel_tool_calls": True,
        "supports_reasoning_summaries": bool(facts.thinking),
        "truncation_policy": {"mode": "tokens", "limit": 10_000},
        "experimental_supported_tools": [],
    }
    if levels:
        entry["default_reasoning_level"] = "medium" if "medium" in levels else levels[0]
    if facts.context_tokens:
        entry["context_window"] = facts.context_tokens
    if facts.input_modalities:
        entry["input_modalities"] = [kind for kind in ("text", "image") if kind in facts.input_modalities]
    return entry
