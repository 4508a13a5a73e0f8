"""Where programs on this machine reach the gateway."""

import pytest

from cliproxy.config.loading import parse_config
from cliproxy.setup.address import gateway_url, is_same_place


@pytest.mark.parametrize(
    ("config", "url"),
    [
        ("", "http://127.0.0.1:8317"),
        ("port: 9000", "http://127.0.0.1:9000"),
        ('host: ""', "http://127.0.0.1:8317"),
        ("host: 0.0.0.0", "http://127.0.0.1:8317"),
        ('host: "::"', "http://[::1]:8317"),
        ('host: "::1"', "http://[::1]:8317"),
        ("host: gateway.example", "http://gateway.example:8317"),
        ("tls: {enable: true, cert: c.pem, key: k.pem}", "https://127.0.0.1:8317"),
    ],
)
def test_the_config_says_where(config: str, url: str) -> None:
    assert gateway_url(parse_config(config).config) == url


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ("http://127.0.0.1:8317/v1", True),
        ("http://localhost:8317/", True),
        ("http://[::1]:8317", True),
        ("http://127.0.0.1:8318", False),
        ("https://127.0.0.1:8317", False),
        ("http://127.0.0.1", False),
        ("http://gateway.example:8317", False),
        ("http://127.0.0.1:none", False),
        ("", False),
    ],
)
def test_the_same_place_may_be_written_in_many_ways(other: str, same: bool) -> None:
    assert is_same_place(other, "http://127.0.0.1:8317") is same


def test_a_usual_port_need_not_be_written() -> None:
    assert is_same_place("https://gateway.example/v1", "https://gateway.example:443")
