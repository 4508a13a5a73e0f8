"""cliproxy.providers.kiro.models: Anthropic's names of Claude become Kiro's, all others stay."""

import pytest

from cliproxy.providers.kiro.models import model_id


@pytest.mark.parametrize(
    ("name", "id"),
    [
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4.5"),
        ("claude-sonnet-4-5", "claude-sonnet-4.5"),
        ("claude-sonnet-4.5", "claude-sonnet-4.5"),
        ("claude-sonnet-4-20250514", "claude-sonnet-4"),
        ("claude-sonnet-4", "claude-sonnet-4"),
        ("claude-opus-5", "claude-opus-5"),
        ("claude-opus-5-5", "claude-opus-5.5"),
        ("claude-haiku-4-5-20251001", "claude-haiku-4.5"),
        ("claude-3-7-sonnet-20250219", "claude-3.7-sonnet"),
        ("claude-3-7-sonnet-latest", "claude-3.7-sonnet"),
        ("deepseek-3.2", "deepseek-3.2"),
        ("gpt-5.6-luna", "gpt-5.6-luna"),
        ("auto", ""),
    ],
)
def test_ids(name: str, id: str) -> None:
    assert model_id(name) == id
