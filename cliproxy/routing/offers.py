"""What an account offers: its vendor's models, as the config renames and excludes them (`oauth-model-alias`,
`oauth-excluded-models`)."""

from collections.abc import Sequence

from cliproxy.config.schema import OAuthAlias
from cliproxy.credentials.record import OfferedModel
from cliproxy.routing.registry import Registry
from cliproxy.wildcard import matches


def offered_models(
    vendor_name: str, plan: str, aliases: Sequence[OAuthAlias], excluded: Sequence[str], registry: Registry
) -> tuple[OfferedModel, ...]:
    """The models of an account of a vendor, by the names that clients use.

    plan: what the account says of itself, may be empty. An alias takes the place of the model's own name unless it says
    `fork`; the first of several models under one alias has it, and one that says nothing new is passed over. A model
    that the registry does not know can be reached through its alias all the same. excluded: patterns of either name.
    """
    known = {model.name: model.display_name for model in registry.of(vendor_name, plan)}
    spelling = {name.lower(): name for name in known}
    renamed: dict[str, list[OAuthAlias]] = {}
    taken: set[str] = set()
    for alias in aliases:
        folded = alias.alias.lower()
        if folded != alias.name.lower() and folded not in taken:
            taken.add(folded)
            renamed.setdefault(spelling.get(alias.name.lower(), alias.name), []).append(alias)
    offered: list[OfferedModel] = []
    for name in dict.fromkeys((*known, *renamed)):
        others = renamed.get(name, ())
        keeps_its_name = not others or any(alias.fork for alias in others)
        if name in known and keeps_its_name and name.lower() not in taken:
            offered.append(OfferedModel(name, name, known[name]))
        for alias in others:
            shown = alias.display_name or known.get(name, "")
            offered.append(OfferedModel(alias.alias, name, shown, force_mapping=alias.force_mapping))
    return tuple(model for model in offered if not _excludes(excluded, model))


def _excludes(patterns: Sequence[str], model: OfferedModel) -> bool:
    return any(matches(pattern, name) for pattern in patterns for name in (model.name, model.upstream))
