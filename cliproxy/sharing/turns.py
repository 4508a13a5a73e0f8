"""What a pool tells other gateways and hears from them: who is sidelined, and which session is whose."""

from typing import Any

import msgspec

from cliproxy.credentials.affinity import Affinity, Binding
from cliproxy.credentials.cooldown import Cooldowns, SavedCooldown
from cliproxy.sharing.board import Board, Id

_MAX_MESSAGE = 500


def share_cooldowns(cooldowns: Cooldowns, board: Board) -> None:
    """Have the same cooldowns everywhere."""

    def changed(credential_id: str, model: str) -> None:
        saved = cooldowns.saved(credential_id, model)
        if saved:
            saved.message = saved.message.encode(errors="replace").decode()[:_MAX_MESSAGE]
        board.tell("cooldown", (credential_id, model), msgspec.to_builtins(saved), saved.until_s if saved else 0.0)

    def heard(id: Id, content: Any) -> None:
        if content is None:
            credential_id, model = id
            cooldowns.drop(credential_id, model)
        else:
            cooldowns.take(msgspec.convert(content, SavedCooldown))

    cooldowns.changed = changed
    board.follow("cooldown", heard)


class _Bound(msgspec.Struct):
    credential: str
    model: str
    until_s: float


def share_sessions(affinity: Affinity, board: Board) -> None:
    """Have the same sessions everywhere."""

    def changed(session: str, model: str, binding: Binding | None) -> None:
        content, until_s = None, 0.0
        if binding:
            until_s = binding.until_s
            content = {"credential": binding.credential_id, "model": binding.model, "until_s": until_s}
        board.tell("session", (session, model), content, until_s)

    def heard(id: Id, content: Any) -> None:
        session, model = id
        if content is None:
            affinity.drop(session, model)
        else:
            bound = msgspec.convert(content, _Bound)
            affinity.take(session, model, bound.credential, bound.model, bound.until_s)

    affinity.changed = changed
    board.follow("session", heard)
