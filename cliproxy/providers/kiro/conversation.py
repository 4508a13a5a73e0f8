"""A `Request` → the body that the service takes: a history of alternating messages, and the current one.

Shapes: aws/amazon-q-developer-cli (Apache-2.0 and MIT), whose generated client describes the API. There is no place for
instructions, sampling, limits, stop sequences, cache marks or a tool choice; reasoning is not returned, for its
signatures count for one account only.
"""

import base64
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field

from cliproxy.providers.conversation import conversation_id
from cliproxy.providers.kiro.models import model_id
from cliproxy.providers.kiro.tools import NAME_CHARS, NAME_LIMIT, specifications, tool_names
from cliproxy.wire import history, json, reasoning, stand_ins
from cliproxy.wire.errors import ClientFault, UnsupportedContent
from cliproxy.wire.model import (
    Json,
    Media,
    ModelFacts,
    Part,
    Refusal,
    Request,
    Text,
    ToolCall,
    ToolResult,
    Turn,
)
from cliproxy.wire.names import ToolNames, call_id

_TARGET = "Kiro"
_SILENCE = "."
"""Where nobody said a word: the service refuses empty content."""
_GO_ON = "Continue."
"""Follows words that the client put into the model's mouth: the last message is always the user's."""
_ATTACHED = "The result is attached to this message."
"""Stands in a tool's result, which can hold only text, for media alone."""

_IMAGE_FORMATS = {
    "image/gif": "gif",
    "image/jpeg": "jpeg",
    "image/jpg": "jpeg",
    "image/png": "png",
    "image/webp": "webp",
}
_PDF = "application/pdf"


def encode_request(
    request: Request, facts: ModelFacts, *, origin: str, profile_arn: str, session: str, settable: bool = True
) -> Json:
    """The body for a request.

    origin: `AI_EDITOR` or `CLI`, which decides what subscription counts. session: tells the conversation from others;
    empty: unknown. settable: the account may set how much a model reasons. Raises UnsupportedContent for what cannot be
    said.
    """
    names = tool_names(request)
    turns = _alternating(request.turns)
    tools, rests = specifications(request, turns, names)
    writer = _Writer(names, {"origin": origin, **_model(request.model)})
    messages = [writer.user(turn) if turn.role == "user" else writer.assistant(turn) for turn in turns]
    _instruct(messages[0]["userInputMessage"], [*_instructions(request), *rests])
    *past, current = messages
    if tools:
        current["userInputMessage"].setdefault("userInputMessageContext", {})["tools"] = tools
    body: Json = {
        "conversationState": {
            "chatTriggerType": "MANUAL",
            "conversationId": conversation_id(session) or str(uuid.uuid4()),
            "currentMessage": current,
            **({"history": past} if past else {}),
        }
    }
    if profile_arn:
        body["profileArn"] = profile_arn
    if settable and (fields := _model_fields(request, facts)):
        body["additionalModelRequestFields"] = fields
    return body


def _model(name: str) -> Json:
    id = model_id(name)
    return {"modelId": id} if id else {}


def _model_fields(request: Request, facts: ModelFacts) -> Json:
    """What is asked of the model's reasoning. Models without levels refuse the whole field."""
    if facts.thinking is None or not facts.thinking.levels:
        return {}
    setting = reasoning.fit(request.reasoning, facts, cross=True)
    if setting is None:
        return {}
    if not request.model.startswith("claude"):
        effort = setting.effort if setting.on or "none" in facts.thinking.levels else None
        return {"reasoning": {"effort": effort}} if effort else {}
    if not setting.on:
        return {"thinking": {"type": "disabled"}}
    display = {"display": "summarized"} if setting.visible else {}
    effort = {"output_config": {"effort": setting.effort}} if setting.effort else {}
    return {"thinking": {"type": "adaptive", **display}, **effort}


# ---------------------------------------------------------------- the order of the turns


def _alternating(turns: list[Turn]) -> list[Turn]:
    """User and assistant by turns, the user first and last; calls and results in pairs."""
    repaired = history.repair([_of_user(turn) if turn.role == "system" else turn for turn in turns], [])
    if repaired[-1].role == "assistant":
        repaired = history.repair([*repaired, Turn("user", [Text(_GO_ON)])], [])
    if repaired[0].role == "assistant":
        repaired = [Turn("user", []), *repaired]
    return repaired


def _of_user(turn: Turn) -> Turn:
    """Instructions in mid-conversation as the user's words."""
    return Turn("user", [Text(stand_ins.system_reminder(text)) for text in _texts(turn.parts)])


# ---------------------------------------------------------------- instructions


def _instructions(request: Request) -> list[str]:
    instructions = _texts(request.system)
    if request.output is not None and request.output.kind != "text":
        instructions.append(stand_ins.output_instruction(request.output))
    return instructions


