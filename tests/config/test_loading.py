"""What a file says becomes a `Config`, or a list of all that is wrong by place, key, expectation and finding."""

import traceback
from pathlib import Path

import pytest

from cliproxy.config import Config, ConfigFault, load_config, parse_config


def faults(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigFault) as fault:
        parse_config(text)
    assert str(fault.value) == "\n".join(fault.value.problems)
    return fault.value.problems


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "---\n", "null\n", "host:\napi-keys:\ntls:\n"])
def test_a_file_that_says_nothing_is_the_default_configuration(text: str) -> None:
    assert parse_config(text) == (Config(), [])


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(b"\xef\xbb\xbfport: 9000\r\ndebug: true\r\n")
    config, warnings = load_config(tmp_path / "config.yaml")
    assert (config.port, config.debug, warnings) == (9000, True, [])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    with pytest.raises(ConfigFault) as fault:
        load_config(path)
    assert str(fault.value) == f"{path}: cannot be read: No such file or directory"


def test_a_directory_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigFault, match="cannot be read: Is a directory"):
        load_config(tmp_path)


def test_a_file_that_is_not_utf_8_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"port: 1\nhost: \xff\n")
    with pytest.raises(ConfigFault) as fault:
        load_config(path)
    assert str(fault.value) == f"{path}:2:1: not UTF-8 text"


def test_messages_name_the_file_as_it_was_given(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("port: high\n", encoding="utf-8")
    with pytest.raises(ConfigFault) as fault:
        load_config(path)
    assert str(fault.value) == f"{path}:1:7: port: expected a whole number, found 'high'"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: b: c", "1:5: not valid YAML: mapping values are not allowed here"),
        (
            "port: [1,\nhost",
            "2:5: not valid YAML: expected ',' or ']', but got '<stream end>'"
            " (while parsing a flow sequence, which began on line 1)",
        ),
        ("a: 1\n\tb: 2", "2:1: not valid YAML: found character '\\t' that cannot start any token"),
        ("a: *mine", "1:4: not valid YAML: found undefined alias '…'"),
        (
            "a: 1\n---\nb: 2",
            "2:1: not valid YAML: but found another document"
            " (expected a single document in the stream, which began on line 1)",
        ),
        ("a: 1\nb: \x07", "2:4: not valid YAML: a control character"),
        ("- a", "1:1: expected keys with values, found a list"),
        ("8317", "1:1: expected keys with values, found a number"),
        ("# c\n\ntext", "3:1: expected keys with values, found text"),
    ],
)
def test_text_that_is_no_mapping_of_keys_is_refused(text: str, problem: str) -> None:
    assert faults(text) == (f"config.yaml:{problem}",)


@pytest.mark.parametrize("text", ["[" * 3000, "{a: " * 3000, "payload: {override: [{params: &p {a: *p}}]}"])
def test_bottomless_nesting_is_refused(text: str) -> None:
    assert faults(text) == ("config.yaml: nested too deeply",)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("port: '8317'", "1:7: port: expected a whole number, found '8317'"),
        ("port: 80.5", "1:7: port: expected a whole number, found 80.5"),
        ("port: true", "1:7: port: expected a whole number, found true"),
        ("port:\n  - 1", "2:3: port: expected a whole number, found a list"),
        ("port: 65536", "1:7: port: expected 65535 or less, found 65536"),
        ("port: -1", "1:7: port: expected 0 or more, found -1"),
        ("debug: maybe", "1:8: debug: expected true or false, found 'maybe'"),
        ("debug: 1", "1:8: debug: expected true or false, found 1"),
        ("host: [a]", "1:7: host: expected text, found a list"),
        ('host: "\\uD800"', "1:7: host: expected text, found '\\ud800'"),
        ("timeouts: {idle-seconds: 1e999}", "1:26: timeouts.idle-seconds: expected a number, found 1e999"),
        ("host: true", "1:7: host: expected text, found true"),
        ("timeouts: {idle-seconds: soon}", "1:26: timeouts.idle-seconds: expected a number, found 'soon'"),
        ("timeouts: 5", "1:11: timeouts: expected a mapping, found a number"),
        ("providers: [codex]", "1:12: providers: expected a mapping, found a list"),
        ("api-keys: some-key", "1:11: api-keys: expected a list, found text"),
        ("api-keys:\n  - [k]", "2:5: api-keys[0]: expected a mapping, found a list"),
        ("api-keys: [~]", "1:12: api-keys[0]: expected text, found nothing"),
        (
            "routing: {strategy: random}",
            "1:21: routing.strategy: expected 'round-robin', 'weighted-round-robin', 'fill-first' or"
            " 'most-headroom', found 'random'",
        ),
        (
            "disable-image-generation: never",
            "1:27: disable-image-generation: expected false, true, 'chat' or 'passthrough', found 'never'",
        ),
        (
            "claude-api-key:\n- api-key: k\n  models:\n  - alias: fast",
            "4:5: claude-api-key[0].models[0].name: this key is required",
        ),
        (
            "openai-compatibility:\n- base-url: http://127.0.0.1:1/v1",
            "2:3: openai-compatibility[0].name: this key is required",
        ),
        (
            "ampcode: {model-mappings: [{to: b}]}",
            "1:28: ampcode.model-mappings[0].from: this key is required",
        ),
        (
            "models: {best: {targets: []}}",
            "1:26: models.best.targets: expected at least one item, found a list",
        ),
        ("auth-dir: ''", "1:11: auth-dir: expected text that is not empty, found ''"),
        (
            "gemini-api-key: [{api-key: k, headers: {'a b': c}}]",
            "1:48: gemini-api-key[0].headers.a b: expected the name of a header",
        ),
        (
            "oauth-request-scoped-errors: {codex: [{status: 400, action: stop, match-regexr: ['(']}]}",
            "1:82: oauth-request-scoped-errors.codex[0].match-regexr[0]: expected a regular expression, found '('",
        ),
        ("tls:\n  cert: a.pem", "2:3: tls: expected both cert and key, or neither"),
        ("host: a\nport: 1\nhost: b", "3:1: host: this key is already on line 1"),
        ("api-keys: []\napi_keys: []", "2:1: api-keys: this key is already on line 1"),
        (
            "payload: {override: [{params: {a: {b: 1, b: 2}}}]}",
            "1:42: payload.override[0].params.a.b: this key is already on line 1",
        ),
        ("? [a]\n: b", "1:3: expected a key of plain text"),
        ("tls: {<<: 5}", "1:11: tls: expected a mapping to merge with <<"),
        (
            "auth-dir: !env HOME",
            "1:11: auth-dir: YAML tags (!…) are not understood; quote text that begins with !",
        ),
        (
            "payload: {override: [{params: {a: !!set {b}}}]}",
            "1:35: payload.override[0].params.a: YAML tags (!…) are not understood; quote text that begins with !",
        ),
        (
            "api-keys:\n  - mine\n  - your-api-key-2",
            "3:5: api-keys[1]: this key is the template's and known to everyone; choose one of your own",
        ),
        (
            "api-keys: [a, {key: a, rpm: 5}]",
            "1:11: api-keys: entry 2 repeats a key with other limits",
        ),
    ],
)
def test_a_fault_is_told_with_place_key_expectation_and_finding(text: str, problem: str) -> None:
    assert faults(text) == (f"config.yaml:{problem}",)


