"""Error rules, payload rules, aliases and chains."""

import pytest
from pydantic import ValidationError

from cliproxy.config.schema import ErrorRule, ModelChain, PayloadSelector, RawPayloadRule


def test_an_error_rule_has_compiled_expressions() -> None:
    rule = ErrorRule.model_validate({"status": 400, "match_regexr": ["too long$"], "action": "stop_and_cooldown"})
    assert rule.match_regexr[0].search("prompt is too long")
    assert rule.action == "stop-and-cooldown"


@pytest.mark.parametrize(
    "values", [{"status": 99, "action": "stop"}, {"status": 600, "action": "stop"}, {"status": 400}]
)
def test_an_error_rule_has_a_status_and_an_action(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ErrorRule.model_validate(values)


@pytest.mark.parametrize(
    ("protocol", "meaning"),
    [("openai", "openai-chat"), ("responses", "openai-responses"), ("claude", "anthropic"), ("gemini", "gemini"),
     ("codex", "codex"), ("antigravity", "antigravity"), ("anthropic", "anthropic")],
)  # fmt: skip
def test_protocols_have_cliproxyapis_names_too(protocol: str, meaning: str) -> None:
    assert PayloadSelector.model_validate({"protocol": protocol}).protocol == meaning


def test_a_selector_without_a_name_is_for_every_model() -> None:
    assert PayloadSelector().name == "*"


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"a": "{}", "b": 5, "c": [1]}, None),
        ({"a": "text"}, "its params have a value that is not JSON"),
        ({"a": ""}, "its params have a value that is not JSON"),
        ([], None),
    ],
)
def test_raw_values_are_json(params: object, reason: str | None) -> None:
    assert RawPayloadRule.why_skipped({"params": params}) == reason


def test_a_chain_goes_on_when_quota_is_used_up_or_the_upstream_fails() -> None:
    assert ModelChain(targets=("a", "b")).on == ("quota", "error")
