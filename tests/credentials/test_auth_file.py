"""Auth files: CLIProxyAPI's as they are, what changes in them and what must not, and that no token is shown."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.credentials.auth_file import AuthFile, AuthFileFault
from cliproxy.credentials.auth_settings import AuthSettings
from cliproxy.credentials.timestamps import rfc3339
from cliproxy.oauth.tokens import Tokens
from tests.auth_files import AUTH_FILES, EXPIRED, EXPIRED_S, jwt

NOW_S = EXPIRED_S - 100
NEW = Tokens("test-access-new", "test-refresh-new", expires_at_s=EXPIRED_S + 3600)
LATER = rfc3339(EXPIRED_S + 3600)

every_file = pytest.mark.parametrize("name", AUTH_FILES)


def file_of(**fields: Any) -> AuthFile:
    return AuthFile.of({"type": "claude", **fields})


@every_file
def test_a_file_of_cliproxyapi_is_read_as_it_is(name: str) -> None:
    document = AUTH_FILES[name]
    file = AuthFile.parse(json.dumps(document).encode())
    provider = name.split("-")[0]
    assert file.type == ("gemini-cli" if provider == "gemini" else provider)
    assert file.document == document
    assert file.email == document.get("email", "")
    if provider != "vertex":
        assert file.access_token == f"test-access-{provider}"
        assert file.refresh_token == f"test-refresh-{provider}"
        assert file.expires_at_s == pytest.approx(EXPIRED_S, abs=1)


@every_file
def test_a_file_is_written_as_it_was_read(name: str) -> None:
    written = AuthFile.of(AUTH_FILES[name]).dump()
    assert json.loads(written) == AUTH_FILES[name]
    assert list(json.loads(written)) == list(AUTH_FILES[name])


@every_file
def test_new_tokens_leave_everything_else_alone(name: str) -> None:
    before = AUTH_FILES[name] | {"note": "mine", "x-unknown": [1, None]}
    after = AuthFile.of(before).with_tokens(NEW, NOW_S)
    assert (after.access_token, after.refresh_token, after.expires_at_s) == (
        NEW.access_token,
        NEW.refresh_token,
        NEW.expires_at_s,
    )
    assert after.last_refresh_s == NOW_S
    may_change = {
        "access_token",
        "refresh_token",
        "token_type",
        "expired",
        "expires_at",
        "last_refresh",
        "expires_in",
        "timestamp",
        "token",
    }
    assert {key: value for key, value in after.document.items() if key not in may_change} == {
        key: value for key, value in before.items() if key not in may_change
    }
    assert AuthFile.parse(after.dump()) == after


def test_new_tokens_stand_where_cliproxyapi_reads_them() -> None:
    antigravity = AuthFile.of(AUTH_FILES["antigravity-me@example.com.json"]).with_tokens(NEW, NOW_S).document
    assert antigravity["expired"] == LATER
    assert antigravity["expires_in"] == 3700
    assert antigravity["timestamp"] == NOW_S * 1000
    gemini = AuthFile.of(AUTH_FILES["gemini-me@example.com-useful-project.json"]).with_tokens(NEW, NOW_S).document
    assert gemini["token"]["access_token"] == NEW.access_token
    assert gemini["token"]["expiry"] == LATER
    assert gemini["token"]["client_id"] == "test-client"
    assert "access_token" not in gemini
    assert "expired" not in gemini


def test_tokens_that_are_not_new_stay() -> None:
    file = file_of(access_token="test-access-1", refresh_token="test-refresh-1", id_token="test-id-1", scope="a b")
    after = file.with_tokens(Tokens("test-access-2"), NOW_S).document
    assert (after["access_token"], after["refresh_token"]) == ("test-access-2", "test-refresh-1")
    assert (after["id_token"], after["scope"], after["token_type"]) == ("test-id-1", "a b", "Bearer")
    named = file.with_tokens(
        Tokens("test-access-2", id_token="test-id-2", scope="c", token_type="bearer"), NOW_S
    ).document
    assert (named["id_token"], named["scope"], named["token_type"]) == ("test-id-2", "c", "bearer")


def test_an_end_that_is_not_told_is_not_kept() -> None:
    file = file_of(access_token="test-access-1", expires_at=EXPIRED, expires_in=5, timestamp=1)
    after = file.with_tokens(Tokens("test-access-2"), NOW_S)
    assert after.expires_at_s is None
    assert not {"expires_at", "expired", "expires_in"} & after.document.keys()


def test_an_answers_further_fields_are_taken_where_the_file_has_them() -> None:
    file = file_of(resource_url="old.example.com", email="me@example.com", note="mine")
    extra = {
        "resource_url": "new.example.com",
        "account": {"uuid": "1"},
        "type": "evil",
        "note": "theirs",
        "email": "x",
    }
    after = file.with_tokens(Tokens("test-access-2", extra=extra), NOW_S)
    assert after.fields["resource_url"] == "new.example.com"
    assert (after.type, after.note, after.email) == ("claude", "mine", "me@example.com")
    assert "account" not in after.fields


@pytest.mark.parametrize(
    ("name", "camel", "value"),
    [
        ("proxy_url", "proxyUrl", "direct"),
        ("excluded_models", "excludedModels", ["a"]),
        ("model_aliases", "modelAliases", [{"name": "a", "alias": "b"}]),
        ("request_retry", "requestRetry", 2),
        ("disable_cooling", "disableCooling", True),
        ("request_scoped_errors", "requestScopedErrors", [{"status": 500, "action": "stop"}]),
        ("base_url", "baseUrl", "https://a.example"),
        ("refresh_interval_seconds", "refreshIntervalSeconds", 60),
        ("access_token", "accessToken", "test-access-1"),
        ("refresh_token", "refreshToken", "test-refresh-1"),
        ("api_key", "apiKey", "sk-test-1"),
        ("last_refresh", "lastRefresh", EXPIRED),
        ("using_api", "usingApi", True),
    ],
)
def test_known_fields_are_found_in_each_spelling(name: str, camel: str, value: object) -> None:
    for spelling in (name.replace("_", "-"), camel):
        file = file_of(**{spelling: value})
        assert file.fields[name] == value
        assert spelling not in file.fields
        assert file.document[spelling] == value


def test_the_first_spelling_that_says_something_counts() -> None:
    file = file_of(proxy_url="", **{"proxy-url": "direct"})
    assert file.proxy_url == "direct"
    assert file_of(expired="", expires_at="later", expiry=EXPIRED).expires_at_s == EXPIRED_S


def test_a_changed_field_replaces_each_spelling_in_its_place() -> None:
    file = AuthFile.of({"type": "claude", "proxy-url": "direct", "x": 1, "proxyUrl": "direct", "prefix": "a"})
    after = file.with_fields(proxy_url="socks5://127.0.0.1:1", prefix=None, note="new")
    assert list(after.document.items()) == [
        ("type", "claude"),
        ("proxy_url", "socks5://127.0.0.1:1"),
        ("x", 1),
        ("note", "new"),
    ]
    assert file.document["proxy-url"] == "direct"


def test_a_change_that_is_wrong_is_a_fault() -> None:
    with pytest.raises(AuthFileFault, match="weight"):
        file_of().with_fields(weight="much")


# ---------------------------------------------------------------- times


@pytest.mark.parametrize("key", ["expired", "expire", "expires_at", "expiresAt", "expiry", "expires", "expiry_date"])
@pytest.mark.parametrize("value", [EXPIRED, int(EXPIRED_S), int(EXPIRED_S) * 1000])
def test_the_end_is_found_under_each_name(key: str, value: object) -> None:
    assert file_of(**{key: value}).expires_at_s == EXPIRED_S


@pytest.mark.parametrize(
    ("fields", "end_s"),
    [
        ({"timestamp": int(NOW_S) * 1000, "expires_in": 100}, EXPIRED_S),
        ({"timestamp": int(NOW_S) * 1000, "expires_in": "100"}, EXPIRED_S),
        ({"issued_at": rfc3339(NOW_S), "expiresIn": 100}, EXPIRED_S),
        ({"timestamp": int(NOW_S) * 1000, "expires_in": 5, "expired": EXPIRED}, EXPIRED_S),
        ({"timestamp": int(NOW_S) * 1000}, None),
        ({"expires_in": 100}, None),
        ({"timestamp": int(NOW_S), "expires_in": "soon"}, None),
        ({"access_token": jwt(exp=int(EXPIRED_S))}, EXPIRED_S),
        ({"access_token": jwt(exp=5), "expired": EXPIRED}, EXPIRED_S),
        ({"access_token": "test-opaque-1"}, None),
        ({"expired": ""}, None),
    ],
)
def test_the_end_comes_from_what_there_is(fields: dict[str, Any], end_s: float | None) -> None:
    assert file_of(**fields).expires_at_s == end_s


def test_the_last_refresh_is_read() -> None:
    assert file_of(last_refresh=EXPIRED).last_refresh_s == EXPIRED_S
    assert file_of(lastRefreshedAt=EXPIRED).last_refresh_s == EXPIRED_S
    assert file_of().last_refresh_s is None
    assert file_of(refreshInterval="30m").refresh_interval_s == 1800


# ---------------------------------------------------------------- refusals


def test_a_refusal_is_kept_until_there_are_other_tokens() -> None:
    file = file_of(access_token="test-access-1", refresh_token="test-refresh-1", note="mine")
    refused = AuthFile.parse(file.with_login_error("invalid_grant", "log in again").dump())
    assert (refused.login_error, refused.login_error_code) == ("log in again", "invalid_grant")
    assert refused.note == "mine"
    assert refused.with_fields(prefix="a").login_error == "log in again"
    assert refused.with_tokens(NEW, NOW_S).login_error == ""
    assert "login_error" not in refused.with_tokens(NEW, NOW_S).document
    # CLIProxyAPI logs in anew and keeps fields that it does not know.
    assert AuthFile.of({**refused.document, "refresh_token": "test-refresh-2"}).login_error == ""
    assert file.login_error == ""


def test_a_refusal_tells_no_token() -> None:
    refused = file_of(refresh_token="test-refresh-1").with_login_error("invalid_grant", "no")
    assert "test-refresh-1" not in json.dumps(refused.document["login_error"])


# ---------------------------------------------------------------- linked logins


def test_a_linked_login_is_seen_and_never_written() -> None:
    link = AuthFile.of({"type": "claude", "linked": "~/.claude/.credentials.json", "prefix": "mine"})
    seen = link.with_login(
        {"type": "claude", "access_token": "test-access-1", "expired": EXPIRED, "email": "me@example.com"}
    )
    assert (seen.access_token, seen.expires_at_s, seen.email, seen.prefix) == (
        "test-access-1",
        EXPIRED_S,
        "me@example.com",
        "mine",
    )
    assert seen.dump() == link.dump()
    assert seen.with_fields(note="n").document == {**link.document, "note": "n"}
    assert seen.with_fields(note="n").access_token == "test-access-1"
    assert b"test-access-new" not in seen.with_tokens(NEW, NOW_S).dump()
    assert seen.with_tokens(NEW, NOW_S).access_token == NEW.access_token
    assert seen.with_tokens(NEW, NOW_S).expires_at_s == NEW.expires_at_s


def test_what_the_user_set_on_a_link_comes_first() -> None:
    link = AuthFile.of({"type": "codex", "linked": "x", "base_url": "https://mine.example", "email": ""})
    seen = link.with_login({"base_url": "https://theirs.example", "email": "me@example.com"})
    assert seen.base_url == "https://mine.example"
    assert seen.email == "me@example.com"


# ---------------------------------------------------------------- what is none


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b'{"type": "claude", "access_token": "test-acc', "it is not valid JSON"),
        (b"\xff\xfe{}", "it is not valid JSON"),
        (b"[" * 100_000, "it is not valid JSON"),
        (b'["test-access-1"]', "it must be a JSON object"),
        (b'"test-access-1"', "it must be a JSON object"),
        (b'{"access_token": "test-access-1"}', "type: this field is required"),
        (b'{"type": 5}', "type: this field is required"),
        (b'{"type": " "}', "type: this field is required"),
        (b'{"type": "../test-access-1"}', "type: expected the name of a provider"),
        (b'{"type": "claude", "weight": "test-access-1"}', "weight: expected a whole number"),
    ],
)
def test_what_is_no_auth_file_is_told_without_its_values(data: bytes, told: str) -> None:
    with pytest.raises(AuthFileFault) as caught:
        AuthFile.parse(data)
    assert told in str(caught.value)
    assert "test-acc" not in str(caught.value)


@given(st.binary() | st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["type", "token", "expired", "headers", "x"]) | st.text(), inner)).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_whatever_the_bytes_are_it_is_a_file_or_a_fault(data: bytes) -> None:
    try:
        file = AuthFile.parse(data)
    except AuthFileFault:
        return
    assert AuthFile.parse(file.dump()).type == file.type


@pytest.mark.parametrize("data", [b'{"type":"claude","x":NaN}', b'{"type":"claude","x":"\\ud800"}', b'{"type":"claude","x":1e999}', b'{"type":"claude","x":' + b"9" * 40 + b"}"])  # fmt: skip
def test_odd_json_does_not_stop_a_token_from_being_written(data: bytes) -> None:
    after = AuthFile.parse(AuthFile.parse(data).with_tokens(NEW, NOW_S).dump())
    assert after.access_token == NEW.access_token


def test_a_byte_order_mark_is_no_fault() -> None:
    assert AuthFile.parse(b'\xef\xbb\xbf{"type": "claude"}').type == "claude"


def test_the_type_is_read_as_cliproxyapi_does() -> None:
    assert AuthFile.of({"type": " Claude "}).type == "claude"
    assert AuthFile.of({"type": "gemini", "access_token": "test-access-1"}).fields["type"] == "gemini-cli"
    assert AuthFile.of({"type": "gemini", "api_key": "sk-test-1"}).type == "gemini"


@every_file
def test_nothing_is_printed_but_whose_it_is(name: str) -> None:
    file = AuthFile.of(AUTH_FILES[name] | {"headers": {"x-key": "test-access-2"}})
    for text in (repr(file), str(file), f"{file}"):
        assert "test-" not in text
        assert file.type in text


def test_the_properties_are_the_settings() -> None:
    settings: dict[str, Any] = {
        "disabled": True, "prefix": "p", "proxy_url": "direct", "priority": 2, "weight": 3, "note": "n", "headers": {"A": "b"},
        "excluded_models": ["x"], "model_aliases": [{"name": "a", "alias": "b"}], "request_retry": 1, "disable_cooling": True,
        "request_scoped_errors": [{"status": 500, "action": "stop"}], "websockets": True, "base_url": "https://a.example",
    }  # fmt: skip
    file = file_of(**settings)
    assert {name: getattr(file, name) for name in settings} == {name: getattr(file.settings, name) for name in settings}
    assert file.settings == AuthSettings.of(settings)
    assert (file.disabled, file.weight, file.model_aliases[0].alias, file.request_scoped_errors[0].action) == (
        True,
        3,
        "b",
        "stop",
    )
