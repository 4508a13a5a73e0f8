"""cliproxy.inspection.report: one file that tells all."""

import json

from cliproxy.inspection.report import MAX_BODY_CHARACTERS, Call, Message, ReportedExchange, readable, report


def test_both_sides_of_an_exchange_are_told() -> None:
    client = Call(
        "POST /v1/messages",
        Message("POST http://gateway/v1/messages", [("x-api-key", "sk-t…#123456")], readable(b'{"model":"a"}')),
        "curl http://gateway/v1/messages",
        {"in short": "a → b\nc"},
        Message("200 OK", [("content-type", "application/json")], readable(b'{"text":"```"}')),
    )
    attempt = Call("Attempt 1", Message("POST http://upstream/", [], "plain"), "", error="it broke\noff")
    text = report([ReportedExchange(client, [attempt])], {"cliproxy": "1.2.3", "mitmproxy": "12"})
    lines = text.splitlines()
    assert lines[0] == "# Report of an exchange"
    assert "* cliproxy 1.2.3" in lines
    assert lines.index("## POST /v1/messages") < lines.index("### Attempt 1")
    assert "* in short: a → b c" in lines
    assert "* error: it broke off" in lines
    assert "x-api-key: sk-t…#123456" in lines
    assert '  "model": "a"' in lines
    assert lines.count("Answer:") == 1
    # A fence within a body does not end the block that the body is in.
    assert "````http" in lines
    assert lines.count("````") == 1


def test_bodies_are_readable_and_bounded() -> None:
    assert readable(b'{"a":[1]}') == json.dumps({"a": [1]}, indent=2)
    assert readable(b"\xff") == "�"
    assert len(readable(b"x" * (3 * MAX_BODY_CHARACTERS))) < MAX_BODY_CHARACTERS + 100
