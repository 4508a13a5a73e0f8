"""What the request encoders of all formats share: one request on its way to one model, and what is lost on it."""

from typing import Any

from cliproxy.wire.errors import UnsupportedContent
from cliproxy.wire.model import (
    Encoded,
    Format,
    Json,
    Media,
    ModelFacts,
    Opaque,
    Request,
    ServerCall,
    ServerResult,
    ServerTool,
    Tool,
)
from cliproxy.wire.names import ToolNames

_APIS: dict[Format, str] = {
    "openai-chat": "Chat Completions",
    "openai-responses": "Responses",
    "anthropic": "Messages",
    "gemini": "Gemini",
}

_MEDIA_WORDS = {"image": "an image", "document": "a document", "audio": "audio", "video": "video"}


class Encoding:
    """One request that is being written in one format.

    own: the client speaks that format itself, so that its extensions are meant for the upstream and stay.
    """

    def __init__(self, request: Request, facts: ModelFacts, format: Format, names: ToolNames) -> None:
        self.request = request
        self.facts = facts
        self.format: Format = format
        self.names = names
        self.own = request.origin == format
        known = facts.input_modalities
        self._modalities = None if known is None else frozenset(word.lower() for word in known)
        self._dropped: dict[str, None] = {}
        for tool in request.tools:
            if isinstance(tool, Tool):
                # Before the calls in the history: as that grows, the names stay what they were.
                names.send(tool.name)

    def encoded(self, body: Json) -> Encoded:
        return Encoded(body, list(self._dropped), self.names.restored)

    # ------------------------------------------------------------ losses

    def drop(self, what: str, why: str) -> None:
        """Record that something is not sent; the same loss is told once."""
        self._dropped[f"{what}: {why}"] = None

    def drop_settings(self, why: str, **settings: Any) -> None:
        """Record each of the settings that was made at all."""
        for name, value in settings.items():
            if value is not None and value is not False and value != []:
                self.drop(name, why)

    def unsupported(self, content: str) -> UnsupportedContent:
        """The fault for content that the format cannot say, and whose loss would change the meaning."""
        return UnsupportedContent(content, _APIS[self.format])

    def drop_foreign(self, part: ServerTool | ServerCall | ServerResult | Opaque) -> None:
        """Record what only its origin understands."""
        match part:
            case ServerTool(name):
                self.drop(f"tools.{name}", f"it runs at {part.origin} and has no counterpart here")
            case ServerCall(_, name) | ServerResult(_, name):
                self.drop(f"{name} in the history", f"it ran at {part.origin}")
            case Opaque(origin, raw):
                self.drop(str(raw.get("type", "content")), f"only {origin} knows it")

    def write_extras(self, body: Json, why: str) -> None:
        """Add the request's extras to a body of their own format; to any other they are lost.

        Those below the top level are named by their path, such as `generationConfig.speechConfig` or `messages[].name`.
        """
        for name, value in self.request.extras.items():
            if name in body:
                continue
            section, dot, field = name.rpartition(".")
            if not self.own:
                self.drop(name, why)
            elif section.endswith("[]"):
                self.drop(name, "kept only where the body passes as it is")
            elif dot:
                body.setdefault(section, {})[field] = value
            else:
                body[name] = value

    # ------------------------------------------------------------ what the model can do

    def takes(self, kind: str) -> bool:
        """Whether the model takes a kind of media, as far as is known. Documents everybody can read as text."""
        return self._modalities is None or kind == "document" or kind in self._modalities

    def check_media(self, part: Media) -> None:
        """Raises UnsupportedContent when the model takes no such media, or only another vendor can fetch them."""
        if part.text is not None:
            return
        if not self.takes(part.kind):
            raise UnsupportedContent(_MEDIA_WORDS[part.kind], self.facts.name)
        if part.file_id is not None and part.origin != self.format:
            raise self.unsupported(f"the uploaded file {part.file_id}")
        if part.url is not None and part.origin not in (None, self.format):
            raise self.unsupported(f"{_MEDIA_WORDS[part.kind]} that only {part.origin} can fetch, {part.url},")

    def max_tokens(self) -> int | None:
        """The output limit that the client set, within what the model can write."""
        asked, most = self.request.sampling.max_tokens, self.facts.max_output_tokens
        if asked is None or most is None or asked <= most:
            return asked
        self.drop("max_tokens", f"{asked} is more than the {most} that {self.facts.name} can write")
        return most

    def candidates(self) -> int | None:
        """How many answers to ask for: one is all that can be translated, but a client of this format may read more."""
        asked = self.request.sampling.candidates
        if self.own or asked is None or asked <= 1:
            return asked if self.own else None
        self.drop("n", f"one answer is asked for, not {asked}")
        return None

    # ------------------------------------------------------------ tools

    def tool_extras(self, tool: Tool) -> Json:
        """A tool's extras for a body of their own format; to any other they are lost."""
        if self.own:
            return tool.extras
        for name in tool.extras:
            self.drop(f"tools.{name}", f"only {self.request.origin} knows it")
        return {}

    def allowed_tools(self) -> list[Tool | ServerTool]:
        """The tools that a choice allows, for formats without such lists: what is not offered is not called."""
        choice, tools = self.request.tool_choice, self.request.tools
        if choice is None or choice.mode != "allowed":
            return tools
        return [tool for tool in tools if tool.name in choice.names]


def present(**fields: Any) -> Json:
    """Those of the fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}
