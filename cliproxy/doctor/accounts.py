"""Accounts, keys and models: who can answer."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from cliproxy.credentials.linked import FoundLogin
from cliproxy.doctor.finding import Finding, Level, command_in
from cliproxy.routing.catalogue import ListedModel

_LEVELS: dict[str, Level] = {"disabled": "note", "expired": "warning", "login needed": "warning", "broken": "warning"}


class Account(Protocol):
    """An account or key as `cliproxy credentials list` has it."""

    @property
    def name(self) -> str: ...
    @property
    def provider(self) -> str: ...
    @property
    def account(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def problem(self) -> str: ...


def accounts(rows: Iterable[Account], logins: Iterable[FoundLogin]) -> Iterator[Finding]:
    """What is wrong with single ones, how many are well, and logins of vendors' tools that could be used too."""
    ready: dict[str, int] = {}
    for row in rows:
        if row.state == "ready":
            ready[row.provider] = ready.get(row.provider, 0) + 1
            continue
        who = " ".join(filter(None, (row.name or "config.yaml", row.account and f"({row.account})")))
        why = f"{row.state}: {row.problem}" if row.problem else row.state
        mend = f"cliproxy credentials enable {row.name}" if row.state == "disabled" else command_in(row.problem)
        yield Finding("credentials", _LEVELS[row.state], f"{who} is {why}", mend)
    if ready:
        counted = ", ".join(f"{count} of {provider}" for provider, count in sorted(ready.items()))
        yield Finding("credentials", "ok", f"ready: {counted}")
    else:
        yield Finding(
            "credentials", "warning", "no account or key is ready: only demo can answer", "cliproxy login PROVIDER"
        )
    for login in logins:
        if not login.is_linked:
            yield Finding("logins", "note", login.sentence, command_in(login.sentence))


def models(listed: Sequence[ListedModel]) -> Finding:
    if not listed:
        return Finding(
            "models", "error", "the list of models is empty: nothing can be asked", "cliproxy login PROVIDER"
        )
    providers = sorted({model.provider for model in listed})
    counted = "1 model" if len(listed) == 1 else f"{len(listed)} models"
    return Finding("models", "ok", f"{counted} of {', '.join(providers)}")
