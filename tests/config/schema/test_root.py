"""The whole configuration: its defaults, what holds between keys, and that every key is documented."""

import re

import pytest
from pydantic import ValidationError

from cliproxy.config import Config, parse_config
from cliproxy.config.compat import Document
from cliproxy.config.reference import Row, rows
from cliproxy.config.schema import Section

ROWS = list(rows(Document))
UNITS = re.compile(
    r"seconds|milliseconds|megabytes|bytes|tokens|dollars|in number|how many|requests|port\b|status|higher number|share|rounds",
    re.IGNORECASE,
)


def test_the_reference_has_the_keys_of_every_section() -> None:
    by_key = {row.key: row for row in ROWS}
    assert len(by_key) == len(ROWS) > 300
    assert by_key["port"] == Row("port", "whole number", "8317", "Port to listen on. 0 = any free port.")
    assert by_key["openai-compatibility[].models[].thinking.levels"].kind == "list of text"
    assert by_key["providers.*.oauth.client-secret"].kind == "secret text"


def test_every_key_is_documented_with_a_sentence_on_one_line() -> None:
    assert [row.key for row in ROWS if not re.fullmatch(r"[A-Z`].*\.", row.description)] == []


NUMBERS = [row for row in ROWS if row.kind in {"whole number", "number"}]


def test_every_number_has_a_unit() -> None:
    assert [row.key for row in NUMBERS if not UNITS.search(row.description)] == []


def test_every_number_whose_default_stands_for_something_else_says_what_for() -> None:
    stand_ins = [row for row in NUMBERS if row.default in {"0", "0.0", "-1", "None"}]
    assert len(stand_ins) > 10
    assert [row.key for row in stand_ins if not re.search(r"\b0\b|absent|higher", row.description)] == []


def test_every_section_is_documented() -> None:
    pending: list[type[Section]] = [Section]
    for section in pending:
        pending += section.__subclasses__()
        assert section.__module__.startswith("tests.") or section.__doc__, section


def test_the_defaults_that_others_rely_on() -> None:
    config = Config()
    assert (config.host, config.port, config.demo, config.debug) == ("127.0.0.1", 8317, True, False)
    assert config.auth_dir == "~/.cli-proxy-api"
    assert config.max_request_body_bytes == 64 * 1024 * 1024
    assert (
        config.timeouts.connect_seconds,
        config.timeouts.first_byte_seconds,
        config.timeouts.idle_seconds,
    ) == (10, 600, 600)
    assert config.inspect.max_body_bytes == 1024 * 1024
    assert config.routing.session_affinity_ttl == 3600
    assert config.ws_auth is True


def test_a_body_limit_of_zero_is_the_default() -> None:
    assert Config(max_request_body_bytes=0).max_request_body_bytes == 64 * 1024 * 1024
    assert Config(max_request_body_bytes=1).max_request_body_bytes == 1


@pytest.mark.parametrize(
    ("written", "strategy"),
    [("rr", "round-robin"), ("wrr", "weighted-round-robin"), ("ff", "fill-first"), ("Fill_First", "fill-first"),
     ("fillfirst", "fill-first"), ("most-headroom", "most-headroom")],
)  # fmt: skip
def test_strategies_have_short_names(written: str, strategy: str) -> None:
    assert parse_config(f"routing: {{strategy: {written}}}").config.routing.strategy == strategy


def test_a_key_may_be_repeated_only_with_the_same_limits() -> None:
    same = Config.model_validate({"api-keys": [{"key": "a"}, {"key": "a"}]})
    assert len(same.api_keys) == 2
    with pytest.raises(ValidationError, match="entry 2 repeats a key with other limits"):
        Config.model_validate({"api-keys": [{"key": "a"}, {"key": "a", "rpm": 1}]})


def test_a_mapping_by_expression_needs_an_expression() -> None:
    mapping = {"from": "(", "to": "b"}
    assert Config.model_validate({"ampcode": {"model-mappings": [mapping]}}).ampcode.model_mappings[0].source == "("
    with pytest.raises(ValidationError, match="a regular expression in from"):
        Config.model_validate({"ampcode": {"model-mappings": [mapping | {"regex": True}]}})


def test_the_configuration_can_be_written_as_json_with_the_files_keys() -> None:
    config = parse_config("""
api-keys: [sk-test-1]
oauth-request-scoped-errors: {codex: [{status: 400, match-regexr: [a+], action: stop}]}
ampcode: {model-mappings: [{from: a, to: b}]}
""").config
    dumped = config.model_dump(mode="json", by_alias=True)
    assert dumped["api-keys"][0]["key"] == "**********"
    assert dumped["oauth-request-scoped-errors"]["codex"][0]["match-regexr"] == ["a+"]
    assert dumped["ampcode"]["model-mappings"][0] == {"from": "a", "to": "b", "regex": False}
