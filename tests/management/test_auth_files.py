"""Auth files: listed, uploaded, downloaded, changed and removed; names lead nowhere else, and changes are used at once."""

import asyncio
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from cliproxy.management.auth_files import MAX_FILE_BYTES
from cliproxy.management.endpoint import MAX_BODY_BYTES
from tests.auth_files import AUTH_FILES, jwt
from tests.management.desk import Desk

NAME = "claude-me@example.com.json"
LOGIN = {**AUTH_FILES[NAME], "expired": "2099-01-01T00:00:00Z"}
OUTSIDE = [
    "../outside.json", "..\\outside.json", "/etc/outside.json", "sub/outside.json", "C:outside.json", ".hidden.json",
    "outside.json\0.json", "outside", "outside.json.txt", "..", "", "~/outside.json", "a\nb.json",
]  # fmt: skip


def form(*files: tuple[str, bytes], field: str = "file", **fields: str) -> dict[str, Any]:
    """A multipart body with its header."""
    parts = [f'--b0\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode() for k, v in fields.items()]
    for name, data in files:
        head = f'--b0\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'
        parts.append(head.encode() + data + b"\r\n")
    return {"body": b"".join(parts) + b"--b0--\r\n", "headers": {"content-type": "multipart/form-data; boundary=b0"}}


def put(desk: Desk, name: str = NAME, **fields: Any) -> None:
    """A file that is there already."""
    desk.auth_dir.mkdir(exist_ok=True)
    (desk.auth_dir / name).write_text(json.dumps(LOGIN | fields), "utf-8")


async def upload(desk: Desk, name: str = NAME, **fields: Any) -> Any:
    return await desk.ask("POST", "/auth-files", LOGIN | fields, query={"name": name})


async def test_a_file_is_uploaded_listed_and_in_use(desk: Desk) -> None:
    reply = await upload(desk, note="mine", priority=4)
    assert (reply.status, reply.json) == (200, {"status": "ok"})
    assert desk.account_changes == 1
    path = desk.auth_dir / NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (file,) = (await desk.get("/auth-files"))["files"]
    facts = {
        "id": NAME, "name": NAME, "type": "claude", "provider": "claude", "status": "active", "disabled": False,
        "unavailable": False, "runtime_only": False, "source": "file", "email": "me@example.com",
        "account_type": "oauth", "account": "me@example.com", "note": "mine", "priority": 4, "path": str(path),
        "size": path.stat().st_size, "success": 0, "failed": 0, "last_refresh": "2026-11-21T04:00:00Z",
    }  # fmt: skip
    assert {name: file[name] for name in facts} == facts
    assert len(file["recent_requests"]) == 20 and len(file["recent_requests"][0]["time"]) == 11
    assert {"auth_index", "label", "status_message", "modtime", "updated_at", "created_at"} <= file.keys()
    assert "test-access" not in json.dumps(file) and "test-refresh" not in json.dumps(file)


async def test_the_list_is_filtered(desk: Desk) -> None:
    put(desk)
    put(desk, "other.json", refresh_token="test-refresh-other")
    await desk.operator.look_at_accounts()
    files = (await desk.get("/auth-files"))["files"]
    assert [file["name"] for file in files] == [NAME, "other.json"]
    for query in ({"name": "other.json"}, {"auth_index": files[1]["auth_index"]}):
        assert [file["name"] for file in (await desk.get("/auth-files", **query))["files"]] == ["other.json"]
    assert (await desk.get("/auth-files", name=NAME, auth_index=files[1]["auth_index"]))["files"] == []


async def test_what_a_codex_token_says_of_its_account_is_shown(desk: Desk) -> None:
    claims = {"chatgpt_account_id": "acc-1", "chatgpt_plan_type": "plus", "chatgpt_subscription_active_until": "2027"}
    token = jwt(**{"https://api.openai.com/auth": claims})
    await upload(desk, "codex.json", type="codex", id_token=token)
    (file,) = (await desk.get("/auth-files"))["files"]
    told = {"chatgpt_account_id": "acc-1", "plan_type": "plus", "chatgpt_subscription_active_until": "2027"}
    assert file["id_token"] == told


async def test_a_file_that_cannot_be_used_is_listed_with_its_trouble(desk: Desk) -> None:
    desk.auth_dir.mkdir()
    (desk.auth_dir / "broken.json").write_text("{", "utf-8")
    await desk.operator.look_at_accounts()
    (file,) = (await desk.get("/auth-files"))["files"]
    assert (file["name"], file["status"], file["unavailable"]) == ("broken.json", "error", True)
    assert "not valid JSON" in file["status_message"]
    assert (await desk.ask("DELETE", "/auth-files", query={"name": "broken.json"})).status == 200
    assert (await desk.get("/auth-files"))["files"] == []


@pytest.mark.parametrize("field", ["file", "files", "whatever"])
async def test_a_form_with_one_file(desk: Desk, field: str) -> None:
    reply = await desk.ask("POST", "/auth-files", **form((NAME, json.dumps(LOGIN).encode()), field=field))
    assert (reply.status, reply.json) == (200, {"status": "ok"})
    assert json.loads((desk.auth_dir / NAME).read_bytes()) == LOGIN


async def test_of_several_files_those_that_are_wrong_are_told(desk: Desk) -> None:
    good, other = json.dumps(LOGIN).encode(), json.dumps(LOGIN | {"refresh_token": "other"}).encode()
    whole = await desk.ask("POST", "/auth-files", **form(("a.json", good), ("b.json", other)))
    assert (whole.status, whole.json) == (200, {"status": "ok", "uploaded": 2, "files": ["a.json", "b.json"]})
    part = await desk.ask("POST", "/auth-files", **form(("c.json", good), ("d.json", b"{"), ("e.txt", good)))
    assert part.status == 207
    assert (part.json["status"], part.json["uploaded"], part.json["files"]) == ("partial", 1, ["c.json"])
    assert [failed["name"] for failed in part.json["failed"]] == ["d.json", "e.txt"]
    assert all(failed["error"] for failed in part.json["failed"])


async def test_a_form_without_a_file_is_refused(desk: Desk) -> None:
    reply = await desk.ask("POST", "/auth-files", **form(name="x"))
    assert (reply.status, reply.json["error"]) == (400, "no files uploaded")
    broken = await desk.ask("POST", "/auth-files", body=b"no form", headers={"content-type": "multipart/form-data"})
    assert (broken.status, broken.json["error"]) == (400, "invalid multipart form")


@pytest.mark.parametrize("name", OUTSIDE)
async def test_names_lead_nowhere_else(desk: Desk, name: str) -> None:
    before = {path for path in desk.folder.rglob("*") if ".json" in path.name}
    assert (await upload(desk, name)).status == 400
    assert (await desk.ask("GET", "/auth-files/download", query={"name": name})).status == 400
    assert (await desk.ask("DELETE", "/auth-files", query={"name": name or " "})).status == 400
    assert (await desk.ask("DELETE", "/auth-files", {"names": [name]})).status == 400
    assert (await desk.ask("PATCH", "/auth-files/fields", {"name": name, "note": "x"})).status == 404
    assert {path for path in desk.folder.rglob("*") if ".json" in path.name} == before


@pytest.mark.parametrize("name", ["../../up.json", "..\\\\..\\\\up.json", "/etc/up.json", "C:\\\\up.json"])
async def test_of_a_path_in_a_form_only_the_name_counts(desk: Desk, name: str) -> None:
    reply = await desk.ask("POST", "/auth-files", **form((name, json.dumps(LOGIN).encode())))
    assert reply.status == 200
    assert [path.relative_to(desk.folder) for path in desk.folder.rglob("up.json")] == [Path("auth/up.json")]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"), (b"[]", "must be a JSON object"), (b"{}", "type"), (b'{"type": "nobody"}', "no provider"),
        (b'{"type": "claude", "linked": "~/.ssh/id_ed25519"}', "on the machine itself"),
        (b'{"type": "claude", "priority": "very"}', "priority"),
    ],
)  # fmt: skip
async def test_what_is_no_auth_file_is_refused(desk: Desk, data: bytes, why: str) -> None:
    reply = await desk.ask("POST", "/auth-files", body=data, query={"name": NAME})
    assert (reply.status, reply.json["error"]) == (400, "invalid auth file")
    assert why in reply.json["message"]
    assert not (desk.auth_dir / NAME).exists()


