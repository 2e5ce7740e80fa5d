"""What `/exchange` answers: done, a status an item, or a refusal of the whole."""

from typing import Any

Reply = dict[str, Any]


class Denied(Exception):
    """The whole action is refused: `{"status":"err","response":text}` at HTTP 200."""


class Malformed(Exception):
    """The body is not an action at all: 422."""


def done(kind: str = "default", data: object = None) -> Reply:
    response: dict[str, Any] = {"type": kind}
    if data is not None:
        response["data"] = data
    return {"status": "ok", "response": response}


def statuses_of(kind: str, statuses: list[object]) -> Reply:
    return done(kind, {"statuses": statuses})
