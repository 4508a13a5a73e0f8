"""Our settings in files of others: in, out again, and nothing of theirs lost."""

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cliproxy.setup.json_syntax import JsonSyntax
from cliproxy.setup.merging import Record, recorded, with_settings, without_settings
from cliproxy.setup.syntax import Settings, SettingsFault, Syntax
from cliproxy.setup.toml_syntax import TomlSyntax
from tests.setup.json_layouts import PATHS, VALUES, layouts

JSON = JsonSyntax(comments=True, trailing_commas=True)
TOML = TomlSyntax()
OURS = st.dictionaries(PATHS, VALUES.filter(lambda value: not isinstance(value, dict)), min_size=1, max_size=4).filter(
    lambda settings: not any(a != b and b[: len(a)] == a for a in settings for b in settings)
)


def set_up(syntax: Syntax, original: str, settings: Settings) -> tuple[str, Record]:
    return with_settings(syntax, original, original, None, settings), recorded(settings, existed=True)


def set_up_any(original: str, settings: Settings) -> tuple[str, Record]:
    try:
        return set_up(JSON, original, settings)
    except SettingsFault:  # a value of the file stands where a table is needed
        assume(False)
        raise


# ---------------------------------------------------------------- any file


@given(layouts(), OURS)
def test_undoing_restores_the_very_text(original: str, settings: Settings) -> None:
    text, record = set_up_any(original, settings)
    assert without_settings(JSON, original, text, record) == original


@given(layouts(), OURS)
def test_a_second_set_up_changes_nothing(original: str, settings: Settings) -> None:
    text, record = set_up_any(original, settings)
    assert with_settings(JSON, original, text, record, settings) == text


@given(layouts(), OURS, OURS)
def test_another_set_up_takes_the_place_of_the_first(original: str, first: Settings, second: Settings) -> None:
    expected, _ = set_up_any(original, second)
    text, record = set_up_any(original, first)
    assert with_settings(JSON, original, text, record, second) == expected


@given(layouts(), OURS)
def test_what_the_user_adds_in_between_survives(original: str, settings: Settings) -> None:
    text, record = set_up_any(original, settings)
    text = JSON.set(text, ("user", "own"), "// added")
    text = with_settings(JSON, original, text, record, settings)
    undone = without_settings(JSON, original, text, record)
    assert JSON.read(undone) == JSON.read(original) | {"user": {"own": "// added"}}


# ---------------------------------------------------------------- what others changed


URL, MODEL = ("env", "ANTHROPIC_BASE_URL"), ("model",)


@pytest.mark.parametrize("before", ["{}", '{"model": "opus", "env": {"ANTHROPIC_BASE_URL": "http://corp"}}'])
def test_a_value_that_somebody_changed_since_stays(before: str) -> None:
    text, record = set_up(JSON, before, {URL: "http://127.0.0.1:8317", MODEL: "demo/echo"})
    undone = without_settings(JSON, before, JSON.set(text, URL, "http://elsewhere"), record)
    assert JSON.read(undone)["env"] == {"ANTHROPIC_BASE_URL": "http://elsewhere"}
    assert JSON.read(undone).get("model") == JSON.read(before).get("model")


def test_a_value_that_somebody_removed_since_does_not_come_back() -> None:
    before = '{"env": {"ANTHROPIC_BASE_URL": "http://corp"}}'
    text, record = set_up(JSON, before, {URL: "http://127.0.0.1:8317"})
    assert without_settings(JSON, before, JSON.remove(text, URL), record) == '{"env": {}}'


def test_a_setting_of_the_first_set_up_goes_with_the_second_though_others_changed_the_file() -> None:
    text, record = set_up(JSON, "{}", {URL: "http://127.0.0.1:8317", MODEL: "demo/echo"})
    again = with_settings(JSON, "{}", JSON.set(text, ("theme",), "dark"), record, {URL: "http://127.0.0.1:1"})
    assert JSON.read(again) == {"env": {"ANTHROPIC_BASE_URL": "http://127.0.0.1:1"}, "theme": "dark"}


PROVIDER: Any = {
    ("provider", "cliproxy", "options", "baseURL"): "http://127.0.0.1:8317/v1",
    ("provider", "cliproxy", "models", "a", "name"): "a",
    ("provider", "cliproxy", "models", "b", "name"): "b",
}


def test_a_table_of_our_name_goes_with_all_that_somebody_put_into_it() -> None:
    before = '{"provider": {"mine": {}}}'
    text, record = set_up(JSON, before, PROVIDER)
    text = JSON.set(text, ("provider", "cliproxy", "models", "a", "name"), "renamed")
    text = JSON.set(text, ("provider", "cliproxy", "timeout"), 3)
    assert JSON.read(without_settings(JSON, before, text, record)) == {"provider": {"mine": {}}}


def test_a_model_that_is_no_longer_offered_goes_and_our_table_stays() -> None:
    text, record = set_up(JSON, "{}", PROVIDER)
    text = JSON.set(text, ("provider", "cliproxy", "timeout"), 3)
    fewer = {keys: value for keys, value in PROVIDER.items() if "b" not in keys}
    assert JSON.read(with_settings(JSON, "{}", text, record, fewer)) == {
        "provider": {
            "cliproxy": {
                "options": {"baseURL": "http://127.0.0.1:8317/v1"},
                "models": {"a": {"name": "a"}},
                "timeout": 3,
            }
        }
    }


def test_a_tool_may_write_its_file_anew_in_another_order() -> None:
    text, record = set_up(JSON, "{}", {("list",): [{"id": "a", "name": "b"}]})
    rewritten = '{"own": 1, "list": [{"name": "b", "id": "a"}]}'
    assert JSON.read(text) != JSON.read(rewritten)
    assert JSON.read(without_settings(JSON, "{}", rewritten, record)) == {"own": 1}


def test_toml_files_are_undone_too() -> None:
    original = '# mine\nmodel = "gpt-5.5"\n\n[model_providers.corp]\nname = "corp"\n'
    settings: Settings = {MODEL: "demo/echo", ("model_providers", "cliproxy", "name"): "cliproxy"}
    text, record = set_up(TOML, original, settings)
    assert without_settings(TOML, original, text, record) == original
    edited = text.replace("# mine", "# mine, and more")
    assert without_settings(TOML, original, edited, record) == original.replace("# mine", "# mine, and more")


def test_the_record_holds_no_secret() -> None:
    record = recorded({("key",): "sk-test-secret"}, existed=True)
    assert "sk-test-secret" not in str(record)
