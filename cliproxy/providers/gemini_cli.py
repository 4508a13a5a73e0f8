"""Gemini CLI's login: Google's Code Assist for individuals and organisations."""

from collections.abc import Mapping
from typing import Any, override

import httpx

from cliproxy.credentials.record import Candidate
from cliproxy.providers.call import UpstreamCall
from cliproxy.providers.cloud_code import CloudCode, first_project, project_of, projects
from cliproxy.providers.cloud_code_account import CloudCodeAccount, discover, google_login, identify, window
from cliproxy.providers.vendor import Place, Quota, Vendor
from cliproxy.wire.fields import objects_of, text_of
from cliproxy.wire.model import Json

BASE_URL = "https://cloudcode-pa.googleapis.com"


class GeminiCli(CloudCode):
    """Code Assist's envelope."""

    @override
    def envelope(self, candidate: Candidate, call: UpstreamCall, request: Json) -> Json:
        if call.session:
            request["session_id"] = call.session
        return {"model": candidate.model, **project_of(candidate), "request": request}


def variants(fields: Mapping[str, Any], place: Place) -> tuple[dict[str, Any], ...]:
    """Each of the account's projects has quotas of its own."""
    return tuple({"project_id": project} for project in projects(fields)) or ({},)


async def quota(fields: Mapping[str, Any], place: Place, http: httpx.AsyncClient) -> Quota:
    """By model; Google counts requests."""
    account = CloudCodeAccount.of(fields, place, http)
    asked = await account.call("retrieveUserQuota", {"project": first_project(fields)})
    buckets = objects_of(asked, "buckets")
    named = ((text_of(bucket, "modelId") or text_of(bucket, "tokenType"), bucket) for bucket in buckets)
    return Quota(await account.plan(), tuple(window(name, bucket) for name, bucket in named if name))


VENDOR = Vendor(
    "gemini-cli",
    "Gemini CLI",
    ("gemini",),
    GeminiCli(),
    BASE_URL,
    flows=("browser",),
    registration=google_login(8085, "/oauth2callback"),
    identify=identify,
    variants=variants,
    needs="project_id",
    discover=discover,
    quota=quota,
)
