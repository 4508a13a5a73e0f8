"""cliproxy.inspection.redaction: no secret passes, and what is none does."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.inspection.redaction import Redactor
from cliproxy.secrets import mask

OWN = 'sk"odd/own+key-1234'
"""A secret of no known shape, with characters that JSON and URLs write in their own way."""

LOOKS_LIKE_ONE = {
    "OpenAI": "sk-test-" + "a1B2" * 10,
    "Anthropic": "sk-ant-api03-" + "a1B2" * 10,
    "OpenRouter": "sk-or-v1-" + "0f" * 32,
    "Google key": "AIza" + "Sy_test-" * 5,
    "Google access": "ya29.a0Ab" + "x-_1" * 10,
    "Google refresh": "1//0" + "abcdEFGH" * 5,
    "Google client": "GOCSPX-" + "abcDEF-_12" * 3,
    "JWT": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ0ZXN0In0.c2lnbmF0dXJl",
    "ChatGPT refresh": "rt_" + "abcDEF.12" * 5,
    "GitHub": "ghp_" + "a1B2c3" * 6,
    "GitHub, fine": "github_pat_" + "a1B2c3_" * 6,
    "GitLab": "glpat-" + "a1B2c3-_" * 3,
    "Slack": "xoxb-" + "1234567890-abc",
    "AWS id": "AKIA" + "ABCD1234" * 2,
    "Kiro": "aoaAAAA" + "Aa1+/=" * 6,
    "xAI": "xai-" + "a1B2" * 10,
    "Groq": "gsk_" + "a1B2" * 10,
    "Amp": "sgamp_" + "user_01" * 4,
}


def redacted(text: str, *secrets: str) -> str:
    return Redactor(secrets).body(text.encode()).decode()


@pytest.mark.parametrize("secret", LOOKS_LIKE_ONE.values(), ids=LOOKS_LIKE_ONE.keys())
@pytest.mark.parametrize("around", ["{}", "the key is {}, keep it", '{{"a": "{}"}}', "X={}\n", "({})", "`{}`", "x {}"])
def test_what_looks_like_a_secret_is_masked(secret: str, around: str) -> None:
    text = redacted(around.format(secret))
    assert secret[6:] not in text
    assert text == around.format(mask(secret))


@pytest.mark.parametrize(
    "text",
    [
        '{"access_token": "plain-opaque-1"}',
        '{"refreshToken":"plain-opaque-1"}',
        json.dumps({"output": json.dumps({"client_secret": "plain-opaque-1"})}),
        "grant_type=refresh_token&refresh_token=plain-opaque-1&x=1",
        "export MY_API_KEY=plain-opaque-1",
        "DB_SECRET: 'plain-opaque-1'",
        "authorization: Bearer plain-opaque-123456",
        '{"password":"plain-opaque-1"}',
        "-----BEGIN RSA PRIVATE KEY-----\nplain-opaque-1\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_what_is_called_a_secret_is_masked(text: str) -> None:
    assert "opaque-1" not in redacted(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"max_tokens":1024,"prompt_cache_key":"a-long-session-name-0001","tokens":"aaaaaaaaaaaaaaa"}',
        "ask-me-anything-about-the-weather-today, task-list, risk-free",
        "through the night, eye of the beholder: eyJ.x",
        '{"data":"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"}',
        "the password is at least 8 characters long",
        '{"signature":"EqQBCkYIARgCIkAeyJ0ZXN0"}',
        "commit 0123456789abcdef0123456789abcdef01234567",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert redacted(text) == text


def test_known_secrets_are_masked_however_they_are_written() -> None:
    text = f"plain {OWN}, json {json.dumps(OWN)}, url {'sk%22odd%2Fown%2Bkey-1234'}"
    clean = redacted(text, OWN)
    assert clean.count(mask(OWN)) == 3
    assert "own" not in clean.replace("json", "")


def test_short_words_are_no_secrets() -> None:
    assert redacted("a demo of the demo key", "demo", "key") == "a demo of the demo key"


def test_headers() -> None:
    redactor = Redactor()
    assert redactor.header("Authorization", "Bearer abcdefghijkl") == f"Bearer {mask('abcdefghijkl')}"
    assert redactor.header("X-My-Api-Key", "abcdefghijkl") == mask("abcdefghijkl")
    assert redactor.header("Set-Cookie", "id=1; path=/") == mask("id=1; path=/")
    assert redactor.header("anthropic-ratelimit-tokens-remaining", "1234") == "1234"
    assert redactor.header("x-note", f"see {LOOKS_LIKE_ONE['OpenAI']}") == f"see {mask(LOOKS_LIKE_ONE['OpenAI'])}"


def test_urls() -> None:
    url = Redactor().url("https://x.test/v1?alt=sse&key=abcdefghijkl")
    assert url == f"https://x.test/v1?alt=sse&key={mask('abcdefghijkl')}"


@given(st.text(max_size=30), st.sampled_from(sorted(LOOKS_LIKE_ONE.values())), st.text(max_size=30))
def test_what_is_redacted_once_stays_as_it_is(before: str, secret: str, after: str) -> None:
    redactor = Redactor([OWN])
    once = redactor.text(f"{before} {secret} {OWN} {after}")
    assert redactor.text(once) == once
    for name in ("authorization", "x-note"):
        header = redactor.header(name, f"Bearer {secret}")
        assert redactor.header(name, header) == header
    url = redactor.url(f"/v1/x?key={secret}&b=1")
    assert redactor.url(url) == url


@given(st.binary(max_size=200))
def test_any_bytes_pass(body: bytes) -> None:
    assert isinstance(Redactor([OWN]).body(body, "application/json"), bytes)


def test_without_words_nothing_that_was_said_is_left() -> None:
    redactor = Redactor(keeps_words=False)
    assert redactor.body(b'{"model":"m","text":"private"}', "application/json; charset=utf-8") == (
        b'{"model":"m","text":"(7 characters)"}'
    )
    assert redactor.words("upstream says: private") == "(22 characters)"


def test_a_megabyte_is_redacted_in_a_moment() -> None:
    text = json.dumps({"content": "light through the night; max_tokens, eyJ, sk- and https://x.test/1//2 " * 15_000})
    begun_s = time.perf_counter()
    redacted(text, *(f"a-known-secret-{number}" for number in range(50)))
    assert time.perf_counter() - begun_s < 2.0
