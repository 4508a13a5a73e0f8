"""Model lists in the shapes that clients read: OpenAI's, Anthropic's and Gemini's."""

from collections.abc import Sequence

from cliproxy.routing.catalogue import ListedModel
from cliproxy.wire.errors import ClientFault
from cliproxy.wire.model import Format, Json

CREATED = "2025-01-01T00:00:00Z"
"""Upstreams do not tell when a model was made; clients only need the field to be there."""
CREATED_S = 1735689600


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
    entry: Json = {"id": model.name, "object": "model", "created": CREATED_S, "owned_by": model.provider}
    if model.facts.context_tokens:
        entry["context_length"] = model.facts.context_tokens
    if model.facts.max_output_tokens:
        entry["max_completion_tokens"] = model.facts.max_output_tokens
    return entry


def _anthropic(model: ListedModel) -> Json:
    return {
        "type": "model",
        "id": model.name,
        "display_name": model.display_name,
        "created_at": CREATED,
        "max_input_tokens": model.facts.context_tokens or 200_000,
        "max_tokens": model.facts.max_output_tokens or 64_000,
    }


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
    return entry
