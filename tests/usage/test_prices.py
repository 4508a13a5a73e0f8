"""List prices: which model is meant, and that the sum is the package's own."""

import subprocess
import sys
from datetime import UTC, datetime

import pytest
from genai_prices import Usage as TableUsage
from genai_prices.data_snapshot import get_snapshot

from cliproxy.usage.prices import cost_usd
from cliproxy.wire.model import Usage


def shapes() -> dict[str, tuple[str, str]]:
    """One model of the table for each way in which models are priced: what has a price, by tiers or not, free or not."""
    found: dict[str, tuple[str, str]] = {}
    some_day = datetime(2026, 1, 1, tzinfo=UTC)
    for vendor in get_snapshot().providers:
        for model in vendor.models:
            # A few entries are known only by a longer name, or by a name that an earlier one has as well.
            if vendor.find_model(model.id) is model:
                prices = {name: price for name, price in vars(model.get_prices(some_day)).items() if price is not None}
                shape = " ".join(
                    f"{name}:{type(price).__name__}:{bool(price)}" for name, price in sorted(prices.items())
                )
                found.setdefault(shape, (vendor.id, model.id))
    return found


@pytest.mark.parametrize(("vendor", "model"), shapes().values())
def test_the_price_is_what_the_package_calculates(vendor: str, model: str) -> None:
    priced, known = get_snapshot().find_provider_model(model, None, vendor, None)
    # Below all tiers; above them only by the sum of all input; with no input at all.
    for fresh, read, written, output in ((1000, 200, 30, 4), (99_000, 1_000_000, 99_000, 9_000), (0, 0, 0, 7)):
        usage = TableUsage(
            input_tokens=fresh + read + written,
            cache_read_tokens=read,
            cache_write_tokens=written,
            output_tokens=output,
        )
        expected = float(known.calc_price(usage, priced).total_price)
        assert cost_usd(vendor, model, Usage(fresh, read, written, output)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("provider", "model", "vendor"),
    [
        ("claude", "claude-sonnet-4-5", "anthropic"),
        ("codex", "gpt-5", "openai"),
        ("gemini", "gemini-2.5-pro", "google"),
        ("vertex", "gemini-2.5-pro", "google"),
        ("xai", "grok-4", "x-ai"),
        ("kimi", "kimi-k2-turbo-preview", "moonshotai"),
        ("openrouter", "moonshotai/kimi-k2", "openrouter"),
        ("my-relay", "claude-sonnet-4-5", "anthropic"),
        ("claude", "gpt-5", "openai"),
        ("antigravity", "gemini-2.5-pro", "google"),
    ],
)
def test_our_providers_are_found_in_the_table(provider: str, model: str, vendor: str) -> None:
    priced, known = get_snapshot().find_provider_model(model, None, vendor, None)
    expected = known.calc_price(TableUsage(input_tokens=1000, output_tokens=1000), priced).total_price
    assert expected > 0
    assert cost_usd(provider, model, Usage(1000, 0, 0, 1000)) == pytest.approx(float(expected))


@pytest.mark.parametrize(("provider", "model"), [("demo", "demo"), ("my-relay", "no-such-model"), ("claude", "")])
def test_an_unknown_model_has_no_price(provider: str, model: str) -> None:
    assert cost_usd(provider, model, Usage(1000, 0, 0, 1000)) is None


def test_a_count_that_is_not_reported_costs_nothing() -> None:
    assert cost_usd("claude", "claude-sonnet-4-5", Usage(input=1000)) == cost_usd(
        "claude", "claude-sonnet-4-5", Usage(1000, 0, 0, 0)
    )
    assert cost_usd("claude", "claude-sonnet-4-5", Usage()) == 0


def test_the_table_is_loaded_only_when_a_price_is_asked_for() -> None:
    code = (
        "import sys; from cliproxy.usage import prices; assert 'genai_prices' not in sys.modules;"
        "prices.warm_up(); assert 'genai_prices.data' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
