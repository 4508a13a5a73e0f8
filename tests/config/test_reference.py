"""docs/configuration.md is the schema's reference, and says what has no effect yet."""

from pathlib import Path

from cliproxy.config import Config, parse_config
from cliproxy.config.compat import NOT_YET
from cliproxy.config.reference import markdown

ROOT = Path(__file__).resolve().parents[2]


def test_the_document_is_up_to_date() -> None:
    assert (ROOT / "docs/configuration.md").read_text("utf-8") == markdown(), (
        "run: python -m cliproxy.config.reference > docs/configuration.md"
    )


def test_every_key_that_has_no_effect_yet_exists() -> None:
    assert set(NOT_YET) <= set(Config.model_fields)


def test_setting_a_key_without_effect_says_so() -> None:
    loaded = parse_config("request-log: true\nport: 1\n", "config.yaml")
    assert [line for line in loaded.warnings if "request-log" in line and "no effect yet" in line]
    assert not parse_config("request-log: false\n", "config.yaml").warnings
