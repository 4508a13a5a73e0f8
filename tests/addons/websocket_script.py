"""What users put beside the gateway: a script that changes, drops, kills and injects messages, told which by themselves."""

from mitmproxy import ctx, http


def websocket_message(flow: http.HTTPFlow) -> None:
    assert flow.websocket
    message = flow.websocket.messages[-1]
    if message.from_client and b"change me" in message.content:
        message.content = message.content.replace(b"change me", b"changed")
    elif message.from_client and b"kill me" in message.content:
        flow.kill()
    elif message.from_client and b"inject" in message.content and not message.injected:
        to_client = b"inject to the client" in message.content
        content = b'{"type": "injected"}' if to_client else message.content.replace(b"inject", b"injected")
        ctx.master.commands.call("inject.websocket", flow, to_client, content, True)
        message.drop()
    elif b"response.in_progress" in message.content:
        message.drop()
