"""Words and shapes that stand for what a target format has no field for."""

from cliproxy.wire.json import dumps_text
from cliproxy.wire.model import Json, OutputFormat, Tool

CUSTOM_TOOL_SCHEMA: Json = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
}
"""The arguments of a function that stands for a custom tool; `restore.Restorer` takes the calls of it apart again."""


def custom_tool_description(tool: Tool) -> str | None:
    """A custom tool's description, with the grammar that its input has to follow."""
    grammar = (tool.grammar or {}).get("definition")
    if not grammar:
        return tool.description
    return f"{tool.description or ''}\n\nThe input must match this grammar:\n{grammar}".lstrip()


def custom_tool_arguments(text: str) -> Json:
    return {"input": text}


def output_instruction(output: OutputFormat) -> str:
    """Asks for the format where the model cannot be held to it."""
    if output.schema is None:
        return "Answer with a single JSON object and nothing else."
    return f"Answer with JSON that matches this JSON Schema and nothing else: {dumps_text(output.schema)}"


def system_reminder(text: str) -> str:
    """Instructions in mid-conversation, for formats whose roles are those of user and model alone."""
    return f"<system-reminder>\n{text}\n</system-reminder>"


def titled(name: str | None, text: str) -> str:
    """A plain-text document as text."""
    return f"{name}\n\n{text}" if name else text
