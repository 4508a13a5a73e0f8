"""What to ask of a Claude model's thinking: the shapes of the API's setting, and the rules around it."""

from msgspec import Struct

from cliproxy.wire import reasoning
from cliproxy.wire.anthropic.vocabulary import THINKING_TYPES
from cliproxy.wire.encoding import Encoding
from cliproxy.wire.model import Json

DEFAULT_MAX_TOKENS = 8192
"""The API demands a limit; this is what the smallest of the models that are still served can write."""

_MIN_BUDGET = 1024
_MIN_TOP_P = 0.95


class Thinking(Struct):
    """The settings that go together."""

    max_tokens: int
    config: Json | None = None
    """The body's `thinking`."""
    effort: str | None = None
    """The body's `output_config.effort`."""

    def is_on(self) -> bool:
        return self.config is not None and self.config["type"] != "disabled"

    def refusal(self, name: str, value: float) -> str | None:
        """Why the API would refuse a sampling setting beside these."""
        if not self.is_on():
            return None
        if name == "temperature":
            return None if value == 1 else "must be 1 while thinking is on"
        if name == "top_p":
            return None if value >= _MIN_TOP_P else f"must be at least {_MIN_TOP_P} while thinking is on"
        return "cannot be set while thinking is on"


def encode_thinking(encoding: Encoding, messages: list[Json], choice: Json | None) -> Thinking:
    """What to ask of thinking, and the output limit that goes with it.

    messages, choice: those of the body, which may exclude thinking. Raises ClientFault for an effort or budget that the
    model does not take, as an Anthropic client should know.
    """
    facts = encoding.facts
    asked = encoding.max_tokens()
    max_tokens = asked or facts.max_output_tokens or DEFAULT_MAX_TOKENS
    setting = reasoning.fit(encoding.request.reasoning, facts, cross=not encoding.own)
    if setting is None:
        return Thinking(max_tokens)
    if not setting.on:
        return Thinking(max_tokens, {"type": "disabled"})
    if setting.effort is None and setting.budget is None and not setting.adaptive:
        return Thinking(max_tokens)
    if choice is not None and choice["type"] in ("any", "tool"):
        encoding.drop("reasoning", "a forced tool_choice and thinking exclude each other")
        return Thinking(max_tokens)
    display = {True: "summarized", False: "omitted", None: None}[setting.visible]
    if setting.adaptive or not setting.budget or setting.budget < 0:
        effort = "low" if setting.effort in ("none", "minimal") else setting.effort
        config: Json = {"type": "adaptive"} if display is None else {"type": "adaptive", "display": display}
        return Thinking(max_tokens, config, effort)
    if not _may_think(messages):
        encoding.drop("reasoning", "the turn in progress does not begin with signed thinking")
        return Thinking(max_tokens)
    may_raise = asked is None and facts.max_output_tokens is None
    return _with_budget(encoding, setting.budget, max_tokens, may_raise=may_raise, omitted=display == "omitted")


def _with_budget(encoding: Encoding, budget: int, max_tokens: int, *, may_raise: bool, omitted: bool) -> Thinking:
    """A budget from 1024 up to below the output limit; that limit is raised only where nobody set one."""
    budget = max(budget, _MIN_BUDGET)
    if budget >= max_tokens:
        if may_raise:
            max_tokens = budget + DEFAULT_MAX_TOKENS
        elif max_tokens <= _MIN_BUDGET:
            encoding.drop("reasoning", f"max_tokens leaves no room for the least budget, {_MIN_BUDGET}")
            return Thinking(max_tokens)
        else:
            budget = max(_MIN_BUDGET, max_tokens * 3 // 4)
    config: Json = {"type": "enabled", "budget_tokens": budget}
    if omitted:
        # `summarized` is what the models with budgets do anyway.
        config["display"] = "omitted"
    return Thinking(max_tokens, config)


def _may_think(messages: list[Json]) -> bool:
    """Whether thinking with a budget may be on: the assistant's turn in progress must begin with thinking.

    A turn is in progress when the model waits for results of its calls, or shall go on from words put in its mouth. It
    goes back over all calls and results to the assistant's first message after the user last spoke. (Adaptive thinking
    does not ask for it.)
    """
    start: Json | None = None
    for message in reversed(messages):
        if message["role"] == "assistant":
            start = message
        elif all(block["type"] != "tool_result" for block in message["content"]):
            break
    return start is None or start["content"][0]["type"] in THINKING_TYPES


def drop_final_thinking(messages: list[Json]) -> None:
    """Thinking in the words that the model shall go on from is refused while thinking is off."""
    last = messages[-1]
    if last["role"] == "assistant":
        last["content"] = [block for block in last["content"] if block["type"] not in THINKING_TYPES]
