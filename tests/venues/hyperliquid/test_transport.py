"""Real sockets that misbehave: what may have left is told, and no call outlives its deadline."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from carry.base.deadlines import Deadline
from carry.core.observations import Accepted, NotSent, OutcomeUnknown
from carry.venues.base import ReadFailed
from carry.venues.hyperliquid.constants import Network
from carry.venues.hyperliquid.venue import HyperliquidVenue
from carry.venues.keys import AgentKey
from carry.venues.transport import BODY_BYTES_MAX, PostFailed, SocketTransport, proxy_of
from tests.venues.hyperliquid.support import (
    ACCOUNT,
    META,
    SPOT_META,
    TEST_KEY,
    FakeClock,
    FakeLink,
    encoded,
)
from tests.venues.hyperliquid.test_writes import PLACE, RESTING, ok

Serve = Callable[[socket.socket], None]


@contextmanager
def server(*scripts: Serve) -> Iterator[tuple[str, list[bytes]]]:
    """A listener on loopback; script n serves connection n. Yields its URL and what it read."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)
    requests: list[bytes] = []

    def work() -> None:
        for script in scripts:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.settimeout(10)
            try:
                script(connection)
            except OSError:
                pass
            finally:
                connection.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    _SEEN[listener.getsockname()[1]] = requests
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", requests
    finally:
        listener.close()
        thread.join(timeout=5)


_SEEN: dict[int, list[bytes]] = {}


def read_request(connection: socket.socket) -> bytes:
    """One whole request, remembered under the listener's port."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            raise OSError("closed")
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)
    _SEEN[connection.getsockname()[1]].append(head + b"\r\n\r\n" + body)
    return body


def http(body: bytes, status: str = "200 OK", *headers: str, length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def answers(*replies: bytes) -> Serve:
    """Reads a request and answers it, once for each reply, on one connection."""

    def script(connection: socket.socket) -> None:
        for reply in replies:
            read_request(connection)
            connection.sendall(reply)

    return script


def resets(connection: socket.socket) -> None:
    """Closes with RST after the first byte."""
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def resets_after_reading(connection: socket.socket) -> None:
    read_request(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def closes_after_reading(connection: socket.socket) -> None:
    read_request(connection)


def drips(reply: bytes) -> Serve:
    """A byte every 50 ms, so that no single receive ever times out."""

    def script(connection: socket.socket) -> None:
        read_request(connection)
        for n in range(len(reply)):
            connection.sendall(reply[n : n + 1])
            time.sleep(0.05)

    return script


def hangs(connection: socket.socket) -> None:
    read_request(connection)
    time.sleep(1.5)


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def venue_at(url: str) -> HyperliquidVenue:
    return HyperliquidVenue(
        network=Network.MAINNET, account=ACCOUNT, coins=("BTC", "HYPE"), key=AgentKey(TEST_KEY),
        clock=FakeClock(), transport=SocketTransport(url), link=FakeLink(),
    )  # fmt: skip


MARKETS = (http(encoded(META)), http(encoded(SPOT_META)))


def test_a_post_arrives_once_with_its_bytes() -> None:
    with server(answers(http(b"[1]", "200 OK", "X-Exchange-Time: 5"), http(b"{}"))) as (url, seen):
        transport = SocketTransport(url)
        status, headers, body = transport.post("/info", b'{"type":"meta"}', 2.0)
        assert (status, headers["x-exchange-time"], body) == (200, "5", b"[1]")
        assert transport.post("/exchange", b"{}", 2.0)[2] == b"{}"  # the connection is kept
        transport.close()
    first, second = seen
    assert first.startswith(b"POST /info HTTP/1.1\r\n")
    assert first.endswith(b'\r\n\r\n{"type":"meta"}')
    assert b"content-type: application/json" in first.lower()
    assert second.startswith(b"POST /exchange HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "reply",
    [
        http(b"x" * 300_000, "200 OK", "Connection: close"),
        b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 300_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n493e0\r\n"
        + b"x" * 300_000
        + b"\r\n0\r\n\r\n",
    ],
    ids=["connection ends", "HTTP/1.0", "chunked"],
)
def test_bodies_however_they_end(reply: bytes) -> None:
    with server(answers(reply)) as (url, _):
        assert SocketTransport(url).post("/info", b"{}", 2.0)[2] == b"x" * 300_000


PROXIES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "no_proxy")


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.usefixtures("no_proxies")
def test_a_proxy_of_the_environment_carries_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(answers(http(b"ok"))) as (proxy, seen):
        monkeypatch.setenv("HTTP_PROXY", proxy)
        monkeypatch.setenv("NO_PROXY", "other.invalid")
        assert SocketTransport("http://venue.invalid").post("/info", b"{}", 2.0)[2] == b"ok"
        assert proxy_of("ws://venue.invalid/ws") == proxy
        assert proxy_of("http://other.invalid") is None
        assert proxy_of("https://venue.invalid") is None
    assert seen
    assert bytes(seen[0]).startswith(b"POST http://venue.invalid/info HTTP/1.1")


@pytest.mark.usefixtures("no_proxies")
def test_what_a_proxy_is_asked_is_no_byte_of_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that refuses to connect: the order never left."""
    def refuses(connection: socket.socket) -> None:
        assert connection.recv(65536).startswith(b"CONNECT venue.invalid:443 ")
        connection.sendall(http(b"", "403 Forbidden"))

    with server(refuses) as (proxy, _):
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        failed = failure("https://venue.invalid", 3.0)
    assert not failed.left
    assert "403" in failed.text


def test_this_machine_is_never_reached_by_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, closed_port())
    with server(answers(http(b"ok"))) as (url, _):
        assert SocketTransport(url).post("/info", b"{}", 2.0)[2] == b"ok"


