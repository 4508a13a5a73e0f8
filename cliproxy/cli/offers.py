"""What the gateway offers by its config, accounts included, for commands that start none."""

from cliproxy.accounts.accounts import Accounts
from cliproxy.config.schema import Config
from cliproxy.credentials import from_config
from cliproxy.credentials.record import Credential
from cliproxy.routing.catalogue import Catalogue
from cliproxy.routing.registry import registry_of


def credentials_of(config: Config) -> list[Credential]:
    """Those of the accounts, then those of the keys. Nothing is asked of anybody."""
    accounts = Accounts(config, registry_of(config.models_file))
    accounts.load()
    return [*accounts.credentials(), *from_config.credentials_of(config)]


def catalogue_of(config: Config) -> Catalogue:
    """All their models."""
    registry = registry_of(config.models_file)
    return Catalogue(credentials_of(config), registry, force_prefix=config.force_model_prefix)
