"""What users put beside the gateway: a script that changes, answers and kills flows, told which by request headers."""

from mitmproxy import http

_held: list[http.HTTPFlow] = []


def request(flow: http.HTTPFlow) -> None:
    match flow.request.headers.get("x-test-script"):
        case "change":
            flow.request.headers["x-changed"] = "yes"
        case "answer":
            flow.response = http.Response.make(203, b"from the script")
        case "kill":
            flow.kill()
        case "kill those held":
            while _held:
                _held.pop().kill()
            flow.response = http.Response.make(204)
        case _:
            pass


def responseheaders(flow: http.HTTPFlow) -> None:
    if flow.request.headers.get("x-test-script") == "hold" and "cliproxy.attempt" not in flow.metadata:
        _held.append(flow)
