"""Auth files as CLIProxyAPI lists them: what they are, how they are, and how they did lately."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cliproxy.credentials.linked import OPENAI_CLAIMS
from cliproxy.credentials.timestamps import rfc3339
from cliproxy.management.activity import SLOT_S, Slot
from cliproxy.management.inventory import Entry, State, cooldowns_of, inventory, is_usable, state_of
from cliproxy.management.operating import Operator
from cliproxy.oauth.identity import claims

_STATUS: Mapping[State, str] = {"ready": "active", "disabled": "disabled"}
"""Words of CLIProxyAPI's; all others are `error`."""
_CLAIMS = {
    "chatgpt_account_id": "chatgpt_account_id",
    "chatgpt_plan_type": "plan_type",
    "chatgpt_subscription_active_start": "chatgpt_subscription_active_start",
    "chatgpt_subscription_active_until": "chatgpt_subscription_active_until",
}


def listed(operator: Operator) -> list[dict[str, Any]]:
    """All files, and pages that relay calls, by name. Looks at the files' sizes and times: blocks for a moment."""
    folder = Path(operator.running.config.auth_dir).expanduser()
    entries = [entry for entry in inventory(operator) if entry.kind in ("account", "member")]
    return sorted((_file(operator, entry, folder) for entry in entries), key=lambda file: file["name"].lower())


def _file(operator: Operator, entry: Entry, folder: Path) -> dict[str, Any]:
    cooldowns = cooldowns_of(operator, entry)
    state, reason, until_s = state_of(operator, entry, cooldowns)
    success, failed, slots = operator.activity.of(entry.labels)
    is_member = entry.kind == "member"
    return {
        "id": entry.name or entry.auth_index,
        "auth_index": entry.auth_index,
        "name": entry.name or entry.label,
        "type": entry.provider,
        "provider": entry.provider,
        "label": entry.label,
        "status": _STATUS.get(state, "error"),
        "status_message": reason,
        "disabled": entry.disabled,
        "unavailable": not entry.disabled and not is_usable(operator, entry),
        "runtime_only": is_member,
        "success": success,
        "failed": failed,
        "recent_requests": recent_requests(slots),
        **({"next_retry_after": rfc3339(until_s)} if until_s else {}),
        **_of_account(entry),
        **({"source": "memory", "size": 0} if is_member else _of_file(folder / entry.name)),
    }


def recent_requests(slots: list[Slot]) -> list[dict[str, Any]]:
    """Slots as CLIProxyAPI shows them: `15:00-15:10` by this machine's clock."""

    def clock(moment_s: int) -> str:
        return time.strftime("%H:%M", time.localtime(moment_s))

    return [
        {
            "time": f"{clock(slot.start_s)}-{clock(slot.start_s + SLOT_S)}",
            "success": slot.success,
            "failed": slot.failed,
        }
        for slot in slots
    ]


def _of_account(entry: Entry) -> dict[str, Any]:
    account = entry.account
    if account is None:
        return {}
    file = account.file
    found: dict[str, Any] = {
        "account_type": "api_key" if file.fields.get("api_key") and not file.refresh_token else "oauth",
        "account": account.label,
        "email": file.email,
        "project_id": str(file.fields.get("project_id") or ""),
        "note": file.note,
        "last_refresh": rfc3339(file.last_refresh_s) if file.last_refresh_s else "",
    }
    found = {name: value for name, value in found.items() if value}
    settings = {
        "priority": file.priority,
        "weight": file.weight,
        "websockets": file.websockets,
        "request_retry": file.request_retry,
    }
    found |= {name: value for name, value in settings.items() if name in file.fields}
    if entry.provider == "codex" and (told := _codex_claims(file.fields)):
        found["id_token"] = told
    return found


def _codex_claims(fields: Mapping[str, Any]) -> dict[str, Any]:
    stated = claims(str(fields.get("id_token") or "")).get(OPENAI_CLAIMS)
    stated = stated if isinstance(stated, dict) else {}
    return {name: stated[claim] for claim, name in _CLAIMS.items() if stated.get(claim)}


def _of_file(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"source": "file", "path": str(path), "size": 0}
    try:
        stat: os.stat_result = path.stat()
    except OSError:
        return found
    modified = rfc3339(stat.st_mtime)
    return found | {
        "size": stat.st_size,
        "created_at": rfc3339(stat.st_ctime),
        "modtime": modified,
        "updated_at": modified,
    }


def models_of(operator: Operator, entry: Entry) -> list[dict[str, str]]:
    """The models that an entry offers."""
    registry = operator.running.registry
    found: dict[str, dict[str, str]] = {}
    for credential in entry.credentials:
        offered = [(model.name, model.display_name) for model in credential.models] or [
            (model.name, model.display_name) for model in registry.of(credential.provider, base_url=credential.base_url)
        ]
        for name, display_name in offered:
            model = {"id": name, "display_name": display_name or name, "type": entry.provider}
            found.setdefault(name, model | {"owned_by": entry.provider})
    return list(found.values())
