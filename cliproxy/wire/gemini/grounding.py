"""What Gemini says of its sources: `groundingMetadata`, to and from citations and a search with results."""

from collections.abc import Iterator
from typing import Any, cast

from msgspec import Struct

from cliproxy.wire.gemini.vocabulary import FORMAT
from cliproxy.wire.model import Citation, Json, ServerCall, ServerResult
from cliproxy.wire.names import new_id


class _Web(Struct):
    uri: str | None = None
    title: str | None = None


class _Source(Struct, rename="camel"):
    web: _Web | None = None
    retrieved_context: _Web | None = None
    maps: _Web | None = None

    def page(self) -> _Web:
        return self.web or self.retrieved_context or self.maps or _Web()


class _Segment(Struct, rename="camel"):
    """A stretch of the answer, in bytes of UTF-8."""

    start_index: int | None = None
    end_index: int | None = None
    text: str | None = None


class _Support(Struct, rename="camel"):
    segment: _Segment | None = None
    grounding_chunk_indices: list[int] | None = None


class GroundingMetadata(Struct, rename="camel"):
    """Only what citations need."""

    web_search_queries: list[str] | None = None
    grounding_chunks: list[_Source] | None = None
    grounding_supports: list[_Support] | None = None

    def update(self, later: "GroundingMetadata") -> None:
        """Let a later chunk's metadata win field by field."""
        for name in self.__struct_fields__:
            value = getattr(later, name)
            if value:
                setattr(self, name, value)


def citations(grounding: GroundingMetadata, text: str) -> Iterator[Citation]:
    """The sources of stretches of `text`, which is the answer that was grounded."""
    sources = [source.page() for source in grounding.grounding_chunks or ()]
    encoded = text.encode("utf-8", "replace")
    for support in grounding.grounding_supports or ():
        start, end = _stretch(support.segment or _Segment(), text, encoded)
        for index in support.grounding_chunk_indices or ():
            if 0 <= index < len(sources):
                yield Citation(url=sources[index].uri, title=sources[index].title, start=start, end=end)


def _stretch(segment: _Segment, text: str, encoded: bytes) -> tuple[int | None, int | None]:
    """Where a segment lies in `text`, in characters: by its bytes, or by its words if those are elsewhere."""
    if segment.end_index is not None:
        start = len(encoded[: segment.start_index or 0].decode("utf-8", "ignore"))
        end = len(encoded[: segment.end_index].decode("utf-8", "ignore"))
        if segment.text is None or text[start:end] == segment.text:
            return start, end
    if segment.text:
        start = text.find(segment.text)
        if start >= 0:
            return start, start + len(segment.text)
    return None, None


def search(grounding: GroundingMetadata) -> tuple[ServerCall, ServerResult] | tuple[()]:
    """The search behind an answer, as a call at the vendor and what it found; nothing if there was none."""
    queries, chunks = grounding.web_search_queries or [], grounding.grounding_chunks or []
    if not queries and not chunks:
        return ()
    id = new_id("search_")
    sources = [Citation(url=page.uri, title=page.title) for page in (chunk.page() for chunk in chunks)]
    call = ServerCall(id, "web_search", FORMAT, {"query": queries[0] if queries else "", "queries": queries})
    return call, ServerResult(id, "web_search", FORMAT, sources)


class GroundingWriter:
    """Collects the sources of an answer of any origin and says them in Gemini's words."""

    def __init__(self) -> None:
        self._queries: list[str] = []
        self._sources: dict[str, int] = {}
        self._chunks: list[Json] = []
        self._supports: list[Json] = []

    def add_call(self, call: ServerCall) -> None:
        queries = call.input.get("queries")
        asked = cast("list[Any]", queries) if isinstance(queries, list) else [call.input.get("query")]
        self._queries.extend(query for query in asked if isinstance(query, str) and query)

    def add_result(self, result: ServerResult) -> None:
        for source in result.sources:
            self._source(source)

    def add_citation(self, citation: Citation, text: str) -> None:
        """A source of `text`, a part of the answer, or of the stretch of it that the citation names."""
        index = self._source(citation)
        if index is None:
            return
        start = citation.start or 0
        end = len(text) if citation.end is None else citation.end
        segment = {
            "startIndex": len(text[:start].encode("utf-8", "replace")),
            "endIndex": len(text[:end].encode("utf-8", "replace")),
            "text": text[start:end],
        }
        if self._supports and self._supports[-1]["segment"] == segment:
            self._supports[-1]["groundingChunkIndices"].append(index)
        else:
            self._supports.append({"segment": segment, "groundingChunkIndices": [index]})

    def metadata(self) -> Json | None:
        if not self._queries and not self._chunks:
            return None
        return {
            "webSearchQueries": self._queries,
            "groundingChunks": self._chunks,
            "groundingSupports": self._supports,
        }

    def _source(self, source: Citation) -> int | None:
        """The index of a source, which is listed once; None for one without an address."""
        if source.url is None:
            return None
        if source.url not in self._sources:
            self._sources[source.url] = len(self._chunks)
            web = {"uri": source.url, "title": source.title or source.url}
            self._chunks.append({"web": web})
        return self._sources[source.url]
