"""The config's words about a vendor."""

import json

from cliproxy.accounts.place import place_of
from cliproxy.config.loading import parse_config
from cliproxy.providers import VENDORS


def test_what_the_config_does_not_say_is_the_vendors_own() -> None:
    vendor = VENDORS["codex"]
    place = place_of(vendor, parse_config("").config)
    assert (place.base_url, place.quota_url) == (vendor.base_url, vendor.quota_url)
    assert place.registration == vendor.registration


def test_the_config_moves_any_address_and_the_registration() -> None:
    oauth = {
        "client-id": "mine", "client-secret": "test-secret", "authorize-url": "https://a.example/authorize",
        "token-url": "https://a.example/token", "device-url": "https://a.example/device",
        "userinfo-url": "https://a.example/me", "redirect-port": 4321, "scopes": ["one", "two"],
    }  # fmt: skip
    section = {"base-url": "https://b.example/v1/", "quota-url": "https://q.example", "oauth": oauth}
    place = place_of(VENDORS["codex"], parse_config(json.dumps({"providers": {"codex": section}})).config)
    assert (place.base_url, place.quota_url) == ("https://b.example/v1", "https://q.example")
    registration = place.registration
    assert registration
    assert (registration.client_id, registration.client_secret) == ("mine", "test-secret")
    assert registration.redirect_uri.startswith("http://localhost:4321/")
    assert (registration.token_url, registration.scopes) == ("https://a.example/token", ("one", "two"))
    # What is not said stays.
    assert VENDORS["codex"].registration
    assert registration.authorize_params == VENDORS["codex"].registration.authorize_params
    assert "test-secret" not in repr(registration)
