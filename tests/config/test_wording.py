"""Messages and reprs never hold a secret, wherever in the file it stands."""

import string
from typing import Any, get_args, get_origin

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from cliproxy.config import ConfigFault, parse_config
from cliproxy.config.compat import Document
from cliproxy.config.reading import as_section, bare
from cliproxy.config.schema import Section
from cliproxy.config.wording import shown, step


def told(text: str) -> str:
    """Everything that comes out of reading a file: the faults, or the warnings and the configuration's repr."""
    try:
        config, warnings = parse_config(text)
    except ConfigFault as fault:
        return f"{fault!r} {fault}"
    return f"{config!r} {config} {warnings}"


Nesting = list[str | int]


def keys(section: type[Section], at: Nesting) -> list[tuple[Nesting, bool]]:
    """The way to every key below `section` (names of keys, 0 for an item, `any` for a key of the user's), and whether it
    holds a secret."""
    found: list[tuple[Nesting, bool]] = []
    for field in section.model_fields.values():
        kind, way = bare(field.annotation), [*at, str(field.alias)]
        found.append((way, kind is SecretStr or not field.repr))
        while get_origin(kind) in (tuple, dict):
            way = [*way, 0 if get_origin(kind) is tuple else "any"]
            kind = bare(get_args(kind)[0 if get_origin(kind) is tuple else 1])
        if nested := as_section(kind):
            found += keys(nested, way)
    return found


KEYS = keys(Document, [])
SECRET_KEYS = [way for way, secret in KEYS if secret]
ALL_KEYS = [way for way, _ in KEYS]


def document(way: Nesting, value: Any) -> str:
    """A file with `value` at the end of `way`. Entries have what keeps them from being left out."""
    for name in reversed(way):
        value = [value] if name == 0 else {name: value}
        if isinstance(value, dict) and name != "base-url" and len(way) > 1:
            value = {"base-url": "http://127.0.0.1:1"} | value
    return yaml.safe_dump(value)


def disguises(secret: str) -> list[Any]:
    return [
        secret,
        [secret],
        {"key": secret},
        {secret: 1},
        [[secret]],
        {"a": {secret: secret}},
        f"x {secret} y",
        {secret: secret},
    ]


def test_the_walk_over_the_schema_finds_secrets_and_others() -> None:
    assert ["api-keys", 0, "key"] in SECRET_KEYS
    assert ["openai-compatibility", 0, "api-key-entries", 0, "api-key"] in SECRET_KEYS
    assert ["providers", "any", "oauth", "client-secret"] in SECRET_KEYS
    assert ["claude-api-key", 0, "headers"] in SECRET_KEYS
    assert ["port"] in ALL_KEYS
    assert len(ALL_KEYS) > 300


secrets = st.text(string.ascii_letters + string.digits, min_size=12, max_size=40)


@settings(max_examples=400, deadline=None)
@given(way=st.sampled_from(ALL_KEYS), secret=secrets.map("sk-test-".__add__), disguise=st.integers(0, 7))
def test_what_looks_like_a_key_is_never_repeated_wherever_it_stands(way: Nesting, secret: str, disguise: int) -> None:
    text = document(way, disguises(secret)[disguise])
    # A place that is no secret's may hold it as a valid value, and then the configuration has it.
    try:
        config, warnings = parse_config(text)
    except ConfigFault as fault:
        assert secret not in f"{fault!r} {fault}"
    else:
        assert secret not in str(warnings)
        if way in SECRET_KEYS:
            assert secret not in repr(config)


@settings(max_examples=400, deadline=None)
@given(way=st.sampled_from(SECRET_KEYS), secret=secrets, disguise=st.integers(0, 2))
def test_what_stands_in_a_secrets_place_is_never_repeated(way: Nesting, secret: str, disguise: int) -> None:
    secret = f"Q{secret}"
    assert secret not in told(document(way, disguises(secret)[disguise]))


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["", "http://h", "0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=400, deadline=None)
@given(way=st.sampled_from(ALL_KEYS), value=values)
def test_any_value_at_any_key_is_taken_or_told_as_a_fault(way: Nesting, value: Any) -> None:
    output = told(document(way, value))
    assert "another value" not in output, "a kind of fault has no wording"


@settings(max_examples=300, deadline=None)
@given(text=st.text(alphabet="abx:-[]{}*&!<,'\"\n #?|>%@\t0", max_size=40))
def test_any_text_is_taken_or_told_as_a_fault(text: str) -> None:
    assert told(text)


@pytest.mark.parametrize(
    "text",
    [
        "api-keys: [hunter2hunter",
        "api-keys: *hunter2hunter",
        "api-keys: [&hunter2hunter a, &hunter2hunter b]",
        "api-keys: !hunter2hunter!x a",
        "api-keys: !hunter2hunter a",
        "api-keys: hunter2hunter: a",
        "remote-management: {secret-key: {hunter2hunter: hunter2hunter}}",
        "proxy-url: http://user:hunter2hunter@",
        "proxy-url: http://user:hunter2hunter@proxy:1",
        "proxy-url: hunter2hunter@proxy",
        "claude-api-key: [{api-key: k, base-url: 'http://user:hunter2hunter@host'}]",
        "claude-api-key: [{api-key: hunter2hunter ü}]",
        'claude-api-key: [{api-key: k, headers: {Authorization: "hunter2hunter\\nx"}}]',
        "claude-api-key: [{api-key: k, proxy-url: 'socks5://u:hunter2hunter@h:99999'}]",
        "providers: {codex: {oauth: {client-secret: hunter2hunter}}}",
        "ampcode: {upstream-api-keys: [{upstream-api-key: [hunter2hunter], api-keys: [hunter2hunter]}]}",
        "local_api_key: [hunter2hunter]",
    ],
)
def test_a_password_in_a_broken_place_is_not_repeated(text: str) -> None:
    assert "hunter2hunter" not in told(text)


@pytest.mark.parametrize("text", ["round-robin", "http//host", "8317", "claude-sonnet", "weighted-round-robin"])
def test_harmless_text_is_repeated(text: str) -> None:
    assert shown(text) == repr(text)
    assert step(text) == text


def test_long_text_is_cut() -> None:
    assert shown("word " * 20) == repr("word " * 12 + "…")
