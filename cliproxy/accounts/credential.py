"""What the gateway offers for an account: credentials, with the account's own settings and those of the config."""

from collections.abc import Iterator

from cliproxy.accounts.account import LiveAccount
from cliproxy.accounts.variant import Variant
from cliproxy.config.schema import Config
from cliproxy.credentials.record import Account, Credential
from cliproxy.providers.vendor import Place
from cliproxy.routing.offers import offered_models
from cliproxy.routing.registry import Registry


def credentials_of(account: LiveAccount, place: Place, config: Config, registry: Registry) -> Iterator[Credential]:
    """One for each way of calling the account, the best first; the others are for when it cannot serve."""
    for number, changes in enumerate(account.vendor.variants(account.fields, place)):
        if number and "project_id" in changes and not config.quota_exceeded.switch_project:
            return
        way = Variant(account, number, changes) if number else account
        yield _credential(account, way, account.file.priority - number, place, config, registry)


def _credential(
    account: LiveAccount, way: Account, priority: int, place: Place, config: Config, registry: Registry
) -> Credential:
    """Settings of the auth file win over those of the config for the whole provider."""
    file, vendor = account.file, account.vendor
    name = vendor.name
    excluded = file.excluded_models or config.oauth_excluded_models.get(name, ())
    aliases = file.model_aliases or config.oauth_model_alias.get(name, ())
    return Credential(
        name,
        vendor.formats,
        vendor.base_url_of(way.fields, place).rstrip("/"),
        models=offered_models(name, str(file.fields.get("plan_type") or ""), aliases, excluded, registry),
        prefix=file.prefix,
        excluded=tuple(pattern.lower() for pattern in excluded),
        priority=priority,
        weight=file.weight,
        request_retry=file.request_retry,
        cools=not (config.disable_cooling if file.disable_cooling is None else file.disable_cooling),
        error_rules=file.request_scoped_errors or config.oauth_request_scoped_errors.get(name, ()),
        headers=file.headers,
        proxy_url=file.proxy_url,
        websockets=file.websockets,
        dialect=name,
        account=way,
    )
