"""cliproxy.providers.gemini_requests: Gemini's requests as Google's stricter hosts take them."""

from typing import Any

from cliproxy.providers.call import Purpose
from cliproxy.providers.gemini_requests import countable, drop_call_ids, pair_results, read_request
from tests.providers.google import call

CALLS = [{"functionCall": {"name": name, "args": {}}} for name in ("a", "b", "a")]


def results(*given: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"functionResponse": {"response": {}, **each}} for each in given]


def paired(calls: list[Any], *answers: dict[str, Any], role: str = "function") -> list[Any]:
    contents: list[Any] = [{"role": "model", "parts": calls}, {"role": role, "parts": list(answers)}]
    pair_results(contents)
    assert contents[1]["role"] == "user"
    return contents[1]["parts"]


def told(parts: list[Any]) -> list[tuple[str, str]]:
    return [(part["functionResponse"]["id"], part["functionResponse"]["name"]) for part in parts]


def test_both_spellings_become_one_and_strangers_stay_behind() -> None:
    request = read_request(
        call(
            {
                "contents": {"parts": [{"function_call": {"name": "f", "args": {"snake_case": 1}}}]},
                "system_instruction": {"parts": [{"text": "be kind"}]},
                "tools": [{"function_declarations": [{"name": "f", "parameters_json_schema": {"a_b": 1}}]}],
                "generation_config": {"top_k": 3},
                "model": "m",
                "store": False,
                "serviceTier": "flex",
            }
        )
    )
    assert request == {
        "contents": [{"role": "user", "parts": [{"functionCall": {"name": "f", "args": {"snake_case": 1}}}]}],
        "systemInstruction": {"parts": [{"text": "be kind"}]},
        "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": {"a_b": 1}}]}],
        "generationConfig": {"top_k": 3},
    }


def test_a_count_of_a_whole_request_is_read_like_one() -> None:
    asked = call({"generateContentRequest": {"model": "models/m", "contents": []}}, Purpose.COUNT_TOKENS)
    assert read_request(asked) == {"contents": []}


def test_instructions_and_tools_count_as_if_they_were_said() -> None:
    contents = [{"role": "user", "parts": [{"text": "hi"}]}]
    assert countable({"contents": contents}) == contents
    request = {"contents": contents, "systemInstruction": {"parts": [{"text": "be kind"}]}, "tools": [{"a": 1}]}
    first, *rest = countable(request)
    assert (first["parts"], rest) == ([{"text": "be kind"}, {"text": '[{"a":1}]'}], contents)


def test_results_come_in_the_order_of_their_calls() -> None:
    parts = paired(CALLS, *results({"name": "b"}, {"name": "a"}, {"name": "a"}))
    assert told(parts) == [("call_1", "a"), ("call_2", "b"), ("call_3", "a")]


def test_an_id_says_more_than_a_name() -> None:
    calls = [{"functionCall": {"name": "a", "id": f"id-{number}"}} for number in (1, 2)]
    parts = paired(calls, *results({"id": "id-2", "name": "a"}, {"id": "id-1", "name": "wrong"}))
    assert told(parts) == [("id-1", "a"), ("id-2", "a")]


def test_a_forgotten_name_is_that_of_the_next_call() -> None:
    calls = CALLS[:2]
    assert told(paired(calls, *results({"name": "unknown"}, {}))) == [("call_1", "a"), ("call_2", "b")]


def test_what_answers_no_call_and_other_parts_stay_behind() -> None:
    stray = {"functionResponse": {"id": "x", "name": "stray", "response": {}}}
    parts = paired(CALLS[1:2], {"text": "and"}, stray, *results({"name": "b"}))
    assert [part.get("functionResponse", {}).get("name") for part in parts] == ["b", "stray", None]
    assert parts[1] == stray


def test_calls_of_all_turns_have_ids_of_their_own() -> None:
    contents: list[Any] = [
        {"role": role, "parts": parts}
        for _ in range(2)
        for role, parts in (
            ("model", [{"functionCall": {"name": "a"}}]),
            ("user", [{"functionResponse": {"name": "a"}}]),
        )
    ]
    pair_results(contents)
    ids = [next(iter(content["parts"][0].values()))["id"] for content in contents]
    assert ids == ["call_1", "call_1", "call_2", "call_2"]


def test_call_ids_are_dropped_and_nothing_else() -> None:
    contents: list[Any] = [
        {"parts": [{"functionCall": {"id": "1", "name": "a", "args": {"id": 1}}, "thoughtSignature": "s"}]},
        {"parts": [{"functionResponse": {"id": "1", "name": "a", "response": {"id": 1}}}, {"text": "id"}]},
    ]
    drop_call_ids(contents)
    assert contents == [
        {"parts": [{"functionCall": {"name": "a", "args": {"id": 1}}, "thoughtSignature": "s"}]},
        {"parts": [{"functionResponse": {"name": "a", "response": {"id": 1}}}, {"text": "id"}]},
    ]
