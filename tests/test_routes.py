"""cliproxy.routes: what each path and method is, and what the others are told."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cliproxy.routes import Operation, error_format, is_management, is_ours, match, opens_websocket
from cliproxy.wire.errors import ClientFault
from cliproxy.wire.model import Format

Op = Operation

FIXED: list[tuple[str, str, Operation, Format]] = [
    ("GET", "/", Op.BANNER, "openai-chat"),
    ("HEAD", "/", Op.BANNER, "openai-chat"),
    ("GET", "/healthz", Op.HEALTH, "openai-chat"),
    ("HEAD", "/healthz", Op.HEALTH, "openai-chat"),
    ("GET", "/v1/models", Op.LIST_MODELS, "openai-chat"),
    ("GET", "/v1beta/models", Op.LIST_MODELS, "gemini"),
    ("POST", "/v1/chat/completions", Op.GENERATE, "openai-chat"),
    ("POST", "/v1/completions", Op.COMPLETE, "openai-chat"),
    ("POST", "/v1/responses", Op.GENERATE, "openai-responses"),
    ("POST", "/v1/responses/input_tokens", Op.COUNT_TOKENS, "openai-responses"),
    ("POST", "/v1/responses/compact", Op.COMPACT, "openai-responses"),
    ("POST", "/v1/messages", Op.GENERATE, "anthropic"),
    ("POST", "/v1/messages/count_tokens", Op.COUNT_TOKENS, "anthropic"),
]

NATIVE: list[tuple[str, str, Format]] = [
    ("GET", "/v1/responses/resp_1", "openai-responses"),
    ("DELETE", "/v1/responses/resp_1", "openai-responses"),
    ("GET", "/v1/responses/resp_1/input_items", "openai-responses"),
    ("GET", "/v1/chat/completions/chatcmpl-1", "openai-chat"),
    ("GET", "/v1/chat/completions/chatcmpl-1/messages", "openai-chat"),
    *(
        (method, f"/v1/{resource}{below}", "openai-chat")
        for resource in (
            "assistants", "threads", "conversations", "chatkit", "containers", "evals", "files", "uploads",
            "batches", "vector_stores", "skills", "videos",
        )
        for method, below in (("POST", ""), ("GET", ""), ("DELETE", "/id_1"), ("GET", "/id_1/more"))
    ),
    ("POST", "/v1/images/generations", "openai-chat"),
    ("POST", "/v1/images/edits", "openai-chat"),
    ("POST", "/v1/audio/transcriptions", "openai-chat"),
    ("POST", "/v1/embeddings", "openai-chat"),
    ("POST", "/v1/moderations", "openai-chat"),
    ("GET", "/v1/fine_tuning/jobs/ftjob-1/events", "openai-chat"),
    ("POST", "/v1/realtime/client_secrets", "openai-chat"),
    ("POST", "/v1/complete", "anthropic"),
    ("POST", "/v1/messages/batches", "anthropic"),
    ("GET", "/v1/messages/batches/msgbatch_1/results", "anthropic"),
    ("GET", "/v1beta/files", "gemini"),
    ("GET", "/v1beta/files/f1", "gemini"),
    ("GET", "/v1beta/files/f1:download", "gemini"),
    ("POST", "/upload/v1beta/files", "gemini"),
    ("POST", "/v1beta/cachedContents", "gemini"),
    ("PATCH", "/v1beta/cachedContents/c1", "gemini"),
    ("GET", "/v1beta/tunedModels/t1", "gemini"),
    ("POST", "/v1beta/tunedModels/t1:generateContent", "gemini"),
    ("GET", "/v1beta/batches/b1", "gemini"),
]  # fmt: skip

ACTIONS = {
    "generateContent": Op.GENERATE,
    "streamGenerateContent": Op.GENERATE,
    "countTokens": Op.COUNT_TOKENS,
    "embedContent": Op.NATIVE,
    "batchEmbedContents": Op.NATIVE,
}


@pytest.mark.parametrize(("method", "path", "operation", "format"), FIXED)
def test_fixed_routes(method: str, path: str, operation: Operation, format: Format) -> None:
    route = match(method, path)
    assert (route.operation, route.format, route.path, route.model) == (operation, format, path, "")
    assert is_ours(path)
    assert error_format(path) == format


@pytest.mark.parametrize(("method", "path", "format"), NATIVE)
def test_native_routes_are_pinned_to_who_speaks_them(method: str, path: str, format: Format) -> None:
    route = match(method, path)
    assert (route.operation, route.format, route.path) == (Op.NATIVE, format, path)
    assert is_ours(path)
    assert error_format(path) == format


@pytest.mark.parametrize(
    ("path", "formats"),
    [
        ("/v1/responses/resp_1", ("openai-responses", "openai-chat")),
        ("/v1/files", ("openai-chat", "openai-responses")),
        ("/v1/messages/batches", ("anthropic",)),
        ("/v1beta/files", ("gemini",)),
    ],
)
def test_openai_upstreams_stand_in_for_each_other(path: str, formats: tuple[Format, ...]) -> None:
    assert match("GET", path).formats == formats


@pytest.mark.parametrize("version", ["v1beta", "v1"])
@pytest.mark.parametrize(("action", "operation"), ACTIONS.items())
@pytest.mark.parametrize(
    ("written", "model"),
    [
        ("gemini-2.5-pro", "gemini-2.5-pro"),
        ("team/gemini-2.5-pro", "team/gemini-2.5-pro"),
        ("team%2Fgemini", "team/gemini"),
        ("gemini:gemini-2.5-pro", "gemini:gemini-2.5-pro"),
        ("gemini-2.5-pro(high)", "gemini-2.5-pro(high)"),
        ("llama3:latest", "llama3:latest"),
    ],
)
def test_gemini_names_model_and_action_in_the_path(
    version: str, action: str, operation: Operation, written: str, model: str
) -> None:
    path = f"/{version}/models/{written}:{action}"
    route = match("POST", path)
    assert (route.operation, route.format) == (operation, "gemini")
    assert (route.path, route.model, route.action) == (f"/{version}/models/", model, action)
    assert error_format(path) == "gemini"


@pytest.mark.parametrize(("version", "format"), [("v1", "openai-chat"), ("v1beta", "gemini")])
@pytest.mark.parametrize(
    ("written", "model"),
    [
        ("gpt-5", "gpt-5"),
        ("team/gpt-5", "team/gpt-5"),
        ("team%2Fgpt-5", "team/gpt-5"),
        ("qwen3:8b", "qwen3:8b"),
        ("llama3:latest", "llama3:latest"),
        ("claude:sonnet", "claude:sonnet"),
    ],
)
def test_one_model(version: str, format: Format, written: str, model: str) -> None:
    path = f"/{version}/models/{written}"
    route = match("GET", path)
    assert (route.operation, route.format, route.model) == (Op.GET_MODEL, format, model)
    assert error_format(path) == format


def told(method: str, path: str) -> tuple[int, str | None]:
    with pytest.raises(ClientFault) as caught:
        match(method, path)
    assert path in caught.value.message
    return caught.value.status, caught.value.code


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        *(
            (method, path, " ".join(m for m, p, *_ in FIXED if p == path))
            for path in dict.fromkeys(path for _, path, *_ in FIXED)
            for method in ("GET", "POST", "PUT", "DELETE", "PATCH")
            if (method, path) not in {(m, p) for m, p, *_ in FIXED} and (method, path) != ("GET", "/v1/responses")
        ),
        ("POST", "/v1/models/gpt-5", "GET"),
        ("DELETE", "/v1beta/models/gemini-2.5-pro", "GET"),
        *(("GET", f"/v1beta/models/m:{action}", "POST") for action in ACTIONS),
    ],
)
def test_a_wrong_method_is_told_the_right_one(method: str, path: str, allowed: str) -> None:
    assert told(method, path) == (405, "method_not_allowed")
    assert is_ours(path)
    with pytest.raises(ClientFault, match=f"use {', '.join(allowed.split())}$"):
        match(method, path)


@pytest.mark.parametrize(
    ("path", "operation", "format", "others"),
    [
        ("/v1/responses", Op.CONVERSE, "openai-responses", "POST"),
        ("/v1/ws", Op.RELAY, "openai-chat", "GET"),
    ],
)
def test_some_paths_open_a_websocket(path: str, operation: Operation, format: Format, others: str) -> None:
    route = match("GET", path, websocket=True)
    assert (route.operation, route.format) == (operation, format)
    assert told("GET", path) == (426, "upgrade_required")
    assert is_ours(path) and opens_websocket(path)
    with pytest.raises(ClientFault, match=f"use {others}$"):
        match("PUT", path, websocket=True)


def test_only_responses_have_another_way_than_a_websocket() -> None:
    for path, has in (("/v1/responses", True), ("/v1/ws", False)):
        with pytest.raises(ClientFault) as refused:
            match("GET", path)
        assert ("use POST" in refused.value.message) == has
    assert not opens_websocket("/v1/messages")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/v1",
        "/v2/chat/completions",
        "/v1/chat",
        "/v1/chat/completions/",
        "/v1/messages/unknown",
        "/v1/filesystem",
        "/v1/model",
        "/v1beta",
        "/v1beta/unknown",
        "/V1/messages",
        "//v1/messages",
        "/favicon.ico",
    ],
)
def test_an_unknown_path_is_not_ours(path: str) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        assert told(method, path) == (404, "not_found")
    assert not is_ours(path)


@pytest.mark.parametrize(
    "path", ["/", "/v1/models", "/v1/models/gpt-5", "/v1/messages", "/v1/files/f1", "/v1beta/models/m:generateContent"]
)
def test_browsers_may_ask_before(path: str) -> None:
    assert match("OPTIONS", path).operation is Op.PREFLIGHT


@pytest.mark.parametrize(
    ("path", "format"),
    [
        ("/v1/messages/unknown", "anthropic"),
        ("/v1/complete", "anthropic"),
        ("/v1/completions", "openai-chat"),
        ("/v1beta/unknown", "gemini"),
        ("/upload/v1beta/unknown", "gemini"),
        ("/v1/responses/unknown", "openai-responses"),
        ("/unknown", "openai-chat"),
    ],
)
def test_errors_have_the_format_of_the_neighbourhood(path: str, format: Format) -> None:
    assert error_format(path) == format


@pytest.mark.parametrize(
    ("path", "management", "ours"),
    [
        ("/v0/management", True, True),
        ("/v0/management/", True, True),
        ("/v0/management/auth-files/status", True, True),
        ("/management.html", True, True),
        ("/management/vendor/chart.js", True, True),
        # Everyday names are the gateway's only where no other site is behind it.
        ("/readyz", True, False),
        ("/metrics", True, False),
        ("/codex/callback", True, False),
        ("/v0/managements", False, False),
        ("/management", False, False),
        ("/management.htm", False, False),
        ("/nobody/callback", False, False),
        ("/v1/messages", False, True),
    ],
)
def test_what_the_management_api_answers(path: str, management: bool, ours: bool) -> None:
    assert (is_management(path), is_ours(path)) == (management, ours)


_segments = st.sampled_from(
    ["v1", "v1beta", "upload", "models", "messages", "responses", "chat", "completions", "files", "m:generateContent",
     "a:b", "%2F", "é", "", ":", "\udcff", "batches"]
)  # fmt: skip


@given(st.lists(_segments, max_size=5).map(lambda segments: "/" + "/".join(segments)) | st.text(max_size=20))
@settings(deadline=None)
def test_a_path_is_either_ours_or_unknown(path: str) -> None:
    try:
        known = match("OPTIONS", path).operation is Op.PREFLIGHT
    except ClientFault as fault:
        known = fault.status != 404
    assert known == is_ours(path)
    assert error_format(path)


# ---------------------------------------------------------------- Amp

AMPS_MODELS: list[tuple[str, str, Operation, Format, str]] = [
    ("POST", "/api/provider/openai/v1/chat/completions", Op.GENERATE, "openai-chat", "/v1/chat/completions"),
    ("POST", "/api/provider/openai/v1/responses", Op.GENERATE, "openai-responses", "/v1/responses"),
    ("POST", "/api/provider/openai/v1/completions", Op.COMPLETE, "openai-chat", "/v1/completions"),
    ("POST", "/api/provider/groq/chat/completions", Op.GENERATE, "openai-chat", "/v1/chat/completions"),
    ("POST", "/api/provider/anthropic/v1/messages", Op.GENERATE, "anthropic", "/v1/messages"),
    ("POST", "/api/provider/anthropic/v1/messages/count_tokens", Op.COUNT_TOKENS, "anthropic", "/v1/messages/count_tokens"),
    ("POST", "/api/provider/google/v1beta/models/g-9:generateContent", Op.GENERATE, "gemini", "/v1beta/models/"),
    ("POST", "/api/provider/google/v1beta1/publishers/google/models/g-9:countTokens", Op.COUNT_TOKENS, "gemini", "/v1beta/models/"),
    ("GET", "/api/provider/google/v1beta/models/g-9", Op.GET_MODEL, "gemini", "/v1beta/models/g-9"),
    ("GET", "/api/provider/google/v1beta/models", Op.LIST_MODELS, "gemini", "/v1beta/models"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "operation", "format", "inner"), AMPS_MODELS)
def test_amps_models_are_called_like_others(
    method: str, path: str, operation: Operation, format: Format, inner: str
) -> None:
    route = match(method, path)
    assert (route.operation, route.format, route.path, route.is_amps) == (operation, format, inner, True)
    assert is_ours(path)
    assert error_format(path) == format


@pytest.mark.parametrize(
    ("provider", "format"), [("anthropic", "anthropic"), ("google", "gemini"), ("openai", "openai-chat"), ("xai", "openai-chat")]
)  # fmt: skip
def test_amps_lists_have_the_providers_shape(provider: str, format: Format) -> None:
    for path in (f"/api/provider/{provider}/v1/models", f"/api/provider/{provider}/models"):
        assert match("GET", path).operation is Op.LIST_MODELS
        assert error_format(path) == format


@pytest.mark.parametrize(
    "path",
    [
        "/api/user", "/api/user/me", "/api/internal", "/api/auth/callback", "/api/meta", "/api/ads", "/api/telemetry",
        "/api/threads/T-1", "/api/otel/v1/traces", "/api/tab", "/threads", "/threads/T-1", "/docs/x", "/settings",
        "/auth", "/threads.rss", "/news.rss", "/api/provider/openai/v1/files", "/api/provider/openai/v1/unheard-of",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
def test_the_rest_of_amp_is_its_own(method: str, path: str) -> None:
    route = match(method, path)
    assert (route.operation, route.path, route.is_amps) == (Op.AMP, path, False)


def test_amp_lists_vertexs_models_itself() -> None:
    assert match("GET", "/api/provider/google/v1beta1/publishers/google/models/x").operation is Op.AMP


@pytest.mark.parametrize(
    "path", ["/threads", "/docs", "/settings", "/auth/x", "/api/user", "/api/other", "/api/providers"]
)
def test_everyday_names_belong_to_the_site_behind(path: str) -> None:
    assert not is_ours(path)


@pytest.mark.parametrize("path", ["/api", "/api/other", "/threadsx", "/authx", "/api/users", "/api/provider"])
def test_what_only_looks_like_amps_is_nothing(path: str) -> None:
    with pytest.raises(ClientFault, match="there is nothing"):
        match("GET", path)
