"""What tokens cost by the vendors' list prices, from the table in the package genai-prices. Nothing is fetched: the
prices are as old as the installed package. Accounts with a subscription are priced as if they paid by the token."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from cliproxy.wire.model import Usage

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo

_VENDORS = {
    "aistudio": "google",
    "claude": "anthropic",
    "codex": "openai",
    "gemini": "google",
    "gemini-cli": "google",
    "kimi": "moonshotai",
    "vertex": "google",
    "xai": "x-ai",
}
"""Our providers' names in the table, where they differ and stand for one vendor."""
_PER_TOKENS, _PER_REQUESTS = 1_000_000, 1_000


def cost_usd(provider: str, model: str, usage: Usage) -> float | None:
    """The price of one exchange; None where no price is known for the model.

    provider: one of ours, or the name of an OpenAI-compatible upstream. model: as the upstream calls it. The first call
    loads the table, which takes up to half a second: `warm_up` does that elsewhere.
    """
    known = _find(provider, model)
    if known is None:
        return None
    from genai_prices.types import calc_unit_price

    prices = known.get_prices(datetime.now(UTC))
    fresh, read, written = usage.input or 0, usage.cache_read or 0, usage.cache_write or 0
    total = fresh + read + written
    # The package's own `calc_price` says the same, and takes more than ten times as long.
    tokens = (
        (prices.input_mtok, fresh),
        (prices.input_mtok if prices.cache_read_mtok is None else prices.cache_read_mtok, read),
        (prices.input_mtok if prices.cache_write_mtok is None else prices.cache_write_mtok, written),
        (prices.output_mtok, usage.output or 0),
    )
    by_token = sum(calc_unit_price(price, count, total, _PER_TOKENS) for price, count in tokens)
    return float(by_token + calc_unit_price(prices.requests_kcount, 1, total, _PER_REQUESTS))


def warm_up() -> None:
    """Load the table of prices. Meant for a thread, at the start of a gateway that will need it."""
    _find("codex", "gpt-5")


@lru_cache(maxsize=1024)
def _find(provider: str, model: str) -> "ModelInfo | None":
    from genai_prices.data_snapshot import get_snapshot

    # An upstream of any name, or a vendor's API in other hands, may offer other vendors' models: then the name tells.
    for vendor in (_VENDORS.get(provider, provider), None):
        try:
            return get_snapshot().find_provider_model(model, None, vendor, None)[1]
        except LookupError:
            continue
    return None
