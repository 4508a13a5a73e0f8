"""What translating costs by itself, in this process: CPU time beside the standard library's JSON on the same bytes.

For each direction between two of the four formats: one event of a streamed answer, and a long request. The
yardstick is `json.loads` and `json.dumps` of the source, which any translator written in plain Python pays.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import permutations
from typing import Any

from bench.formats import MODEL, WORD
from cliproxy.wire import json as wire_json
from cliproxy.wire.model import FORMATS, Delta, Format, ModelFacts, PartStart, Request, Start, Text
from cliproxy.wire.translation import CODECS, Translation

FRAME_TARGET, REQUEST_TARGET = 1.5, 2.0
REQUEST_BYTES = 200_000
_FRAMES = 500
_REPEATS = 7
_FACTS = ModelFacts(MODEL)


@dataclass(frozen=True, slots=True)
class Cost:
    """One direction: requests go from `client` to `upstream`, frames come back."""

    client: Format
    upstream: Format
    frame_us: float
    frame_ratio: float
    request_ms: float
    request_ratio: float


class Direction:
    """The translating of one exchange, to be done again and again."""

    def __init__(self, client: Format, upstream: Format, question: Request) -> None:
        self.client: Format = client
        self.upstream: Format = upstream
        self.body = Translation(question, client, _FACTS, MODEL).body
        self.opening, self.frames = source_frames(upstream, question)
        self._documents = [frame.partition(b"data: ")[2] for frame in self.frames]
        self._translation = self._translated()

    def translate_request(self) -> bytes:
        return self._translated().body

    def translate_frames(self) -> bytes:
        stream = self._translation.stream()
        return b"".join([stream.feed(self.opening), *map(stream.feed, self.frames)])

    def cost(self) -> Cost:
        """Raises ValueError if a translation loses text."""
        if (found := self.translate_frames().count(WORD)) != len(self.frames):
            raise ValueError(f"{found} of {len(self.frames)} words came through")
        if len(self.translate_request()) < REQUEST_BYTES * 0.8:
            raise ValueError("the translated request lost most of its text")
        frame_s, json_frame_s = _least_s(
            self.translate_frames, lambda: [json.dumps(json.loads(document)) for document in self._documents]
        )
        request_s, json_request_s = _least_s(self.translate_request, lambda: json.dumps(json.loads(self.body)).encode())
        return Cost(
            self.client,
            self.upstream,
            frame_s / len(self.frames) * 1e6,
            frame_s / json_frame_s,
            request_s * 1e3,
            request_s / json_request_s,
        )

    def _translated(self) -> Translation:
        request = CODECS[self.client].decode_request(wire_json.loads(self.body), model=MODEL, stream=True)
        return Translation(request, self.upstream, _FACTS, MODEL)


def costs(formats: Sequence[Format] = FORMATS) -> Iterator[Cost]:
    """Measure every direction between two of `formats`."""
    question = long_question()
    for client, upstream in permutations(formats, 2):
        yield Direction(client, upstream, question).cost()


def long_question() -> Request:
    """About 200 KB in any format: a system prompt, tools, and turns of talk."""
    advice = "You are a careful coding assistant. Follow the rules of the repository. "
    parameters = {
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": "file"},
            "lines": {"type": "array", "items": {"type": "integer"}},
        },
        "required": ["path"],
    }
    tools = [
        {
            "type": "function",
            "function": {"name": f"tool_{i}", "description": advice * 10, "parameters": parameters},
        }
        for i in range(20)
    ]
    talk = [
        {"role": role, "content": f"step {i}: " + "please look at this line of code; " * 20}
        for i in range(REQUEST_BYTES // 1600)
        for role in ("user", "assistant")
    ]
    messages = [{"role": "system", "content": advice * 200}, *talk, {"role": "user", "content": "go on"}]
    body: dict[str, Any] = {
        "model": MODEL,
        "stream": True,
        "max_tokens": 256,
        "tools": tools,
        "messages": messages,
    }
    return CODECS["openai-chat"].decode_request(body)


def source_frames(upstream: Format, question: Request) -> tuple[bytes, list[bytes]]:
    """What a stream of `upstream` opens with, and then one event for each word."""
    encoder = CODECS[upstream].AnswerEncoder(question, MODEL)
    opening = b"".join(map(encoder.push, (Start("id-1", MODEL), PartStart(0, Text("")), Delta(0, "so "))))
    return opening, [encoder.push(Delta(0, f"{WORD.decode()}{number:03d} ")) for number in range(_FRAMES)]


def _least_s(work: Callable[[], object], yardstick: Callable[[], object]) -> tuple[float, float]:
    """The least CPU seconds of each, run by turns: other programs only ever add."""
    least = [float("inf"), float("inf")]
    for _ in range(_REPEATS):
        for position, run in enumerate((work, yardstick)):
            begun_s = time.process_time()
            run()
            least[position] = min(least[position], time.process_time() - begun_s)
    return least[0], least[1]


def table(measured: Sequence[Cost]) -> Iterator[str]:
    """Lines of text."""
    yield "translating in this process"
    yield f"    {'client':18}{'upstream':18}{'frame (us)':>11}  ratio to json  {'request (ms)':>13}  ratio to json"
    for cost in measured:
        frame = f"{cost.frame_us:11.1f}  {_judged(cost.frame_ratio, FRAME_TARGET):13}"
        request = f"{cost.request_ms:13.2f}  {_judged(cost.request_ratio, REQUEST_TARGET)}"
        yield f"    {cost.client:18}{cost.upstream:18}{frame}  {request}"
    yield f"    targets: a frame <= {FRAME_TARGET}, a request of {REQUEST_BYTES // 1000} KB <= {REQUEST_TARGET}"


def _judged(ratio: float, target: float) -> str:
    return f"{ratio:.2f} {'yes' if ratio <= target else 'NO'}"


def as_json(measured: Sequence[Cost]) -> list[dict[str, Any]]:
    return [asdict(cost) for cost in measured]


if __name__ == "__main__":
    print("\n".join(table(list(costs()))))