def _texts(parts: Iterable[Part]) -> list[str]:
    """Texts and text documents. Raises UnsupportedContent for other media."""
    texts: list[str] = []
    for part in parts:
        match part:
            case Text(text):
                texts.append(text)
            case Media(text=str(text)):
                texts.append(stand_ins.titled(part.name, text))
            case Media():
                raise UnsupportedContent(f"{part.kind} content in the instructions", _TARGET)
            case _:
                pass
    return [text for text in texts if text.strip()]


def _instruct(message: Json, instructions: list[str]) -> None:
    """Put instructions before the user's first words."""
    if instructions:
        said = message["content"]
        message["content"] = "\n\n".join([*instructions, *([] if said == _SILENCE else [said])])


# ---------------------------------------------------------------- messages


@dataclass(slots=True)
class _Said:
    """The content of one user message, as it is being read."""

    texts: list[str] = field(default_factory=list)
    images: list[Json] = field(default_factory=list)
    documents: list[Json] = field(default_factory=list)
    results: list[Json] = field(default_factory=list)


class _Writer:
    """Writes the messages of one conversation. settings: those of each of the user's."""

    def __init__(self, names: ToolNames, settings: Json) -> None:
        self._names = names
        self._settings = settings
        self._documents = 0

    def user(self, turn: Turn) -> Json:
        said = _Said()
        for part in turn.parts:
            match part:
                case Text(text) | Refusal(text):
                    said.texts.append(text)
                case Media():
                    self._media(part, said, said.texts)
                case ToolResult():
                    said.results.append(self._result(part, said))
                case _:
                    # What ran at another vendor, or is known to it alone, says nothing here.
                    pass
        message: Json = {"content": _spoken(said.texts), **self._settings}
        if said.images:
            message["images"] = said.images
        if said.documents:
            message["documents"] = said.documents
        if said.results:
            message["userInputMessageContext"] = {"toolResults": said.results}
        return {"userInputMessage": message}

    def assistant(self, turn: Turn) -> Json:
        message: Json = {"content": _spoken([part.text for part in turn.parts if isinstance(part, Text | Refusal)])}
        calls = [self._call(part) for part in turn.parts if isinstance(part, ToolCall)]
        if calls:
            message["toolUses"] = calls
        return {"assistantResponseMessage": message}

    def _call(self, call: ToolCall) -> Json:
        arguments = json.loads_object(call.arguments, "the arguments")
        return {"toolUseId": _id(call.id), "name": self._names.send(call.name), "input": arguments}

    def _result(self, result: ToolResult, said: _Said) -> Json:
        texts: list[str] = []
        for part in result.parts:
            match part:
                case Text(text):
                    texts.append(text)
                case Media():
                    self._media(part, said, texts)
                case _:
                    pass
        if not texts and any(isinstance(part, Media) for part in result.parts):
            texts.append(_ATTACHED)
        return {
            "toolUseId": _id(result.id),
            "status": "error" if result.is_error else "success",
            "content": [{"text": _spoken(texts)}],
        }

    def _media(self, part: Media, said: _Said, texts: list[str]) -> None:
        """Attach media to the message; texts: of whatever holds them, for those that are text."""
        if part.text is not None:
            texts.append(stand_ins.titled(part.name, part.text))
        elif part.data is None:
            where = "behind a URL" if part.url else "that was uploaded elsewhere"
            raise UnsupportedContent(f"{part.kind} content {where}", _TARGET)
        elif part.kind == "image":
            said.images.append({"format": _image_format(part), "source": {"bytes": part.data}})
        elif part.kind == "document" and (part.mime or _PDF) == _PDF:
            self._documents += 1
            # Names must be unique and plain.
            name = f"document {self._documents}"
            said.documents.append({"name": name, "format": "pdf", "source": {"bytes": part.data}})
        elif part.kind == "document" and (part.mime or "").startswith("text/"):
            texts.append(stand_ins.titled(part.name, _decoded(part.data)))
        else:
            raise UnsupportedContent(f"{part.kind} content ({part.mime})", _TARGET)


def _decoded(data: str) -> str:
    try:
        return base64.b64decode(data).decode("utf-8", "replace")
    except ValueError:
        raise ClientFault("a document's data is not base64") from None


def _image_format(image: Media) -> str:
    known = _IMAGE_FORMATS.get((image.mime or "image/png").lower())
    if known is None:
        raise UnsupportedContent(f"an image of the type {image.mime}", _TARGET)
    return known


def _spoken(texts: Iterable[str]) -> str:
    return "\n\n".join(text for text in texts if text.strip()) or _SILENCE


def _id(id: str) -> str:
    return call_id(id, NAME_LIMIT, NAME_CHARS, "tooluse_")
