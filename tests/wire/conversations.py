"""The same conversation in each format: a question with a picture, two calls, their results and a question."""

from cliproxy.wire.model import Format, Json

SCHEMA: Json = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}

CONVERSATIONS: dict[Format, Json] = {
    "openai-chat": {
        "model": "shown",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Weather?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAEC"}},
                ],
            },
            {
                "role": "assistant",
                "content": "Let me look.",
                "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Oslo"}'}},
                    {"id": "call_2", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Rome"}'}},
                ],
            },
            {"role": "tool", "tool_call_id": "call_2", "content": "rain"},
            {"role": "tool", "tool_call_id": "call_1", "content": "sun"},
            {"role": "user", "content": "And now?"},
        ],
        "tools": [{"type": "function", "function": {"name": "get_weather", "description": "W.", "parameters": SCHEMA}}],
        "stream": True,
        "stream_options": {"include_usage": True},
    },
    "openai-responses": {
        "model": "shown",
        "instructions": "Be brief.",
        "input": [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "Weather?"},
                    {"type": "input_image", "image_url": "data:image/png;base64,AAEC"},
                ],
            },
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Let me look."}]},
            {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": '{"city":"Oslo"}'},
            {"type": "function_call", "call_id": "call_2", "name": "get_weather", "arguments": '{"city":"Rome"}'},
            {"type": "function_call_output", "call_id": "call_2", "output": "rain"},
            {"type": "function_call_output", "call_id": "call_1", "output": "sun"},
            {"role": "user", "content": "And now?"},
        ],
        "tools": [{"type": "function", "name": "get_weather", "description": "W.", "parameters": SCHEMA, "strict": False}],
        "stream": True,
    },
    "anthropic": {
        "model": "shown",
        "max_tokens": 1000,
        "system": "Be brief.",
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Weather?"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAEC"}},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "Let me look."},
                    {"type": "tool_use", "id": "call_1", "name": "get_weather", "input": {"city": "Oslo"}},
                    {"type": "tool_use", "id": "call_2", "name": "get_weather", "input": {"city": "Rome"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "call_2", "content": "rain"},
                    {"type": "tool_result", "tool_use_id": "call_1", "content": "sun"},
                    {"type": "text", "text": "And now?"},
                ],
            },
        ],
        "tools": [{"name": "get_weather", "description": "W.", "input_schema": SCHEMA}],
        "stream": True,
    },
    "gemini": {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {
                "role": "user",
                "parts": [{"text": "Weather?"}, {"inlineData": {"mimeType": "image/png", "data": "AAEC"}}],
            },
            {
                "role": "model",
                "parts": [
                    {"text": "Let me look."},
                    {"functionCall": {"name": "get_weather", "args": {"city": "Oslo"}}},
                    {"functionCall": {"name": "get_weather", "args": {"city": "Rome"}}},
                ],
            },
            {
                "role": "user",
                "parts": [
                    {"functionResponse": {"name": "get_weather", "response": {"result": "sun"}}},
                    {"functionResponse": {"name": "get_weather", "response": {"result": "rain"}}},
                    {"text": "And now?"},
                ],
            },
        ],
        "tools": [{"functionDeclarations": [{"name": "get_weather", "description": "W.", "parametersJsonSchema": SCHEMA}]}],
    },
}  # fmt: skip
