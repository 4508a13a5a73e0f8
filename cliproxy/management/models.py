"""Endpoints of models: what clients are listed, and what is known of each vendor's."""

from collections.abc import Sequence
from typing import Any, TypedDict

from cliproxy.credentials.from_config import credentials_of
from cliproxy.management.endpoint import Call, Endpoint
from cliproxy.management.faults import ManagementFault
from cliproxy.providers import VENDORS
from cliproxy.routing.catalogue import Catalogue
from cliproxy.routing.listing import everything_listed
from cliproxy.wire.model import ModelFacts

_CHANNELS = {"gemini": "gemini", "openai": "codex", **{name: name for name in VENDORS}}


class ListedModel(TypedDict):
    id: str
    display_name: str
    provider: str
    context_tokens: int | None
    max_output_tokens: int | None
    thinking: dict[str, Any] | None


class ListedModels(TypedDict):
    models: list[ListedModel]


class Definitions(TypedDict):
    channel: str
    models: list[dict[str, Any]]


async def _list(call: Call[None, None]) -> dict[str, Any]:
    running, memory = call.operator.running, call.operator.memory
    config = running.config
    credentials = [*credentials_of(config), *running.accounts.credentials(), *memory.members.credentials()]
    catalogue = Catalogue(credentials, running.registry, force_prefix=config.force_model_prefix)
    return {
        "models": [
            {
                "id": model.name,
                "display_name": model.display_name,
                "provider": model.provider,
                "context_tokens": model.facts.context_tokens,
                "max_output_tokens": model.facts.max_output_tokens,
                "thinking": _thinking(model.facts),
            }
            for model in everything_listed(catalogue, config.models)
        ]
    }


async def _define(call: Call[None, None]) -> dict[str, Any]:
    channel = call.place["channel"].strip().lower()
    if channel not in _CHANNELS:
        raise ManagementFault(400, "unknown channel", f"one of {', '.join(sorted(_CHANNELS))}")
    provider = _CHANNELS[channel]
    models = []
    for model in call.operator.running.registry.of(provider):
        facts = model.facts
        entry = {
            "id": model.name,
            "object": "model",
            "owned_by": provider,
            "type": provider,
            "display_name": model.display_name,
            "context_length": facts.context_tokens,
            "max_completion_tokens": facts.max_output_tokens,
            "thinking": _thinking(facts),
        }
        models.append({name: value for name, value in entry.items() if value is not None})
    return {"channel": channel, "models": models}


def _thinking(facts: ModelFacts) -> dict[str, Any] | None:
    thinking = facts.thinking
    if thinking is None:
        return None
    return {
        "min": thinking.min or 0,
        "max": thinking.max or 0,
        "zero_allowed": thinking.zero_allowed,
        "dynamic_allowed": thinking.dynamic_allowed,
        "levels": list(thinking.levels),
    }


ENDPOINTS: Sequence[Endpoint] = (
    Endpoint("GET", "/models", _list, "The models that clients are listed", answer=ListedModels),
    Endpoint(
        "GET", "/model-definitions/{channel}", _define, "What is known of a provider's models", answer=Definitions
    ),
)
