"""Whether the gateway can serve: for load balancers without details, for its operator with them."""

from collections.abc import Sequence
from typing import Any, Literal, NotRequired, TypedDict

from starlette.responses import Response

from cliproxy.management.configuration import running_version
from cliproxy.management.endpoint import Call, Endpoint, json_response
from cliproxy.management.faults import ManagementFault
from cliproxy.management.inventory import inventory, is_usable
from cliproxy.management.operating import Operator
from cliproxy.stores.replica import Replica


class CredentialsCheck(TypedDict):
    ok: bool
    usable: int
    total: int
    detail: str


class LedgerCheck(TypedDict):
    ok: bool
    enabled: bool
    lost: int
    detail: str


class ConfigCheck(TypedDict):
    ok: bool
    version: str
    path: str
    warnings: list[str]
    detail: str


class StoreCheck(TypedDict):
    ok: bool
    name: str
    """`PostgreSQL`, `S3` or `Git`."""
    away_since_s: float | None
    """None: it is there."""
    detail: str


class Checks(TypedDict):
    credentials: CredentialsCheck
    ledger: LedgerCheck
    config: ConfigCheck
    store: NotRequired[StoreCheck]
    """Only where there is one."""


class Health(TypedDict):
    status: Literal["ready", "not ready"]
    version: str
    started_s: float
    mitmweb_url: str | None
    checks: Checks


async def checks(operator: Operator) -> Checks:
    """Each with whether it is well, and why not."""
    found: Checks = {
        "credentials": _credentials(operator),
        "ledger": _ledger(operator),
        "config": await _config(operator),
    }
    if replica := operator.running.replica:
        found["store"] = _store(replica)
    return found


def _credentials(operator: Operator) -> CredentialsCheck:
    entries = inventory(operator)
    # The demo answers for want of anything else.
    counted = [entry for entry in entries if entry.kind != "demo"] or entries
    usable = sum(is_usable(operator, entry) for entry in counted)
    detail = "" if usable else "no credential can be used now" if counted else "there is no credential"
    return {"ok": usable > 0, "usable": usable, "total": len(counted), "detail": detail}


def _ledger(operator: Operator) -> LedgerCheck:
    ledger = operator.running.ledger
    if ledger is None:
        return {"ok": True, "enabled": False, "lost": 0, "detail": ""}
    return {"ok": not ledger.trouble, "enabled": True, "lost": ledger.lost, "detail": ledger.trouble}


async def _config(operator: Operator) -> ConfigCheck:
    try:
        version, trouble = (await operator.config_file.read()).version, operator.config_trouble
    except ManagementFault as fault:
        version, trouble = "", str(fault)
    return {
        "ok": not trouble,
        "version": version,
        "path": str(operator.config_file.path),
        "warnings": list(operator.running.warnings),
        "detail": trouble,
    }


def _store(replica: Replica) -> StoreCheck:
    troubles = [replica.trouble] if replica.trouble else [f"{path}: {why}" for path, why in replica.unfit.items()]
    since_s = replica.away_since_s if replica.trouble else None
    return {"ok": not troubles, "name": replica.store_name, "away_since_s": since_s, "detail": "; ".join(troubles)}


async def _health(call: Call[None, None]) -> Response:
    operator = call.operator
    found = await checks(operator)
    is_ready = _is_ready(found)
    health: Health = {
        "status": "ready" if is_ready else "not ready",
        "version": running_version(),
        "started_s": operator.started_s,
        "mitmweb_url": operator.mitmweb_url or None,
        "checks": found,
    }
    return json_response(health, 200 if is_ready else 503)


def _is_ready(found: Checks) -> bool:
    # A change of the config that cannot be used leaves the one before in force; of a store there is a copy.
    return found["credentials"]["ok"] and found["ledger"]["ok"]


async def ready(operator: Operator) -> Response:
    """What whoever asks may know: which of the checks fails, not why."""
    found = await checks(operator)
    is_ready = _is_ready(found)
    told: dict[str, Any] = {
        "credentials": {"ok": found["credentials"]["ok"], "usable": found["credentials"]["usable"]},
        "ledger": {"ok": found["ledger"]["ok"]},
        "config": {"ok": found["config"]["ok"]},
    }
    if store := found.get("store"):
        told["store"] = {"ok": store["ok"]}
    return json_response({"status": "ready" if is_ready else "not ready", "checks": told}, 200 if is_ready else 503)


ENDPOINTS: Sequence[Endpoint] = (
    Endpoint("GET", "/health", _health, "Whether it can serve, and what is wrong", answer=Health, unwell=True),
)
