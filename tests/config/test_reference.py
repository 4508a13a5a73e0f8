"""docs/configuration.md is the schema's reference."""

from pathlib import Path

from cliproxy.config.reference import markdown

ROOT = Path(__file__).resolve().parents[2]


def test_the_document_is_up_to_date() -> None:
    assert (ROOT / "docs/configuration.md").read_text("utf-8") == markdown(), (
        "run: python -m cliproxy.config.reference > docs/configuration.md"
    )
