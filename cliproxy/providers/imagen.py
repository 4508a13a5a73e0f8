"""Imagen on Vertex AI, which makes images by `predict`: Gemini's requests and answers told in its words."""

from cliproxy.providers.gemini_answers import Framing, Reframing
from cliproxy.wire import json
from cliproxy.wire.errors import ClientFault, UpstreamGarbled
from cliproxy.wire.fields import integer_of, object_of, objects_of, text_of
from cliproxy.wire.gemini.camel_case import camel_case
from cliproxy.wire.model import Json


def is_imagen(model: str) -> bool:
    return model.startswith("imagen")


def prediction_request(request: Json) -> Json:
    """The body of `predict`. request: as `read_request` gives it. Raises ClientFault without a prompt."""
    users = [content for content in objects_of(request, "contents") if content["role"] == "user"]
    prompt = "\n".join(filter(None, (text_of(part, "text") for part in users[-1]["parts"]))) if users else ""
    if not prompt:
        raise ClientFault("Imagen needs a text that says what to draw", param="contents")
    settings = camel_case(object_of(request, "generationConfig"))
    image = camel_case(object_of(settings, "imageConfig"))
    parameters: Json = {"sampleCount": integer_of(settings, "candidateCount") or 1, "includeRaiReason": True}
    if ratio := text_of(image, "aspectRatio"):
        parameters["aspectRatio"] = ratio
    if size := text_of(image, "imageSize"):
        parameters["sampleImageSize"] = size
    return {"instances": [{"prompt": prompt}], "parameters": parameters}


def images(framing: Framing) -> Reframing:
    """Reads the answer of `predict` as one of Gemini's."""
    return Reframing(framing, _told)


def _told(data: bytes) -> bytes:
    try:
        predictions = objects_of(json.loads_object(data, "the answer"), "predictions")
    except ValueError:
        raise UpstreamGarbled("the upstream's answer is not a JSON object") from None
    parts = [
        {"inlineData": {"mimeType": text_of(prediction, "mimeType") or "image/png", "data": image}}
        for prediction in predictions
        if (image := text_of(prediction, "bytesBase64Encoded"))
    ]
    candidate: Json = {"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}
    if not parts:
        reasons = (text_of(prediction, "raiFilteredReason") for prediction in predictions)
        candidate |= {"finishReason": "IMAGE_SAFETY", "finishMessage": " ".join(filter(None, reasons))}
    return json.dumps({"candidates": [candidate]})