async def test_uploads_have_a_size(desk: Desk) -> None:
    large = json.dumps(LOGIN | {"note": "x" * MAX_FILE_BYTES}).encode()
    assert (await desk.ask("POST", "/auth-files", body=large, query={"name": NAME})).status == 413
    assert (await desk.ask("POST", "/auth-files", **form((NAME, large)))).status == 413
    declared = await desk.ask("POST", "/auth-files", headers={"content-length": str(MAX_BODY_BYTES + 1)})
    assert (declared.status, declared.json["error"]) == (413, "body too large")
    read = 0

    async def endless() -> Any:
        nonlocal read
        while True:
            read += 65536
            yield b"x" * 65536

    assert (await desk.ask("POST", "/auth-files", body=endless(), query={"name": NAME})).status == 413
    assert read <= MAX_BODY_BYTES + 2 * 65536
    assert not desk.auth_dir.exists() or not list(desk.auth_dir.glob("*.json"))


async def test_a_file_is_downloaded_as_it_is(desk: Desk) -> None:
    put(desk)
    reply = await desk.ask("GET", "/auth-files/download", query={"name": NAME})
    assert (reply.status, reply.json) == (200, LOGIN)
    assert reply.headers["content-disposition"] == "attachment; filename*=utf-8''claude-me%40example.com.json"
    assert (await desk.ask("GET", "/auth-files/download", query={"name": "none.json"})).status == 404


