"""docs/providers.md says of each provider what is true of the program."""

import re
from pathlib import Path

import pytest

from cliproxy.config import parse_config
from cliproxy.credentials.linked import TOOLS
from cliproxy.providers import VENDORS

PAGE = (Path(__file__).parents[1] / "docs" / "providers.md").read_text("utf-8")
SECTIONS = {
    part.partition("\n")[0].split()[0]: part for part in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
}  # fmt: skip
"""By the first word of their headings."""


@pytest.mark.parametrize("name", VENDORS)
def test_a_provider_has_a_section_with_its_addresses(name: str) -> None:
    vendor, section = VENDORS[name], SECTIONS[name]
    assert f"| [`{name}`](#" in PAGE
    assert vendor.base_url in section
    assert "**Terms.**" in section
    registration = vendor.registration
    if registration and "browser" in vendor.flows:
        assert registration.redirect_uri in section
    if registration and vendor.flows and not registration.client_id:
        assert "**Registration.**" in section
    assert bool(vendor.flows) == (f"cliproxy login {name}" in section)
    assert (name in TOOLS) == (f"cliproxy credentials link {name}`" in section)


def test_what_is_shown_as_config_is_one() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert blocks
    for block in blocks:
        assert not parse_config(block.replace("…", "x")).warnings
