"""The whole addon of the bare row: answers stream through `mitmdump` instead of being collected."""

from mitmproxy.http import HTTPFlow


def responseheaders(flow: HTTPFlow) -> None:
    assert flow.response
    flow.response.stream = True