async def test_the_models_of_a_file(desk: Desk) -> None:
    await upload(desk)
    models = (await desk.get("/auth-files/models", name=NAME))["models"]
    assert models and all(model.keys() == {"id", "display_name", "type", "owned_by"} for model in models)
    assert (await desk.ask("GET", "/auth-files/models", query={"name": "none.json"})).status == 404
    assert (await desk.ask("GET", "/auth-files/models")).status == 400


@pytest.mark.parametrize("by", ["name", "index"])
async def test_an_account_is_switched_off_and_on(desk: Desk, by: str) -> None:
    await upload(desk)
    (file,) = (await desk.get("/auth-files"))["files"]
    who = {"name": NAME} if by == "name" else {"auth_index": file["auth_index"]}
    reply = await desk.ask("PATCH", "/auth-files/status", {**who, "disabled": True})
    assert (reply.status, reply.json) == (200, {"status": "ok", "disabled": True})
    (file,) = (await desk.get("/auth-files"))["files"]
    assert (file["status"], file["disabled"], file["unavailable"]) == ("disabled", True, False)
    assert desk.operator.running.accounts.credentials() == []
    assert (await desk.ask("PATCH", "/auth-files/status", {**who, "disabled": False})).status == 200
    assert len(desk.operator.running.accounts.credentials()) == 1
    assert json.loads((desk.auth_dir / NAME).read_bytes()) == LOGIN


@pytest.mark.parametrize(
    ("body", "status"),
    [({"disabled": True}, 400), ({"name": "none.json", "disabled": True}, 404), ({"name": NAME}, 400),
     ({"auth_index": "ffffffffffff", "disabled": True}, 404)],
)  # fmt: skip
async def test_nobody_is_switched_off(desk: Desk, body: Any, status: int) -> None:
    assert (await desk.ask("PATCH", "/auth-files/status", body)).status == status


async def test_the_demo_is_no_account(desk: Desk) -> None:
    (demo,) = [one for one in (await desk.get("/credentials"))["credentials"] if one["kind"] == "demo"]
    reply = await desk.ask("PATCH", "/auth-files/status", {"auth_index": demo["auth_index"], "disabled": True})
    assert reply.status == 409


