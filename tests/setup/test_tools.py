"""What each tool's files look like afterwards, as the tools themselves were seen to read them."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cliproxy.cli.setup import Name
from cliproxy.routing.catalogue import ListedModel
from cliproxy.setup import TOOLS
from cliproxy.setup.files import plan_setup, plan_undo, read_settings
from cliproxy.setup.tool import Environment, Gateway, Pointer, Tool
from cliproxy.wire.model import ModelFacts

URL, KEY = "http://127.0.0.1:8317", "sk-test-client"
MODELS = (
    ListedModel("kimi-k3", "Kimi K3", "kimi", ModelFacts("kimi-k3", context_tokens=262_144, max_output_tokens=65_536)),
    ListedModel("demo/echo", "Demo", "demo", ModelFacts("demo/echo")),
)
PLAIN = Gateway(URL, KEY, MODELS)
CHOSEN = Gateway(URL, KEY, MODELS, "kimi-k3")

REAL_FILES = {
    "claude": {
        ".claude/settings.json": '{\n  "permissions": {\n    "allow": ["Bash(npm run *)"]\n  },\n  "env": {\n'
        '    "ANTHROPIC_BASE_URL": "https://gateway.corp.example",\n    "BASH_DEFAULT_TIMEOUT_MS": "60000"\n  },\n'
        '  "model": "opusplan"\n}\n'
    },
    "codex": {
        ".codex/config.toml": '# Codex of mine\nmodel = "gpt-5.5" # fast enough\nmodel_reasoning_effort = "high"\n\n'
        '[features]\nweb_search = true\n\n# servers\n[mcp_servers.docs]\ncommand = "npx"\nargs = ["-y", "docs"] # pinned\n'
        '\n[projects."/home/me/work"]\ntrust_level = "trusted"\n'
    },
    "gemini": {
        ".gemini/settings.json": '// Gemini CLI of mine\n{\n  "ui": { "theme": "GitHub" }, // dark\n  "security": {\n'
        '    "auth": { "selectedType": "oauth-personal" }\n  }\n  /* "mcpServers": {} */\n}\n',
        ".gemini/.env": '# of mine\nexport GOOGLE_CLOUD_PROJECT="my-project" # work\n',
    },
    "qwen": {
        ".qwen/settings.json": '{\n\t// Qwen Code of mine\n\t"security": { "auth": { "selectedType": "qwen-oauth" } },\n'
        '\t"modelProviders": {\n\t\t"openai": [{ "id": "gpt-5.5", "envKey": "OPENAI_API_KEY" }]\n\t},\n\t"$version": 4\n}\n'
    },
    "opencode": {
        ".config/opencode/opencode.jsonc": '{\n  "$schema": "https://opencode.ai/config.json",\n  // what I use\n'
        '  "theme": "tokyonight",\n  "provider": {\n    "anthropic": { "options": {} }, // mine\n  },\n}\n'
    },
    "amp": {".config/amp/settings.json": '{\n  // Amp of mine\n  "amp.showCosts": false,\n}\n'},
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


def set_up(tool: Tool, gateway: Gateway, home: Path, env: Environment | None = None) -> None:
    for file, settings in zip(tool.files(home, env or {}), tool.settings(gateway), strict=True):
        plan_setup(file.path, file.syntax, settings).carry_out()


def documents(tool: Tool, home: Path, env: Environment | None = None) -> list[dict[str, Any]]:
    return [read_settings(file.path, file.syntax) for file in tool.files(home, env or {})]


def put(home: Path, files: Mapping[str, str]) -> None:
    for name, content in files.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "utf-8")


def all_files(home: Path) -> dict[str, str]:
    return {str(path.relative_to(home)): path.read_text("utf-8") for path in home.rglob("*") if path.is_file()}


def comments_of(text: str) -> Iterator[str]:
    for line in text.splitlines():
        for mark in ("# ", "// ", "/* "):
            if mark in line:
                yield line[line.index(mark) :].strip()


# ---------------------------------------------------------------- all of them


def test_the_command_offers_every_tool() -> None:
    assert set(Name.__args__) == set(TOOLS) == set(REAL_FILES)


@pytest.mark.parametrize("tool", TOOLS.values(), ids=list(TOOLS))
def test_it_goes_to_its_vendor_then_to_the_gateway_and_back(tool: Tool, home: Path) -> None:
    assert tool.pointer(documents(tool, home)) is None
    set_up(tool, CHOSEN, home)
    pointer = tool.pointer(documents(tool, home))
    assert pointer
    assert pointer.url.removesuffix("/v1") == URL
    assert pointer.key == KEY
    for file in tool.files(home, {}):
        plan = plan_undo(file.path, file.syntax)
        assert plan
        plan.carry_out()
    assert all_files(home) == {}


@pytest.mark.parametrize("gateway", [PLAIN, CHOSEN], ids=["plain", "chosen"])
@pytest.mark.parametrize("tool", TOOLS.values(), ids=list(TOOLS))
def test_a_real_file_keeps_its_comments_and_comes_back(tool: Tool, gateway: Gateway, home: Path) -> None:
    originals = REAL_FILES[tool.name]
    put(home, originals)
    set_up(tool, gateway, home)
    for name, original in originals.items():
        text = (home / name).read_text("utf-8")
        assert text != original
        assert list(comments_of(text)) == list(comments_of(original))
        assert (home / f"{name}.cliproxy.bak").read_text("utf-8") == original
    for file in tool.files(home, {}):
        plan = plan_undo(file.path, file.syntax)
        assert plan
        plan.carry_out()
    assert all_files(home) == originals


def test_another_gateway_of_the_user_is_seen(home: Path) -> None:
    put(home, REAL_FILES["claude"])
    claude = TOOLS["claude"]
    assert claude.pointer(documents(claude, home)) == Pointer("https://gateway.corp.example", "")


@pytest.mark.parametrize(
    ("tool", "variable", "file"),
    [
        ("claude", "CLAUDE_CONFIG_DIR", "settings.json"),
        ("codex", "CODEX_HOME", "config.toml"),
        ("gemini", "GEMINI_CLI_HOME", ".gemini/settings.json"),
        ("qwen", "QWEN_HOME", "settings.json"),
        ("opencode", "XDG_CONFIG_HOME", "opencode/opencode.json"),
        ("amp", "XDG_CONFIG_HOME", "amp/settings.json"),
    ],
)
def test_files_are_where_the_tool_looks(tool: str, variable: str, file: str, home: Path) -> None:
    found = TOOLS[tool].files(home, {variable: "/elsewhere"})[0].path
    assert found == Path("/elsewhere") / file


def test_amps_own_variable_names_the_very_file(home: Path) -> None:
    assert TOOLS["amp"].files(home, {"AMP_SETTINGS_FILE": "/elsewhere/amp.json"})[0].path == Path("/elsewhere/amp.json")


# ---------------------------------------------------------------- one by one


def test_claude_code_asks_for_its_own_models_unless_one_is_chosen(home: Path) -> None:
    set_up(TOOLS["claude"], PLAIN, home)
    (settings,) = documents(TOOLS["claude"], home)
    assert settings["env"] == {
        "ANTHROPIC_BASE_URL": URL,
        "ANTHROPIC_AUTH_TOKEN": KEY,
        "CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY": "1",
    }
    set_up(TOOLS["claude"], CHOSEN, home)
    (settings,) = documents(TOOLS["claude"], home)
    kinds = ("ANTHROPIC_MODEL", *(f"ANTHROPIC_DEFAULT_{kind}_MODEL" for kind in ("OPUS", "SONNET", "HAIKU")))
    assert {settings["env"][kind] for kind in kinds} == {"kimi-k3"}
    assert settings["env"]["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == "262144"


def test_claude_code_knows_the_windows_of_its_vendors_models(home: Path) -> None:
    model = ListedModel("claude-opus-5-5", "", "claude", ModelFacts("claude-opus-5-5", context_tokens=200_000))
    set_up(TOOLS["claude"], Gateway(URL, KEY, (model,), model.name), home)
    (settings,) = documents(TOOLS["claude"], home)
    assert settings["env"]["ANTHROPIC_MODEL"] == model.name
    assert "CLAUDE_CODE_MAX_CONTEXT_TOKENS" not in settings["env"]


def test_codex_gets_a_provider_and_keeps_its_login(home: Path) -> None:
    put(home, {".codex/auth.json": '{"OPENAI_API_KEY": "sk-test-own"}'})
    set_up(TOOLS["codex"], CHOSEN, home)
    (config,) = documents(TOOLS["codex"], home)
    assert config == {
        "model": "kimi-k3",
        "model_context_window": 262_144,
        "model_provider": "cliproxy",
        "model_providers": {
            "cliproxy": {
                "name": "cliproxy",
                "base_url": f"{URL}/v1",
                "wire_api": "responses",
                "experimental_bearer_token": KEY,
            }
        },
    }
    assert (home / ".codex/auth.json").read_text("utf-8") == '{"OPENAI_API_KEY": "sk-test-own"}'


def test_codex_may_have_its_own_provider_moved_to_another_place(home: Path) -> None:
    put(home, {".codex/config.toml": 'openai_base_url = "http://127.0.0.1:8317/v1"\n'})
    codex = TOOLS["codex"]
    assert codex.pointer(documents(codex, home)) == Pointer(f"{URL}/v1", "")
    put(home, {".codex/config.toml": 'openai_base_url = "http://127.0.0.1:8317/v1"\nmodel_provider = "ollama"\n'})
    assert codex.pointer(documents(codex, home)) is None


def test_gemini_cli_gets_its_kind_of_login_and_two_variables(home: Path) -> None:
    set_up(TOOLS["gemini"], CHOSEN, home)
    settings, variables = documents(TOOLS["gemini"], home)
    assert settings == {"security": {"auth": {"selectedType": "gemini-api-key"}}, "model": {"name": "kimi-k3"}}
    assert variables == {"GEMINI_API_KEY": KEY, "GOOGLE_GEMINI_BASE_URL": URL}
    assert (home / ".gemini/.env").stat().st_mode & 0o777 == 0o600


def test_qwen_code_can_choose_among_the_gateways_models(home: Path) -> None:
    set_up(TOOLS["qwen"], CHOSEN, home)
    (settings,) = documents(TOOLS["qwen"], home)
    common = {"baseUrl": f"{URL}/v1", "envKey": "CLIPROXY_API_KEY"}
    assert settings == {
        "security": {"auth": {"selectedType": "openai"}},
        "env": {"CLIPROXY_API_KEY": KEY},
        "modelProviders": {
            "cliproxy": [
                {"id": "kimi-k3", "name": "kimi-k3", **common, "generationConfig": {"contextWindowSize": 262_144}},
                {"id": "demo/echo", "name": "demo/echo", **common},
            ]
        },
        "providerProtocol": {"cliproxy": "openai"},
        "model": {"name": "kimi-k3", "baseUrl": f"{URL}/v1"},
    }


def test_opencode_can_choose_among_the_gateways_models(home: Path) -> None:
    set_up(TOOLS["opencode"], CHOSEN, home)
    (config,) = documents(TOOLS["opencode"], home)
    assert config == {
        "provider": {
            "cliproxy": {
                "npm": "@ai-sdk/openai-compatible",
                "name": "cliproxy",
                "options": {"baseURL": f"{URL}/v1", "apiKey": KEY},
                "models": {
                    "kimi-k3": {"name": "kimi-k3", "limit": {"context": 262_144, "output": 65_536}},
                    "demo/echo": {"name": "demo/echo"},
                },
            }
        },
        "model": "cliproxy/kimi-k3",
    }


def test_opencode_is_undone_where_it_was_set_up(home: Path) -> None:
    opencode = TOOLS["opencode"]
    set_up(opencode, PLAIN, home)
    (before,) = opencode.files(home, {})
    put(home, {".config/opencode/opencode.jsonc": "{}"})
    assert opencode.files(home, {}) == (before,)


def test_amp_keeps_the_keys_of_other_places(home: Path) -> None:
    secrets = {"apiKey@https://ampcode.com/": "sk-test-amp"}
    put(home, {".local/share/amp/secrets.json": json.dumps(secrets)})
    set_up(TOOLS["amp"], PLAIN, home)
    assert documents(TOOLS["amp"], home) == [{"amp.url": URL}, secrets | {f"apiKey@{URL}": KEY}]
