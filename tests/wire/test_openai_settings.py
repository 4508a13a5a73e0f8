"""cliproxy.wire.openai_settings: what OpenAI's two formats limit alike."""

import pytest

from cliproxy.wire.model import OutputFormat
from cliproxy.wire.openai_settings import effort, schema_name, short_user
from cliproxy.wire.reasoning import Setting


@pytest.mark.parametrize(
    ("setting", "level"),
    [
        (Setting(on=True, effort="low"), "low"),
        (Setting(on=True, effort="low", budget=99_999), "low"),
        (Setting(on=True, budget=8000), "medium"),
        (Setting(on=True, budget=-1), None),
        (Setting(on=True, visible=True), None),
        (Setting(on=False), "none"),
        (Setting(on=False, effort="minimal"), "minimal"),
    ],
)
def test_the_level_of_a_setting(setting, level):
    assert effort(setting) == level


def test_a_long_user_becomes_a_short_one_that_stays_the_same():
    assert short_user("u" * 64) == "u" * 64
    assert len(short_user("u" * 65)) == 64
    assert short_user("u" * 65) == short_user("u" * 65) != short_user("u" * 66)


@pytest.mark.parametrize(("name", "sent"), [(None, "response"), ("a b/c", "a_b_c"), ("x" * 99, "x" * 64)])
def test_names_of_schemas(name, sent):
    assert schema_name(OutputFormat("json_schema", name)) == sent
