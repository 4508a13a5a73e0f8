"""cliproxy.providers.imagen: Gemini's requests and answers in the words of `predict`."""

import json
from typing import Any

import pytest

from cliproxy.providers.gemini_answers import Framing
from cliproxy.providers.imagen import images, is_imagen, prediction_request
from cliproxy.wire.errors import ClientFault, UpstreamGarbled


def user(*texts: str) -> dict[str, Any]:
    return {"role": "user", "parts": [{"text": text} for text in texts]}


def test_the_last_thing_that_the_user_said_is_the_prompt() -> None:
    contents = [user("a dog"), {"role": "model", "parts": [{"text": "here"}]}, user("a cat", "", "on a mat")]
    assert prediction_request({"contents": contents}) == {
        "instances": [{"prompt": "a cat\non a mat"}],
        "parameters": {"sampleCount": 1, "includeRaiReason": True},
    }


def test_settings_that_imagen_knows() -> None:
    settings = {"candidate_count": 3, "imageConfig": {"aspect_ratio": "16:9", "imageSize": "2K"}, "temperature": 1}
    assert prediction_request({"contents": [user("a cat")], "generationConfig": settings})["parameters"] == {
        "sampleCount": 3,
        "includeRaiReason": True,
        "aspectRatio": "16:9",
        "sampleImageSize": "2K",
    }


@pytest.mark.parametrize("contents", [[], [user()], [{"role": "model", "parts": [{"text": "a cat"}]}]])
def test_nothing_to_draw(contents: list[Any]) -> None:
    with pytest.raises(ClientFault):
        prediction_request({"contents": contents})


def read(body: Any, framing: Framing = "whole") -> bytes:
    data = json.dumps(body).encode()
    reader = images(framing)
    return reader.feed(data[:9]) + reader.feed(data[9:]) + reader.finish()


PREDICTIONS = {
    "predictions": [{"bytesBase64Encoded": "QQ==", "mimeType": "image/jpeg"}, {"bytesBase64Encoded": "Qg=="}]
}


def test_predictions_are_parts_with_images() -> None:
    [candidate] = json.loads(read(PREDICTIONS))["candidates"]
    assert (candidate["finishReason"], candidate["content"]) == (
        "STOP",
        {
            "role": "model",
            "parts": [
                {"inlineData": {"mimeType": "image/jpeg", "data": "QQ=="}},
                {"inlineData": {"mimeType": "image/png", "data": "Qg=="}},
            ],
        },
    )


def test_a_stream_is_one_event() -> None:
    assert read(PREDICTIONS, "sse") == b"data: " + read(PREDICTIONS) + b"\n\n"
    assert json.loads(read(PREDICTIONS, "array")) == [json.loads(read(PREDICTIONS))]


@pytest.mark.parametrize(
    ("body", "message"), [({}, ""), ({"predictions": [{"raiFilteredReason": "Code 1"}]}, "Code 1")]
)
def test_images_that_google_holds_back(body: Any, message: str) -> None:
    [candidate] = json.loads(read(body))["candidates"]
    assert (candidate["finishReason"], candidate["finishMessage"]) == ("IMAGE_SAFETY", message)


def test_what_is_no_answer_is_not_passed_on() -> None:
    with pytest.raises(UpstreamGarbled):
        read([])


def test_what_is_imagens() -> None:
    assert is_imagen("imagen-4.0-generate-001")
    assert not is_imagen("gemini-2.5-flash-image")
