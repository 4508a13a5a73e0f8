"""Where calls on behalf of the operator may go: to the upstreams that the gateway knows, and to hosts named for it."""

from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from cliproxy.config.schema import Config
from cliproxy.management.inventory import Entry
from cliproxy.management.operating import Operator
from cliproxy.oauth.registration import Registration
from cliproxy.providers import VENDORS
from cliproxy.providers.vendor import Place, Vendor
from cliproxy.wildcard import matches

Origin = tuple[str, str, int]
"""Scheme, host and port: another port of a host is another program."""

_PORTS = {"http": 80, "https": 443}


def origin_of(url: str) -> Origin | None:
    """None for what is no http(s) URL with a host, or names a user."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc:
        return None
    return parts.scheme, parts.hostname.lower(), port or _PORTS[parts.scheme]


def is_known(operator: Operator, origin: Origin, entries: Iterable[Entry]) -> bool:
    """Whether a call without a credential may go there."""
    return is_named(operator.running.config, origin) or any(
        origin == known for urls in (_of_vendors(operator), *map(_of_entry, entries)) for known in map(origin_of, urls)
    )


def is_own(operator: Operator, origin: Origin, entry: Entry) -> bool:
    """Whether an entry's token may go there: to its own provider, and where the operator lets all go."""
    if is_named(operator.running.config, origin):
        return True
    urls = [*_of_entry(entry)]
    if entry.account:
        vendor = entry.account.vendor
        urls += _of_vendor(vendor, operator.running.accounts.place_of(vendor))
    return any(origin == origin_of(url) for url in urls)


def is_named(config: Config, origin: Origin) -> bool:
    """Whether `api-call-hosts` has it."""
    return any(matches(pattern, origin[1]) for pattern in config.remote_management.api_call_hosts)


def _of_entry(entry: Entry) -> Iterator[str]:
    return (credential.base_url for credential in entry.credentials)


def _of_vendors(operator: Operator) -> Iterator[str]:
    for vendor in VENDORS.values():
        yield from _of_vendor(vendor, operator.running.accounts.place_of(vendor))


def _of_vendor(vendor: Vendor, place: Place) -> Iterator[str]:
    """Its own addresses, and those that the config has in their place."""
    for base_url, quota_url, registration in (
        (vendor.base_url, vendor.quota_url, vendor.registration),
        (place.base_url, place.quota_url, place.registration),
    ):
        yield from (base_url, quota_url)
        if registration:
            yield from _of_registration(registration)


def _of_registration(registration: Registration) -> tuple[str, ...]:
    return registration.token_url, registration.userinfo_url, registration.device_url, registration.authorize_url
