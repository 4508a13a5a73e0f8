"""Where a vendor is: the values of its module, with those of `providers.<name>` in the config in their place."""

from dataclasses import replace

from cliproxy.config.schema import Config, OAuthClient
from cliproxy.oauth.registration import Registration
from cliproxy.providers.vendor import Place, Vendor


def place_of(vendor: Vendor, config: Config) -> Place:
    """Resolve a vendor's addresses and its OAuth registration."""
    section = config.providers.get(vendor.name)
    if section is None:
        return Place(vendor.base_url, vendor.quota_url, vendor.registration)
    return Place(
        (section.base_url or vendor.base_url).rstrip("/"),
        section.quota_url or vendor.quota_url,
        _registered(vendor.registration, section.oauth),
    )


def _registered(registration: Registration | None, client: OAuthClient) -> Registration | None:
    if registration is None:
        return None
    words = {
        "client_id": client.client_id,
        "client_secret": client.client_secret.get_secret_value(),
        "authorize_url": client.authorize_url,
        "token_url": client.token_url,
        "device_url": client.device_url,
        "userinfo_url": client.userinfo_url,
        "redirect_port": client.redirect_port,
        "scopes": client.scopes,
    }
    return replace(registration, **{name: value for name, value in words.items() if value})
