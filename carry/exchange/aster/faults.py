"""What goes wrong on demand: a fault waits for a request that it fits, as often as it was asked."""

from typing import NamedTuple

HTML = (
    b"<html><head><title>500 Internal Server Error</title></head>"
    b"<body><center><h1>500 Internal Server Error</h1></center></body></html>"
)
KINDS = (
    "html_500",  # a web page; nothing was done
    "html_500_after",  # the same, after it was done
    "http_503",  # "unknown error"; nothing was done
    "http_503_after",  # the same, after it was done
    "code_1006",  # unexpected response; nothing was done
    "code_1006_after",
    "code_1007",  # timeout; nothing was done
    "code_1007_after",
    "lose_request",  # the connection closes before it is read
    "lose_reply",  # the connection closes after it was done
    "late_record",  # done, and invisible to queries and lists for `ms`
    "lose_reply_late",  # done, the connection closes, and it is invisible for `ms`
    "limit_429",
)


class Want(NamedTuple):
    kind: str
    method: str
    path: str
    ms: int


class Waiting:
    """A fault and how often it will still happen."""

    __slots__ = ("left", "want")

    def __init__(self, want: Want, left: int) -> None:
        self.want = want
        self.left = left


class Faults:
    """`path` is the end of the request's path ("/order"), "" for any."""

    def __init__(self) -> None:
        self._wanted: list[Waiting] = []
        self.counts: dict[str, int] = dict.fromkeys(KINDS, 0)

    def add(
        self, kind: str, method: str = "", path: str = "", *, times: int = 1, ms: int = 30_000
    ) -> None:
        assert kind in KINDS, kind
        self._wanted.append(Waiting(Want(kind, method.upper(), path, ms), times))

    def clear(self) -> None:
        self._wanted.clear()

    def take(self, method: str, path: str) -> Want | None:
        """The first fault that this request meets."""
        for item in self._wanted:
            want = item.want
            fits = path.endswith(want.path) and want.method in ("", method)
            if item.left > 0 and fits:
                item.left -= 1
                self.counts[want.kind] += 1
                return want
        return None


def reply_of(kind: str) -> tuple[int, bytes]:
    """Status and body that stand in for the true reply."""
    if kind.startswith("html_500"):
        return 500, HTML
    if kind.startswith("http_503"):
        return 503, (
            b'{"code":-1000,"msg":"Unknown error, please check your request or try again later."}'
        )
    if kind.startswith("code_1006"):
        return 400, (
            b'{"code":-1006,"msg":"An unexpected response was received from the message bus. '
            b'Execution status unknown."}'
        )
    if kind.startswith("code_1007"):
        return 408, (
            b'{"code":-1007,"msg":"Timeout waiting for response from backend server. '
            b'Send status unknown; execution status unknown."}'
        )
    return 429, b'{"code":-1003,"msg":"Too many requests; current limit is 2400 a minute."}'
