"""The body of a request, for those that look at it before the application does."""

from __future__ import annotations

from piko.serving.probes import Message, Receive


async def whole_body(receive: Receive, *, most: int) -> bytes | None:
    """The body, empty if the client has left; None: it has more than `most` bytes."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most:
            return None
        if not message.get("more_body", False):
            return b"".join(parts)


def received_again(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the whole `body` first, and then what comes after it."""
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
