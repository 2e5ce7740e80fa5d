"""Requests of ops to the outside: bounded in time and size, and no address in any error.

The Bot API carries its token in the address, a webhook its own secret: so an error here names the
kind of failure only, and is never raised from the library's own, whose text quotes the address.
"""

import logging
from typing import Any, Final

import attrs
import msgspec
import requests

CONNECT_S: Final = 10.0
BODY_BYTES_MAX: Final = 4 * 1024 * 1024
# The library below logs each address at DEBUG, and some at WARNING.
logging.getLogger("urllib3").disabled = True
logging.getLogger("urllib3.connectionpool").disabled = True


class Unreachable(Exception):
    """No whole answer came. The text names the kind of failure, never the address."""


@attrs.frozen
class Answer:
    """status: the HTTP status. body: decoded JSON, None when it is none. date: the server's."""

    status: int
    body: Any
    date: str | None


class Client:
    """One connection, for one thread. Follows no redirect, reads no proxy or password file."""

    def __init__(self) -> None:
        self._session = requests.Session()
        self._session.trust_env = False

    def ask(self, method: str, url: str, json: Any, timeout_s: float) -> Answer:
        """Raises Unreachable."""
        failure = ""
        try:
            with self._session.request(
                method,
                url,
                json=json,
                timeout=(CONNECT_S, timeout_s),
                allow_redirects=False,
                stream=True,
            ) as reply:
                content = reply.raw.read(BODY_BYTES_MAX, decode_content=True)
                status, date = reply.status_code, reply.headers.get("Date")
        except Exception as error:  # the library lets those of urllib3 and ssl through as well
            failure = type(error).__name__
        # Raised outside of the handler, so that no traceback carries the address.
        if failure:
            raise Unreachable(failure)
        try:
            body = msgspec.json.decode(content)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            body = None
        return Answer(status, body, date)

    def close(self) -> None:
        self._session.close()