async def test_fields_are_set_merged_and_taken_away(desk: Desk) -> None:
    await upload(desk, headers={"X-A": "1", "X-B": "2"}, deep={"a": {"b": 1, "c": 2}})
    changes = {
        "name": NAME, "prefix": "team", "proxy-url": "direct", "priority": 9, "note": "n", "weight": 3,
        "request_retry": 2, "websockets": True, "headers": {"X-B": "", "X-C": "3"}, "deep.a.b": None, "deep.d": [1],
    }  # fmt: skip
    assert (await desk.ask("PATCH", "/auth-files/fields", changes)).status == 200
    file = json.loads((desk.auth_dir / NAME).read_bytes())
    assert file["headers"] == {"X-A": "1", "X-C": "3"}
    assert file["deep"] == {"a": {"c": 2}, "d": [1]}
    assert (file["prefix"], file["proxy_url"], file["weight"], file["request_retry"]) == ("team", "direct", 3, 2)
    (credential,) = desk.operator.running.accounts.credentials()
    assert (credential.prefix, credential.priority, credential.weight, credential.request_retry) == ("team", 9, 3, 2)
    gone = {"name": NAME, "weight": None, "request_retry": None, "headers": None, "prefix": ""}
    assert (await desk.ask("PATCH", "/auth-files/fields", gone)).status == 200
    (credential,) = desk.operator.running.accounts.credentials()
    assert (credential.prefix, credential.weight, credential.request_retry) == ("", 1, None)
    assert file["access_token"] == LOGIN["access_token"]


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"type": "codex"}, {"linked": "/etc/passwd"}, {"login_error": None}, {"weight": "much"}, {"priority": 1.5},
        {"": 1}, {"a..b": 1}, {"headers": {"bad header": "x"}}, {"proxy_url": "ftp://x"},
    ],
)  # fmt: skip
async def test_fields_that_cannot_be_changed_so(desk: Desk, changes: Any) -> None:
    await upload(desk)
    before = (desk.auth_dir / NAME).read_bytes()
    assert (await desk.ask("PATCH", "/auth-files/fields", {"name": NAME, **changes})).status == 400
    assert (desk.auth_dir / NAME).read_bytes() == before


@pytest.mark.parametrize("way", ["query", "queries", "list", "name", "names"])
async def test_files_are_removed(desk: Desk, way: str) -> None:
    put(desk, "a.json")
    put(desk, "b.json", refresh_token="other")
    await desk.operator.look_at_accounts()
    both = ["a.json", "b.json"]
    asked: dict[str, Any] = {
        "query": {"query": {"name": "a.json"}}, "queries": {"query": {"name": both}}, "list": {"value": both},
        "name": {"value": {"name": "a.json"}}, "names": {"value": {"names": both}},
    }[way]  # fmt: skip
    reply = await desk.ask("DELETE", "/auth-files", asked.get("value"), query=asked.get("query"))
    single = way in ("query", "name")
    assert reply.json == ({"status": "ok"} if single else {"status": "ok", "deleted": 2, "files": both})
    assert sorted(path.name for path in desk.auth_dir.glob("*.json")) == (["b.json"] if single else [])
    assert len(desk.operator.running.accounts.credentials()) == (1 if single else 0)


async def test_of_several_files_those_that_are_not_there_are_told(desk: Desk) -> None:
    put(desk, "a.json")
    reply = await desk.ask("DELETE", "/auth-files", ["a.json", "none.json"])
    assert (reply.status, reply.json["status"], reply.json["deleted"]) == (207, "partial", 1)
    assert reply.json["failed"] == [{"name": "none.json", "error": "auth file not found"}]
    assert (await desk.ask("DELETE", "/auth-files", query={"name": "none.json"})).status == 404
    assert (await desk.ask("DELETE", "/auth-files")).status == 400
    assert (await desk.ask("DELETE", "/auth-files", body=b'{"names": 1}')).status == 400


async def test_all_files_are_removed(desk: Desk) -> None:
    put(desk, "a.json")
    put(desk, "b.json", refresh_token="other")
    (desk.auth_dir / "no-account.txt").write_text("stays", "utf-8")
    reply = await desk.ask("DELETE", "/auth-files", query={"all": "true"})
    assert reply.json == {"status": "ok", "deleted": 2}
    assert [path.name for path in desk.auth_dir.glob("[!.]*")] == ["no-account.txt"]


async def test_changes_that_come_together_are_all_kept(desk: Desk) -> None:
    await upload(desk)
    changes = [{"name": NAME, f"x{number}": number} for number in range(20)]
    replies = await asyncio.gather(*(desk.ask("PATCH", "/auth-files/fields", change) for change in changes))
    assert {reply.status for reply in replies} == {200}
    file = json.loads((desk.auth_dir / NAME).read_bytes())
    assert [file[f"x{number}"] for number in range(20)] == list(range(20))