def test_all_faults_are_told_at_once_in_the_order_of_the_file() -> None:
    text = "port: x\nport: 1\nhost: [a]\nclaude-api-key:\n- api-key: k\n  base-url: nowhere\n  weight: much\n"
    assert [problem.split(" ")[0] for problem in faults(text)] == [
        "config.yaml:1:7:",
        "config.yaml:2:1:",
        "config.yaml:3:7:",
        "config.yaml:6:13:",
        "config.yaml:7:11:",
    ]


def test_faults_after_an_entry_that_is_left_out_keep_their_place() -> None:
    text = "codex-api-key:\n- {api-key: k, models: [{name: a}]}\n- api-key: k\n  base-url: http://h\n  models: [{alias: b}]\n"
    assert faults(text) == ("config.yaml:5:12: codex-api-key[1].models[0].name: this key is required",)


@pytest.mark.parametrize("text", ["api-keys: [[sk-test-1]]", "api-keys: [sk-test-1", "a: *sk-test-1"])
def test_a_traceback_does_not_show_the_text_of_the_file(text: str) -> None:
    with pytest.raises(ConfigFault) as fault:
        parse_config(text)
    assert "sk-test-1" not in "".join(traceback.format_exception(fault.value))


@pytest.mark.parametrize("host", ["''", "0.0.0.0", "'::'", "192.168.1.5", "gateway.example"])
def test_an_open_port_without_keys_is_a_warning(host: str) -> None:
    assert parse_config(f"host: {host}").warnings == [
        "config.yaml: host: other machines can reach this gateway, and without api-keys it serves them all"
    ]
    assert parse_config(f"host: {host}\napi-keys: [k]").warnings == []


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2", "'::1'", "'[::1]'"])
def test_a_loopback_port_without_keys_is_not(host: str) -> None:
    assert parse_config(f"host: {host}").warnings == []


def test_keys_for_imitation_and_for_what_is_not_built_are_ignored_and_reported_once() -> None:
    text = """
codex:
  identity-confuse: true
claude-api-key:
- api-key: k
  cloak: {mode: always}
- api-key: l
  cloak: {mode: never}
plugins: {enabled: true, dir: somewhere}
redis-usage-queue-retention-seconds: 60
"""
    assert parse_config(text).warnings == [
        "config.yaml: accepted and ignored, as they only serve the imitation of vendors' clients, which this program"
        " does not do: codex.identity-confuse (line 3), claude-api-key[].cloak (line 6); see docs/configuration.md",
        "config.yaml: accepted and ignored, as this program does not have these features of CLIProxyAPI:"
        " plugins (line 9), redis-usage-queue-retention-seconds (line 10); see docs/configuration.md",
    ]
