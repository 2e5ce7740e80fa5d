"""One request: bytes out, bytes in, and whether any byte of it may have left.

A whole call has one deadline. It is checked before every receive of the socket, so that neither a
body nor headers that arrive a byte at a time outlive it (a read timeout alone restarts each byte).
Nothing is retried, no redirect is followed. HTTPS_PROXY and HTTP_PROXY of the environment are used,
but not for what NO_PROXY names nor ever for this machine itself.
"""

import http.client
import io
import socket
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from carry.base.deadlines import Deadline

CONNECT_S = 3.0
READ_S = 5.0
BODY_BYTES_MAX = 32 * 1024 * 1024
_PIECE_BYTES = 1024 * 1024
_LOCAL = ("127.0.0.1", "localhost", "::1")

Reply = tuple[int, Mapping[str, str], bytes]
"""HTTP status, headers by lowercase name, body."""


class PostFailed(Exception):
    """No complete reply. `left`: False only when no byte of the request can have left.

    headers: those of a reply whose body broke off, else empty.
    """

    def __init__(self, left: bool, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.left, self.text, self.headers = left, text, headers or {}


class Transport(Protocol):
    """What carries a request; an exchange in the same process can stand in for the sockets."""

    def post(self, path: str, body: bytes, deadline_s: float) -> Reply:
        """POST `body` to `path` ("/info"), within `deadline_s` seconds; raises `PostFailed`."""

    def close(self) -> None: ...


def proxy_of(url: str) -> str | None:
    """The proxy that the environment names for `url`; None for none, and for this machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in _LOCAL or proxy_bypass(host):
        return None
    named = getproxies_environment()
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    return named.get(scheme) or named.get("all")


class _Call:
    """The call in progress: shared by the transport and its connections."""

    def __init__(self) -> None:
        self.deadline = Deadline(0.0)
        self.left = False


class _Timed(io.RawIOBase):
    """Receives from a socket, never past the deadline of the call.

    It is received through `raw`, the socket's own file: that keeps the socket open while a reply is
    read, also when the reply said that the connection ends with it.
    """

    def __init__(self, sock: socket.socket, raw: io.RawIOBase, call: _Call) -> None:
        self._sock, self._raw, self._call = sock, raw, call

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._raw.close()
        super().close()

    def readinto(self, buffer: Any) -> int | None:
        left_s = self._call.deadline.left_s()
        if left_s <= 0:
            raise TimeoutError("the reply was still arriving")
        self._sock.settimeout(min(left_s, READ_S))
        return self._raw.readinto(buffer)


def _pool_classes(call: _Call) -> dict[str, type[HTTPConnectionPool]]:
    """Connection pools whose connections obey `call`."""

    class Response(http.client.HTTPResponse):
        def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
            super().__init__(sock, *args, **options)
            self.fp = io.BufferedReader(_Timed(sock, self.fp.detach(), call))

    class Plain(HTTPConnection):
        response_class = Response

        def send(self, data: Any) -> None:
            if self.sock is None:
                self.connect()
            call.left = True
            super().send(data)

    class Secure(HTTPSConnection):
        response_class = Response
        asking_proxy = False

        def _tunnel(self) -> None:
            # What a proxy is told before it connects is not a byte of the request.
            self.asking_proxy = True
            try:
                super()._tunnel()
            finally:
                self.asking_proxy = False

        def send(self, data: Any) -> None:
            if self.sock is None:
                self.connect()
            call.left = call.left or not self.asking_proxy
            super().send(data)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


class SocketTransport:
    """Requests over real sockets to one base URL; used from one thread, one call at a time."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url.rstrip("/")
        self._call = _Call()
        self._session = requests.Session()
        self._session.trust_env = False
        adapter = HTTPAdapter(pool_connections=1, pool_maxsize=1, max_retries=0)
        classes = _pool_classes(self._call)
        adapter.poolmanager.pool_classes_by_scheme = classes
        proxy = proxy_of(self._base_url)
        if proxy is not None:
            self._session.proxies = {urlsplit(self._base_url).scheme: proxy}
            adapter.proxy_manager_for(proxy).pool_classes_by_scheme = classes
        self._session.adapters.clear()
        self._session.mount(self._base_url, adapter)
        self._prepared: dict[str, requests.PreparedRequest] = {}

    def _request(self, path: str, body: bytes) -> requests.PreparedRequest:
        known = self._prepared.get(path)
        if known is None:
            headers = {"Content-Type": "application/json", "User-Agent": "carry"}
            known = requests.Request("POST", self._base_url + path, headers=headers).prepare()
            self._prepared[path] = known
        request = known.copy()
        request.body = body
        request.headers["Content-Length"] = str(len(body))
        return request

    def post(self, path: str, body: bytes, deadline_s: float) -> Reply:
        return self._send(self._request(path, body), deadline_s)

    def call(
        self, method: str, target: str, body: str, headers: Mapping[str, str], deadline_s: float
    ) -> Reply:
        """Any method; `target` ("/api/v3/order?a=b") and `body` leave as they are given."""
        request = requests.Request(method, self._base_url, headers=dict(headers)).prepare()
        # After `prepare`, which would quote a query again: what was signed is what is sent.
        request.url = self._base_url + target
        if body:
            request.body = body.encode("ascii")
            request.headers["Content-Length"] = str(len(body))
        return self._send(request, deadline_s)

    def _send(self, request: requests.PreparedRequest, deadline_s: float) -> Reply:
        if deadline_s <= 0:
            raise PostFailed(False, "no time was left for the call")
        call = self._call
        call.deadline, call.left = Deadline.after(deadline_s), False
        headers: Mapping[str, str] = {}
        try:
            reply = self._session.send(
                request,
                allow_redirects=False,
                stream=True,
                verify=True,
                timeout=(min(CONNECT_S, deadline_s), min(READ_S, deadline_s)),
            )
            with reply:
                headers = {name.lower(): value for name, value in reply.headers.items()}
                content = _whole(reply.raw)
        except Exception as error:  # requests, urllib3, ssl and the socket each raise their own
            # The causes are many and say nothing to act on; only `left` decides what follows.
            text = _reason(error)
            if call.deadline.left_s() <= 0:
                text = f"no complete reply within the call's deadline: {text}"
            raise PostFailed(call.left, text, headers) from None
        return reply.status_code, headers, content

    def close(self) -> None:
        self._session.close()


def _whole(raw: Any) -> bytes:
    """The body to its end. Read on until nothing comes: only that notices a missing part."""
    content = b""
    while piece := raw.read(_PIECE_BYTES, decode_content=False):
        content += piece
        if len(content) > BODY_BYTES_MAX:
            raise ValueError(f"the reply is longer than {BODY_BYTES_MAX} bytes")
    return content


def _reason(error: BaseException) -> str:
    """The innermost cause in one line: what an operator can look up."""
    seen = error
    while True:
        inner = seen.__cause__ or seen.__context__ or getattr(seen, "reason", None)
        if not isinstance(inner, BaseException) or inner is seen:
            return f"{type(seen).__name__}: {seen}"[:200]
        seen = inner
