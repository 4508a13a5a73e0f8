"""cliproxy.wire.stand_ins: what is said where a format has no field for it."""

import pytest

from cliproxy.wire.model import OutputFormat, Tool
from cliproxy.wire.stand_ins import custom_tool_description, output_instruction, titled

GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}
RULE = "The input must match this grammar:\nstart: /.+/"


@pytest.mark.parametrize(
    ("tool", "description"),
    [
        (Tool("f", kind="custom"), None),
        (Tool("f", "Runs.", kind="custom"), "Runs."),
        (Tool("f", "Runs.", kind="custom", grammar={"type": "text"}), "Runs."),
        (Tool("f", "Runs.", kind="custom", grammar=GRAMMAR), f"Runs.\n\n{RULE}"),
        (Tool("f", kind="custom", grammar=GRAMMAR), RULE),
    ],
)
def test_a_grammar_is_part_of_the_description(tool, description):
    assert custom_tool_description(tool) == description


def test_a_format_is_asked_for():
    assert "JSON object" in output_instruction(OutputFormat("json_object"))
    assert output_instruction(OutputFormat("json_schema", schema={"type": "object"})).endswith('{"type":"object"}')


def test_a_title_stands_above_its_text():
    assert (titled("a.txt", "words"), titled(None, "words")) == ("a.txt\n\nwords", "words")