def test_redirects_are_not_followed() -> None:
    reply = http(b"", "307 Temporary Redirect", "Location: http://127.0.0.1:1/info")
    with server(answers(reply)) as (url, _):
        assert SocketTransport(url).post("/exchange", b"{}", 2.0)[0] == 307


@pytest.mark.parametrize("url", ["refused", "http://host.invalid", "https"])
def test_nothing_left_when_no_connection_was_made(url: str) -> None:
    """Refused, no such name, and a TLS handshake that fails."""
    if url == "https":
        with server(closes_at_once) as (plain, _):
            failed = failure(plain.replace("http:", "https:"), 3.0)
    else:
        failed = failure(closed_port() if url == "refused" else url, 3.0)
    assert not failed.left
    assert failed.text


def closes_at_once(connection: socket.socket) -> None:
    connection.recv(1)


def failure(url: str, deadline_s: float) -> PostFailed:
    with pytest.raises(PostFailed) as caught:
        SocketTransport(url).post("/exchange", b"{}", deadline_s)
    return caught.value


def test_no_time_left_is_not_sent() -> None:
    assert not failure(closed_port(), 0.0).left


@pytest.mark.parametrize(
    "script",
    [
        resets, resets_after_reading, closes_after_reading,
        answers(http(b'{"status":"ok"', length=400)),
        answers(b"not http at all\r\n\r\n"),
    ],
    ids=["reset", "reset after reading", "closed", "truncated body", "garbage"],
)  # fmt: skip
def test_once_bytes_may_have_left_the_outcome_is_unknown(script: Serve) -> None:
    with server(script) as (url, _):
        failed = failure(url, 2.0)
    assert failed.left
    assert failed.text


@pytest.mark.parametrize(
    "reply",
    [http(b"x" * 400), b"HTTP/1.1 200 OK\r\nX-A: " + b"y" * 400],
    ids=["slow body", "slow headers"],
)
def test_a_slow_drip_ends_at_the_deadline(reply: bytes) -> None:
    with server(drips(reply)) as (url, _):
        began = time.monotonic()
        failed = failure(url, 0.6)
        assert 0.4 < time.monotonic() - began < 1.2
    assert failed.left
    assert "deadline" in failed.text


def test_silence_ends_at_the_deadline() -> None:
    with server(hangs) as (url, _):
        began = time.monotonic()
        assert failure(url, 0.4).left
        assert time.monotonic() - began < 1.0


def test_a_broken_reply_still_tells_its_headers() -> None:
    """The clock of a lockstep run needs the stamp of a reply that was lost on the way."""
    with server(answers(http(b"{", "200 OK", "X-Exchange-Time: 77", length=9))) as (url, _):
        assert failure(url, 2.0).headers["x-exchange-time"] == "77"


def test_an_endless_body_is_cut_off() -> None:
    def floods(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(http(b"", length=10 * BODY_BYTES_MAX))
        piece = bytes(1024 * 1024)
        for _ in range(40):
            connection.sendall(piece)

    with server(floods) as (url, _):
        assert "longer than" in failure(url, 5.0).text


# --- through the venue ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (answers(*MARKETS, http(encoded(RESTING))), Accepted),
        (answers(*MARKETS, http(b"<html>502</html>", "502 Bad Gateway")), OutcomeUnknown),
        (answers(*MARKETS, http(b"null", "429 Too Many Requests")), OutcomeUnknown),
        (answers(*MARKETS, http(b"null", "500 Internal Server Error")), OutcomeUnknown),
        (answers(*MARKETS, http(encoded(RESTING)[:-2])), OutcomeUnknown),
        (answers(*MARKETS, b"HTTP/1.1 200 OK\r\nConte"), OutcomeUnknown),
        (answers(*MARKETS, http(encoded(RESTING)[:-2], length=400)), OutcomeUnknown),
        (answers(*MARKETS, http(encoded(ok("order")))), OutcomeUnknown),
    ],
    ids=["resting", "502", "429", "500", "cut json", "cut head", "cut body", "no statuses"],
)  # fmt: skip
def test_orders_over_sockets(script: Serve, expected: type) -> None:
    with server(script) as (url, seen):
        venue = venue_at(url)
        venue.markets(("BTC", "HYPE"))
        assert isinstance(venue.write(PLACE), expected)
        venue.close()
    assert sum(request.startswith(b"POST /exchange") for request in seen) == 1


def test_an_order_without_a_connection_is_not_sent() -> None:
    with server(answers(*MARKETS)) as (url, _):
        venue = venue_at(url)
        venue.markets(("BTC", "HYPE"))
    outcome = venue.write(PLACE)  # the kept connection is closed, and nobody listens any more
    assert isinstance(outcome, NotSent), outcome


def test_reads_obey_the_ticks_deadline() -> None:
    with server(hangs) as (url, _):
        venue = venue_at(url)
        venue.rest.until = Deadline.after(0.3)
        began = time.monotonic()
        with pytest.raises(ReadFailed, match="transport"):
            venue.mode()
        assert time.monotonic() - began < 1.0


def test_every_reply_is_told_to_the_hook() -> None:
    told: list[str] = []
    reply = http(b'"default"', "200 OK", "X-Exchange-Time: 12")
    with server(answers(reply, http(b"", "502 Bad Gateway", "x-exchange-time: 13"))) as (url, _):
        venue = HyperliquidVenue(
            network=Network.TESTNET, account=ACCOUNT, coins=(), key=None, clock=FakeClock(),
            transport=SocketTransport(url), link=FakeLink(),
            on_reply=lambda headers: told.append(headers["x-exchange-time"]),
        )  # fmt: skip
        venue.mode()
        with pytest.raises(ReadFailed):
            venue.mode()
    assert told == ["12", "13"]
