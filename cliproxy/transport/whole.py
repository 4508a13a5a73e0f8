"""The whole body of an answer, for those who cannot use a part of it."""

from cliproxy.exchange import UpstreamResponse
from cliproxy.wire.errors import UpstreamGarbled


async def read_whole(response: UpstreamResponse, limit_bytes: int) -> bytes:
    """The body's bytes. Raises UpstreamGarbled beyond the limit, where the response is closed, and as `chunks` does."""
    pieces, size = [], 0
    async for chunk in response.chunks():
        size += len(chunk)
        if size > limit_bytes:
            response.close()
            raise UpstreamGarbled(f"the upstream's answer exceeds {limit_bytes} bytes")
        pieces.append(chunk)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
