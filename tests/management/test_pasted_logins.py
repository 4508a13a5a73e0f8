"""Keys, tokens and service accounts that the user has already are kept, and used at once."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.management.desk import Desk
from tests.management.test_auth_files import form

PEM = generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
ACCOUNT = {
    "type": "service_account",
    "project_id": "useful-project",
    "client_email": "robot@useful-project.example",
    "private_key": PEM,
    "token_uri": "http://127.0.0.1:9/token",
}


async def test_an_api_key_is_kept_and_in_use(desk: Desk) -> None:
    reply = await desk.ask("POST", "/logins", {"provider": "glm", "flow": "api-key", "secret": " sk-test-glm\n"})
    assert reply.status == 200, reply.text
    file = json.loads((desk.auth_dir / reply.json["name"]).read_bytes())
    assert (file["type"], file["api_key"]) == ("glm", "sk-test-glm")
    (credential,) = desk.operator.running.accounts.credentials()
    assert (credential.provider, credential.bearer) == ("glm", "sk-test-glm")
    assert desk.account_changes == 1


@pytest.mark.parametrize(
    "body",
    [
        {"provider": "nobody", "flow": "api-key", "secret": "x"},
        {"provider": "glm", "flow": "token", "secret": "x"},
        {"provider": "glm", "flow": "browser", "secret": "x"},
        {"provider": "glm", "flow": "api-key", "secret": ""},
        {"provider": "glm", "flow": "api-key", "secret": "two words"},
        {"provider": "glm", "flow": "api-key", "secret": "ключ"},
        {"provider": "vertex", "flow": "service-account", "secret": "{}"},
        {"provider": "vertex", "flow": "service-account", "secret": "no json"},
    ],
)
async def test_what_cannot_be_kept_is_refused(desk: Desk, body: Any) -> None:
    assert (await desk.ask("POST", "/logins", body)).status == 400
    assert not desk.auth_dir.exists() or not list(desk.auth_dir.glob("*.json"))


@pytest.mark.parametrize("location", ["", "europe-west4"])
async def test_a_service_account_is_imported(desk: Desk, location: str) -> None:
    fields = {"location": location} if location else {}
    reply = await desk.ask("POST", "/vertex/import", **form(("key.json", json.dumps(ACCOUNT).encode()), **fields))
    assert reply.status == 200, reply.text
    path = desk.auth_dir / "vertex-useful-project.json"
    assert reply.json == {
        "status": "ok", "auth-file": str(path), "project_id": "useful-project",
        "email": "robot@useful-project.example", "location": location or "us-central1",
    }  # fmt: skip
    file = json.loads(path.read_bytes())
    assert (file["service_account"], file["location"]) == (ACCOUNT, location or "us-central1")
    (credential,) = desk.operator.running.accounts.credentials()
    assert credential.base_url == f"https://{location or 'us-central1'}-aiplatform.googleapis.com"


@pytest.mark.parametrize(
    ("change", "location"),
    [
        ({"private_key": "no key"}, ""), ({"private_key": None}, ""), ({"client_email": None}, ""), ({"project_id": 1}, ""),
        ({}, "evil.example/#"), ({}, "a" * 64), ({}, "US"),
    ],
)  # fmt: skip
async def test_what_is_no_service_account_is_refused(desk: Desk, change: Any, location: str) -> None:
    fields = {"location": location} if location else {}
    body = form(("key.json", json.dumps(ACCOUNT | change).encode()), **fields)
    reply = await desk.ask("POST", "/vertex/import", **body)
    assert reply.status == 400
    assert "PRIVATE KEY" not in reply.text
    assert not desk.auth_dir.exists() or not list(desk.auth_dir.glob("*.json"))


async def test_an_import_needs_its_file(desk: Desk) -> None:
    assert (await desk.ask("POST", "/vertex/import", **form(location="us-central1"))).status == 400
    assert (await desk.ask("POST", "/vertex/import", ACCOUNT)).status == 400


async def test_a_service_account_is_kept_by_pasting(desk: Desk) -> None:
    body = {"provider": "vertex", "flow": "service-account", "secret": json.dumps(ACCOUNT)}
    assert (await desk.ask("POST", "/logins", body)).json == {"status": "ok", "name": "vertex-useful-project.json"}
