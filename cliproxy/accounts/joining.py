"""From a finished login to an auth file."""

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from cliproxy.credentials.auth_dir import AuthDir
from cliproxy.credentials.auth_file import AuthFile, AuthFileFault
from cliproxy.oauth.errors import LoginFailed
from cliproxy.oauth.tokens import Tokens
from cliproxy.providers.vendor import Place, Vendor
from cliproxy.wire.json import loads_object

_UNSAFE = re.compile(r"[^\w.@+-]+")
_NAME_CHARS = 120


async def save_login(
    vendor: Vendor,
    place: Place,
    login: Tokens | Mapping[str, Any],
    auth_dir: AuthDir,
    http: httpx.AsyncClient,
    clock: Callable[[], float] = time.time,
) -> str:
    """Keep a login, and say under which file name. An account that was there before keeps what the user set on it.

    login: tokens, or the fields of a file where there are none (API keys, service accounts). Raises OAuthFault where
    the vendor does not say whose tokens they are, AuthFileFault for fields that are none.
    """
    if isinstance(login, Tokens):
        identity = await vendor.identify(login, place, http)
        file = AuthFile.of({"type": vendor.name, **identity}).with_tokens(login, clock())
    else:
        file = AuthFile.of({**login, "type": vendor.name})
    name = file_name(vendor, file)
    async with auth_dir.lock(name):
        try:
            before = auth_dir.read(name)
        except AuthFileFault:
            before = file
        auth_dir.write(name, before.with_fields(**file.fields, login_error=None))
    return name


def service_account_login(data: str | bytes) -> dict[str, Any]:
    """The fields of an auth file for the key file of a Google service account. Raises LoginFailed."""
    try:
        account = loads_object(data, "a service account")
    except ValueError:
        raise LoginFailed("this is no service account: expected the JSON file of its key") from None
    email, project = account.get("client_email"), account.get("project_id")
    if not isinstance(email, str) or not isinstance(project, str):
        raise LoginFailed("this is no key file of a service account: it lacks client_email or project_id")
    return {"service_account": account, "email": email, "project_id": project}


def file_name(vendor: Vendor, file: AuthFile) -> str:
    """`codex-me@example.com-plus.json`, of characters that every file system takes."""
    stem = _UNSAFE.sub("_", vendor.file_stem(file.fields)).strip("._")[:_NAME_CHARS]
    return f"{vendor.name}-{stem or 'account'}.json"
