"""`config.yaml` as it is shipped, and files as other programs write them."""

import re
from pathlib import Path

import pytest
import yaml

from cliproxy.config import Config, load_config, parse_config

SHIPPED = Path(__file__).parents[2] / "config.yaml"


def test_the_shipped_file_says_what_holds_without_it() -> None:
    assert load_config(SHIPPED) == (Config(), [])


def test_the_shipped_file_names_no_key_twice_or_in_vain() -> None:
    written = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    assert set(written) <= {field.alias for field in Config.model_fields.values()}


EXAMPLES = re.findall(r"^((?:[a-z-]+): \[\])\n((?:# .*\n)+)", SHIPPED.read_text(encoding="utf-8"), re.MULTILINE)


def test_each_list_of_the_shipped_file_has_an_example() -> None:
    assert [heading for heading, _ in EXAMPLES] == [
        f"{key}: []"
        for key in ("api-keys", "openai-compatibility", "codex-api-key", "claude-api-key", "gemini-api-key")
    ]


@pytest.mark.parametrize(("heading", "example"), EXAMPLES, ids=lambda part: part.split(":")[0])
def test_the_examples_of_the_shipped_file_load(heading: str, example: str) -> None:
    config, warnings = parse_config(re.sub(r"^# ", "", example, flags=re.MULTILINE))
    assert warnings == []
    section = heading.split(":")[0].replace("-", "_")
    assert len(getattr(config, section)) == example.count("\n#   - ")


def test_an_exam_file_loads() -> None:
    """The keys and values that the conformance exam writes."""
    models = [
        {"name": "gemini-2.5-pro", "alias": "x-gemini"},
        {"name": "gemini-3-pro-preview", "alias": "x-gemini-next"},
    ]
    entries = [
        {"api-key": "up-main", "base-url": "http://127.0.0.1:18703", "models": models},
        {
            "api-key": "up-alt",
            "prefix": "alt",
            "base-url": "http://127.0.0.1:18703/some/prefix",
            "models": models,
        },
        {"api-key": "up-dead", "base-url": "http://127.0.0.1:9", "models": models},
    ]
    written = {
        "host": "127.0.0.1", "port": 18317, "auth-dir": "/tmp/auth", "api-keys": ["exam-key", "exam-key-2"], "debug": False,
        "request-retry": 0, "max-retry-interval": 1, "disable-cooling": True, "transient-error-cooldown-seconds": -1,
        "disable-claude-cloak-mode": True, "logging-to-file": False, "usage-statistics-enabled": False,
        "remote-management": {"allow-remote": False, "secret-key": "", "disable-control-panel": True},
        "codex": {"disable-codex-cloaking": True},
        "quota-exceeded": {"switch-project": False, "switch-preview-model": False},
        "gemini-api-key": entries, "claude-api-key": entries, "codex-api-key": entries,
        "openai-compatibility": [
            {"name": "mock", "base-url": "http://127.0.0.1:18700/v1", "api-key-entries": [{"api-key": "up-main"}], "models": models},
            {"name": "mockalt", "prefix": "alt", "base-url": "http://127.0.0.1:18700/p/v1", "api-key-entries": [{"api-key": "up-alt"}], "models": models},
        ],
    }  # fmt: skip
    config, warnings = parse_config(yaml.safe_dump(written, sort_keys=False))
    (warning,) = warnings
    assert "disable-claude-cloak-mode" in warning
    assert [entry.prefix for entry in config.codex_api_key] == ["", "alt", ""]
    assert [entry.prefix for entry in config.openai_compatibility] == ["", "alt"]
    assert config.claude_api_key[0].models[0].client_name == "x-gemini"
    assert config.transient_error_cooldown_seconds == -1


def test_a_file_with_every_section_of_cliproxyapi_loads() -> None:
    config, warnings = parse_config(EVERY_SECTION)
    assert [warning.split(":")[1].strip().split(",")[0] for warning in warnings] == [
        "accepted and ignored",
        "accepted and ignored",
    ]
    assert config.host == ""
    assert config.routing.session_affinity_ttl == 3600
    assert config.payload.default[0].models[0].match == ({"metadata.client": "codex"},)
    assert config.xai_api_key[0].websockets is True
    assert config.oauth_model_alias["antigravity"][0].fork is True


