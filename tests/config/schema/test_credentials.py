"""Upstream entries and client keys."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from cliproxy.config.schema import ClientKey, CodexKey, GeminiKey, Model, OpenAICompatibility, Thinking


def refused(kind: type, values: dict[str, object]) -> str:
    with pytest.raises(ValidationError) as invalid:
        kind(**values)
    return invalid.value.errors()[0]["msg"]


def test_a_client_key_may_do_everything_unless_told_otherwise() -> None:
    key = ClientKey.model_validate({"key": "mine"})
    assert (key.models, key.providers, key.rpm, key.tpm, key.budget_usd, key.expires) == (
        (),
        (),
        0,
        0,
        0,
        None,
    )


@pytest.mark.parametrize("template", ["your-api-key-1", "your-api-key-2", " your-api-key-3 "])
def test_the_templates_keys_are_refused(template: str) -> None:
    assert "known to everyone" in refused(ClientKey, {"key": template})


@pytest.mark.parametrize("key", ["your-api-key-4", "my-your-api-key-1", "Your-Api-Key-1x"])
def test_keys_like_the_templates_are_not(key: str) -> None:
    assert ClientKey.model_validate({"key": key}).key.get_secret_value() == key


def test_an_empty_client_key_is_refused() -> None:
    assert "not empty" in refused(ClientKey, {"key": "  "})


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2027-01-31", datetime(2027, 1, 31, tzinfo=UTC)),
        ("2027-01-31T12:00:00Z", datetime(2027, 1, 31, 12, tzinfo=UTC)),
        ("2027-01-31T12:00:00+02:00", datetime(2027, 1, 31, 12, tzinfo=timezone(timedelta(hours=2)))),
    ],
)
def test_a_key_expires_at_a_moment(text: str, moment: datetime) -> None:
    assert ClientKey.model_validate({"key": "k", "expires": text}).expires == moment


@pytest.mark.parametrize("value", ["2027", "tomorrow", "2027-13-01", 1800000000, True])
def test_a_year_or_a_number_is_no_moment(value: object) -> None:
    assert "a date or time" in refused(ClientKey, {"key": "k", "expires": value})


def test_keys_and_headers_do_not_show_in_reprs() -> None:
    entry = GeminiKey.model_validate(
        {
            "api_key": "sk-test-1",
            "headers": {"Authorization": "sk-test-1"},
            "proxy_url": "http://u:sk-test-1@h",
        }
    )
    assert "sk-test-1" not in repr(entry)
    assert "sk-test-1" not in entry.model_dump_json(include={"api_key"})
    assert entry.api_key.get_secret_value() == "sk-test-1"


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "schlüssel"])
def test_a_key_that_no_header_can_carry_is_refused(key: str) -> None:
    assert "as a header must carry it" in refused(GeminiKey, {"api_key": key})


def test_a_key_may_have_spaces_around_it() -> None:
    assert GeminiKey.model_validate({"api_key": " k\n"}).api_key.get_secret_value() == "k"


@pytest.mark.parametrize(("rounds", "own"), [(None, None), (-1, None), (0, 0), (3, 3)])
def test_a_negative_number_of_retries_inherits(rounds: int | None, own: int | None) -> None:
    assert CodexKey.model_validate({"request_retry": rounds}).request_retry == own


@pytest.mark.parametrize(("weight", "fits"), [(1, True), (0, True), (-5, True), (1_000_000, True), (1_000_001, False)])
def test_weights_end_at_a_million(weight: int, fits: bool) -> None:
    if fits:
        assert CodexKey.model_validate({"weight": weight}).weight == weight
    else:
        assert "less than or equal to 1000000" in refused(CodexKey, {"weight": weight})


def test_formats_may_have_the_names_of_other_programs() -> None:
    formats = ["openai_chat", "responses", "anthropic_messages", "claude", "Gemini"]
    assert CodexKey.model_validate({"convert_from": formats}).convert_from == (
        "openai-chat", "openai-responses", "anthropic", "anthropic", "gemini",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("wire", "format"),
    [
        ("OpenAI_Responses", "openai-responses"),
        ("anthropic", "anthropic"),
        ("claude", "anthropic"),
        ("gemini", "gemini"),
        ("openai", "openai-chat"),
    ],
)
def test_a_compatible_upstream_speaks_one_of_the_formats(wire: str, format: str) -> None:
    assert OpenAICompatibility.model_validate({"name": "a"}).wire == "openai-chat"
    assert OpenAICompatibility.model_validate({"name": "a", "wire": wire}).wire == format
    assert "openai-responses" in refused(OpenAICompatibility, {"name": "a", "wire": "soap"})


def test_a_compatible_upstream_may_be_one_of_those_vendors_that_have_rules_of_their_own() -> None:
    assert OpenAICompatibility.model_validate({"name": "a"}).dialect is None
    assert OpenAICompatibility.model_validate({"name": "a", "dialect": "Kimi"}).dialect == "kimi"
    assert "glm" in refused(OpenAICompatibility, {"name": "a", "dialect": "claude"})
    assert "which qwen speaks" in refused(OpenAICompatibility, {"name": "a", "dialect": "qwen", "wire": "gemini"})


def test_clients_know_a_model_by_its_alias_or_its_name() -> None:
    assert Model(name="real").client_name == "real"
    assert Model(name="real", alias="fast").client_name == "fast"


def test_thinking_budgets_are_in_order() -> None:
    assert Thinking(min=128, max=0).min == 128
    assert "min to be at most max" in refused(Thinking, {"min": 2, "max": 1})
