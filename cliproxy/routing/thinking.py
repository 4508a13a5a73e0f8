"""A thinking suffix (`model(high)`) on a call whose body passes through: written into it in its own format's words."""

from cliproxy.wire import json
from cliproxy.wire.model import Format, Json, ModelFacts, ReasoningIntent, Request, Sampling, Text, Turn
from cliproxy.wire.translation import CODECS

_FIELDS: dict[Format, tuple[str, ...]] = {
    "openai-chat": ("reasoning_effort",),
    "openai-responses": ("reasoning",),
    "anthropic": ("thinking", "output_config", "max_tokens"),
    "gemini": ("generationConfig",),
}
"""Where each format says how much to think."""
_SHARED = {
    "reasoning": ("effort",),
    "output_config": ("effort",),
    "generationConfig": ("thinkingConfig", "thinking_config"),
}
"""Fields that say other things as well: only these members of theirs are about thinking."""


def with_reasoning(body: bytes, format_: Format, intent: ReasoningIntent, facts: ModelFacts) -> bytes:
    """The same request with the reasoning that `intent` asks for; everything else keeps its meaning."""
    value: Json = json.loads(body)
    limit = value.get("max_tokens")
    sampling = Sampling(max_tokens=limit if isinstance(limit, int) else None)
    # The format's own encoder knows the words and the limits: let it say them for a request that says nothing else.
    asked = Request(format_, facts.name, [Turn("user", [Text("-")])], sampling=sampling, reasoning=intent)
    said = CODECS[format_].encode_request(asked, facts).body
    for name in _FIELDS[format_]:
        if name in _SHARED:
            # Google's clients write this one either way.
            written = "generation_config" if name == "generationConfig" and "generation_config" in value else name
            kept = value.get(written)
            kept = {k: v for k, v in kept.items() if k not in _SHARED[name]} if isinstance(kept, dict) else {}
            new = {k: v for k, v in said.get(name, {}).items() if k in _SHARED[name]}
            if kept or new:
                value[written] = {**kept, **new}
        elif name in said:
            value[name] = said[name]
        else:
            value.pop(name, None)
    return json.dumps(value)