EVERY_SECTION = """
host: ""
port: 8317
tls: {enable: false, cert: "", key: ""}
remote-management:
  {allow-remote: false, secret-key: "", disable-control-panel: false, panel-github-repository: "https://example.com/panel"}
auth-dir: "~/.cli-proxy-api"
api-keys: [one-of-mine]
debug: false
pprof: {enable: false, addr: "127.0.0.1:8316"}
plugins: {enabled: false, dir: plugins, configs: {example: {enabled: true}}}
commercial-mode: false
logging-to-file: false
logs-max-total-size-mb: 0
error-logs-max-files: 10
usage-statistics-enabled: false
redis-usage-queue-retention-seconds: 60
proxy-url: ""
force-model-prefix: false
passthrough-headers: false
request-retry: 3
max-retry-credentials: 0
max-retry-interval: 30
disable-cooling: false
save-cooldown-status: false
transient-error-cooldown-seconds: 0
disable-claude-cloak-mode: false
claude-code: {disable-cloaking-model-list: false}
disable-image-generation: chat
gpt-image-2-base-model: gpt-5.4-mini
video-result-auth-cache-ttl: 3h
auth-auto-refresh-workers: 16
quota-exceeded: {switch-project: true, switch-preview-model: true, antigravity-credits: true}
routing: {strategy: round-robin, session-affinity: false, session-affinity-ttl: 1h, session-affinity-subagents: true}
codex:
  {identity-confuse: false, disable-codex-cloaking: false, stream-bootstrap-buffering: false, optimize-multi-agent-v2: false,
   orphan-delegation-compatibility: false, model-level-cooling: false, live-media-relay: {enabled: false, max-sessions: 32}}
antigravity: {sensitive-words: [API]}
xai: {inject-x-search: false}
ws-auth: true
nonstream-keepalive-interval: 0
streaming: {keepalive-seconds: 15, bootstrap-retries: 1}
antigravity-signature-cache-enabled: true
antigravity-signature-bypass-strict: false
credential-concurrency: {max-limit: 5}
credential-in-flight: {stale-after: 10s}
gemini-api-key:
- api-key: gemini-test-1
  weight: 5
  prefix: test
  disable-cooling: false
  request-retry: 3
  request-scoped-errors:
  - {status: 400, match: [context_length_exceeded], match-regexr: ["^context"], action: stop}
  base-url: https://generativelanguage.googleapis.com
  headers: {X-Custom: a, X-Session: $X-Session}
  proxy-url: socks5://proxy.example.com:1080
  models:
  - {name: m, alias: a, display-name: A, max-context-length: 1048576, is-compat: false, thinking: {levels: [high, none]}}
  excluded-models: ["*flash*"]
interactions-api-key: [{api-key: gemini-test-2}]
codex-api-key:
- {api-key: sk-test-1, base-url: "https://www.example.com", alpha-search: false, websockets: true,
   models: [{name: m, alias: a, force-mapping: true}]}
xai-api-key: [{api-key: sk-test-2, base-url: "https://api.x.ai/v1", websockets: true}]
claude-api-key:
- {api-key: sk-test-3, rebuild-mid-system-message: false, cloak: {mode: auto}, experimental-cch-signing: false}
claude-header-defaults: {os: Linux}
codex-header-defaults: {user-agent: a}
openai-compatibility:
- name: a
  disabled: false
  prefix: p
  base-url: https://www.example.com/v1
  support-prompt-cache-key: false
  api-key-entries: [{api-key: sk-test-4, weight: 5, proxy-url: direct}]
  models: [{name: m, alias: a, image: false, input-modalities: [text, image], output-modalities: [text]}]
vertex-api-key: [{api-key: sk-test-5, base-url: "https://example.com/api", models: [{name: m, alias: a}]}]
oauth-model-alias:
  antigravity: [{name: m, alias: a, display-name: A, fork: true, force-mapping: true}]
oauth-excluded-models: {vertex: [m]}
oauth-request-scoped-errors: {claude: [{status: 400, match: [too long], action: continue-and-cooldown}]}
payload:
  default:
  - models:
    - name: gemini-2.5-pro
      protocol: gemini
      from-protocol: responses
      headers: {X-Tier: "tenant-*"}
      match: [{metadata.client: codex}]
      not-match: [{metadata.mode: dev}]
      exist: ['tools.#(type=="web_search").type']
      not-exist: [metadata.off]
    params: {generationConfig.thinkingConfig.thinkingBudget: 32768}
  default-raw: [{models: [{name: m, protocol: gemini}], params: {a: '{"type":"object"}'}}]
  override: [{models: [{name: "gpt-*", protocol: codex}], params: {reasoning.effort: high}}]
  override-raw: [{models: [{name: m}], params: {response_format: '{"type":"json_schema"}'}}]
  filter: [{models: [{name: m}], params: [generationConfig.responseJsonSchema]}]
"""
