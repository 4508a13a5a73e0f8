"""cliproxy.inspection.known_secrets: what the gateway itself must never show."""

from cliproxy.config.loading import parse_config
from cliproxy.inspection.known_secrets import secrets_in, secrets_of

CONFIG = """
api-keys: [sk-test-client-1, {key: sk-test-client-2, name: laptop}]
proxy-url: http://user:sk-test%2Fproxy@127.0.0.1:1
remote-management: {secret-key: sk-test-management}
ampcode:
  upstream-api-key: sk-test-amp
  upstream-api-keys: [{upstream-api-key: sk-test-amp-2, api-keys: [sk-test-client-1]}]
claude-api-key:
  - {api-key: sk-test-claude, headers: {X-Team: sk-test-header-value, X-Copied: $x-client-header-name, X-Short: short}}
openai-compatibility:
  - {name: other, base-url: "http://x.test", api-key-entries: [{api-key: sk-test-other, proxy-url: "socks5://u:sk-test-socks@x:1"}]}
providers:
  codex: {oauth: {client-secret: sk-test-oauth}}
"""


def test_all_secrets_of_a_config_are_found() -> None:
    names = ("client-1", "client-2", "management", "amp", "amp-2", "claude", "header-value", "other", "socks", "oauth")
    assert secrets_of(parse_config(CONFIG).config) - {""} == {*(f"sk-test-{name}" for name in names), "sk-test/proxy"}


def test_all_secrets_of_an_auth_file_are_found() -> None:
    fields = {
        "type": "codex",
        "email": "someone@example.test",
        "access_token": "test-access-1",
        "refreshToken": "test-refresh-1",
        "token": {"id_token": "test-id-1", "token_uri": "https://oauth.example.test/token"},
        "service_account": {"private_key": "test-private-1", "project_id": "p"},
        "expires_in": 3600,
    }
    assert secrets_in(fields) == {"test-access-1", "test-refresh-1", "test-id-1", "test-private-1"}
