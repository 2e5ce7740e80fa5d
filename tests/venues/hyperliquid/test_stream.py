"""The stream: what frames become, what a gap is, and a reader that comes back on real sockets."""

import base64
import hashlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal as D
from typing import Any

import pytest

from carry.core.observations import BookSeen, FillSeen, OrderSeen
from carry.core.types import Leg
from carry.venues.hyperliquid.feed import Feed
from carry.venues.hyperliquid.ws import PING_MS, SILENCE_MS, HyperliquidStream, SocketLink
from tests.venues.hyperliquid.support import (
    ACCOUNT,
    CLOID,
    FakeClock,
    FakeLink,
    encoded,
    known_markets,
)
from tests.venues.hyperliquid.test_reads import fill_row

BOOKS = ("book:BTC:spot", "book:BTC:perp", "book:HYPE:spot", "book:HYPE:perp")
ALL = ("fills", "orders", *BOOKS)


def frame(channel: str, data: Any) -> bytes:
    return encoded({"channel": channel, "data": data})


def bbo(bid: Any, ask: Any, coin: str = "HYPE", at: int = 5) -> bytes:
    rows = [None if px is None else {"px": px, "sz": "1.0", "n": 1} for px in (bid, ask)]
    return frame("bbo", {"coin": coin, "time": at, "bbo": rows})


def update(status: str, **more: Any) -> Any:
    order = {"coin": "@107", "side": "B", "limitPx": "30.0", "sz": "0.49", "oid": 1,
             "timestamp": 1, "origSz": "0.49", "cloid": CLOID, **more}  # fmt: skip
    return {"order": order, "status": status, "statusTimestamp": 1}


def fills(*rows: Any, **more: Any) -> bytes:
    return frame("userFills", {"user": ACCOUNT, "fills": list(rows), **more})


@pytest.fixture
def feed() -> Feed:
    feed = Feed(ACCOUNT)
    feed.known = known_markets()
    return feed


# --- what a frame becomes ------------------------------------------------------------------------


def test_only_own_orders_and_fills_wake(feed: Feed) -> None:
    assert not feed.take(b"Websocket connection established.", 1)
    assert not feed.take(bbo("27.5", "27.6"), 2)
    assert feed.take(fills(fill_row()), 3)
    assert feed.take(frame("orderUpdates", [update("canceled")]), 4)
    assert not feed.take(frame("pong", None), 5)
    assert not feed.take(encoded({"channel": "pong"}), 5)
    assert not feed.take(frame("orderUpdates", [update("open", coin="DOGE")]), 5)
    events, gaps = feed.drain()
    assert [type(event) for event in events] == [BookSeen, FillSeen, OrderSeen]
    quote, fill, order = events
    assert isinstance(quote, BookSeen)
    assert isinstance(fill, FillSeen)
    assert isinstance(order, OrderSeen)
    assert (quote.coin, quote.leg, quote.full, quote.seen_ms) == ("HYPE", Leg.PERP, False, 2)
    assert fill.fill.trade_id == "1755857898644:@107:107:379"
    assert (order.cloid, order.status, order.word) == (CLOID, "gone", "canceled")
    assert gaps == ()
    assert feed.drain() == ((), ())
    assert feed.ages_ms(10) == {"book:HYPE:perp": 8, "fills": 7, "orders": 5}


def test_a_snapshot_is_fills_like_any_other(feed: Feed) -> None:
    assert feed.take(fills(fill_row(), fill_row(tid=2), isSnapshot=True), 3)
    assert len(feed.drain()[0]) == 2


def test_the_newest_quote_of_a_tick_is_kept_in_its_place(feed: Feed) -> None:
    for text in (bbo("27.4", "27.6"), bbo("1.0", "2.0", "@107"), bbo("27.5", "27.6")):
        feed.take(text, 2)
    events, _ = feed.drain()
    assert [(e.leg, e.book.bid_px) for e in events if isinstance(e, BookSeen)] == [
        (Leg.SPOT, D("1.0")), (Leg.PERP, D("27.5")),
    ]  # fmt: skip


def test_a_one_sided_quote_prices_nothing_and_grows_old(feed: Feed) -> None:
    feed.take(bbo("27.5", None), 2)
    assert feed.drain() == ((), ())
    assert feed.ages_ms(9) == {}


@pytest.mark.parametrize(
    ("text", "gaps"),
    [
        (bbo("27.6", "27.5"), ()),
        (bbo("NaN", "27.5"), ()),
        (fills(fill_row(side="?")), ("fills",)),
        (fills(5), ("fills",)),
        (frame("userFills", {"user": "0x" + "f" * 40, "fills": []}), ("fills",)),
        (frame("userFills", None), ("fills",)),
        (frame("orderUpdates", [update("huh")]), ("orders",)),
        (frame("orderUpdates", {}), ("orders",)),
        (b"{broken", ALL),
        (b'{"channel":5}', ALL),
        (b'{"\xff":1}', ALL),
    ],
)
def test_a_bad_message_costs_itself_and_asks_for_its_read(
    feed: Feed, text: bytes, gaps: tuple[str, ...]
) -> None:
    assert not feed.take(text, 2)
    assert feed.quarantined == 1
    assert feed.last_bad
    assert feed.take(fills(fill_row()), 3)
    assert feed.drain()[1] == gaps


def test_a_bad_row_spares_its_neighbours(feed: Feed) -> None:
    assert feed.take(fills(fill_row(px="x"), fill_row(tid=9)), 2)
    events, gaps = feed.drain()
    assert (len(events), gaps, feed.quarantined) == (1, ("fills",), 1)


def test_an_acknowledged_subscription_asks_for_its_read(feed: Feed) -> None:
    for wanted in feed.subscriptions():
        echo = {**wanted, "nSigFigs": None}  # the venue adds null defaults
        feed.take(frame("subscriptionResponse", {"method": "subscribe", "subscription": echo}), 1)
    assert sorted(feed.drain()[1]) == sorted(ALL)


def test_errors_are_kept_for_the_operator(feed: Feed) -> None:
    for n in range(12):
        feed.take(frame("error", f"Cannot track more than {n} total users."), 1)
    assert len(feed.errors) == 10
    assert "11" in feed.errors[-1]


# --- the stream over a link ----------------------------------------------------------------------


def started() -> tuple[HyperliquidStream, FakeLink, FakeClock]:
    link, clock = FakeLink(), FakeClock()
    stream = HyperliquidStream(link, Feed(ACCOUNT), clock)
    stream.know(known_markets(("HYPE",)))
    stream.start()
    return stream, link, clock


def test_own_channels_are_asked_for_first_and_new_markets_later() -> None:
    stream, link, _ = started()
    wanted = [json.loads(text)["subscription"] for text in link.sent]
    assert wanted == [
        {"type": "orderUpdates", "user": ACCOUNT}, {"type": "userFills", "user": ACCOUNT},
        {"type": "bbo", "coin": "@107"}, {"type": "bbo", "coin": "HYPE"},
    ]  # fmt: skip
    link.sent.clear()
    stream.know(known_markets(("HYPE", "BTC")))
    assert [json.loads(text)["subscription"]["coin"] for text in link.sent] == ["@142", "BTC"]
    link.sent.clear()
    stream.know(known_markets(("HYPE", "BTC")))
    stream.start()
    assert link.sent == []


def test_pings_go_by_the_clock_of_the_bot() -> None:
    stream, link, clock = started()
    link.sent.clear()
    clock.now_ms += PING_MS - 1
    stream.drain()
    assert link.sent == []
    clock.now_ms += 1
    stream.poll(0)
    stream.poll(0)
    assert link.sent == ['{"method":"ping"}']


def test_silence_breaks_the_connection_and_data_does_not() -> None:
    stream, link, clock = started()
    clock.now_ms += SILENCE_MS
    link.frames.append((clock.now_ms, b'{"channel":"pong"}'))
    stream.drain()
    clock.now_ms += SILENCE_MS
    stream.drain()
    assert link.aborted == 0
    clock.now_ms += 1
    stream.drain()
    assert link.aborted == 1


def test_what_was_lost_is_a_gap_of_every_channel() -> None:
    stream, link, _ = started()
    link.lost = True
    assert stream.drain() == ((), ("fills", "orders", "book:HYPE:spot", "book:HYPE:perp"))
    assert stream.drain() == ((), ())


# --- real sockets --------------------------------------------------------------------------------


class Peer:
    """One accepted websocket, server side: just enough of RFC 6455."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        connection.settimeout(5)
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(4096)
        self.path = head.split(b" ")[1].decode()
        key = head.lower().split(b"sec-websocket-key: ")[1].split(b"\r\n")[0]
        key = head[head.lower().index(key) :][: len(key)]
        guid = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key + guid).digest()).decode()
        connection.sendall(
            (
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                f"Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            ).encode()
        )
        self.send(b"Websocket connection established.")

    def send(self, text: bytes) -> None:
        head = (
            bytes([0x81, len(text)])
            if len(text) < 126
            else b"\x81\x7e" + struct.pack(">H", len(text))
        )
        self._connection.sendall(head + text)

    def read(self) -> str:
        head = self._exactly(2)
        length = head[1] & 127
        if length == 126:
            length = struct.unpack(">H", self._exactly(2))[0]
        mask = self._exactly(4)
        return bytes(b ^ mask[n % 4] for n, b in enumerate(self._exactly(length))).decode()

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self._connection.recv(count - len(data))
            if not piece:
                raise OSError("closed")
            data += piece
        return data

    def acknowledge(self, count: int) -> None:
        for _ in range(count):
            wanted = json.loads(self.read())
            assert wanted["method"] == "subscribe"
            self.send(frame("subscriptionResponse", wanted))


@contextmanager
def websocket(*scripts: Callable[[Peer], None]) -> Iterator[tuple[str, list[Any]]]:
    """A server on loopback; connection n is handed to script n. Yields its URL and what broke."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)
    trouble: list[Any] = []

    def work() -> None:
        for script in scripts:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    script(Peer(connection))
                except Exception as error:  # shown by the test, which is in another thread
                    trouble.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}/ws", trouble
    finally:
        listener.close()
        thread.join(timeout=5)


def stream_at(url: str, **more: Any) -> HyperliquidStream:
    clock = FakeClock()
    link = SocketLink(url, clock, **more)
    stream = HyperliquidStream(link, Feed(ACCOUNT), clock, more.get("session"))
    stream.know(known_markets(("HYPE",)))
    return stream


def until(holds: Callable[[], bool], seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def test_a_session_in_real_time_and_its_return() -> None:
    done = threading.Event()

    def first(peer: Peer) -> None:
        assert peer.path == "/ws"
        peer.acknowledge(4)
        peer.send(fills(fill_row(), isSnapshot=True))
        peer.send(bbo("27.5", "27.6"))
        # and the connection ends without notice

    def second(peer: Peer) -> None:
        peer.acknowledge(4)
        peer.send(fills(fill_row(tid=2)))
        done.wait(5)

    with websocket(first, second) as (url, trouble):
        stream = stream_at(url)
        stream.start()
        events: list[Any] = []
        gaps: list[str] = []

        def collect(count: int) -> bool:
            stream.poll(0.05)
            seen, lost = stream.drain()
            events.extend(seen)
            gaps.extend(lost)
            return sum(isinstance(event, FillSeen) for event in events) >= count

        assert until(lambda: collect(1))
        assert until(lambda: collect(2)), stream.link
        assert gaps.count("fills") >= 2  # acknowledged or lost, then acknowledged again
        assert isinstance(stream.link, SocketLink)
        assert stream.link.connects == 2
        done.set()
        stream.stop()
    assert trouble == []


def test_poll_returns_as_soon_as_an_own_fill_arrives() -> None:
    go, done = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.acknowledge(4)
        go.wait(5)
        peer.send(fills(fill_row()))
        done.wait(5)

    with websocket(script) as (url, trouble):
        stream = stream_at(url)
        stream.start()
        assert stream.wait_received(5, 5.0)
        stream.drain()
        began = time.monotonic()
        go.set()
        assert stream.poll(5.0)
        assert time.monotonic() - began < 1.0
        assert not stream.poll(0.01)
        done.set()
        stream.stop()
    assert trouble == []


def test_lockstep_names_its_session_counts_frames_and_reconnects_by_its_clock() -> None:
    paths: list[str] = []
    done = threading.Event()

    def first(peer: Peer) -> None:
        paths.append(peer.path)
        peer.acknowledge(4)
        peer.send(bbo("27.5", "27.6"))

    def second(peer: Peer) -> None:
        paths.append(peer.path)
        peer.acknowledge(4)
        done.wait(5)

    with websocket(first, second) as (url, trouble):
        stream = stream_at(url, session="run 1")
        clock = stream._clock
        assert isinstance(clock, FakeClock)
        stream.start()  # returns with every subscription answered
        assert stream.wait_received(6, 5.0)  # the sentence, four answers, one quote
        assert stream.wait_closed(5.0)
        clock.now_ms += 500
        events, gaps = stream.drain()  # too early for another try: 2 s of exchange time
        assert [event.seen_ms for event in events if isinstance(event, BookSeen)] == [1_000_500]
        assert set(gaps) == {"fills", "orders", "book:HYPE:spot", "book:HYPE:perp"}
        assert not stream.link.is_open()
        clock.now_ms += 1_500
        stream.drain()
        assert stream.link.is_open()
        assert stream.received() == 5  # of the present connection
        done.set()
        stream.stop()
    assert paths == ["/ws?session=run%201"] * 2
    assert trouble == []


def test_a_full_queue_is_a_gap_and_counts_all_the_same() -> None:
    done = threading.Event()

    def script(peer: Peer) -> None:
        peer.acknowledge(4)
        for n in range(40):
            peer.send(fills(fill_row(tid=n)))
        done.wait(5)

    with websocket(script) as (url, trouble):
        stream = stream_at(url, queue_max=10)
        stream.start()
        assert stream.wait_received(45, 5.0)
        events, gaps = stream.drain()
        assert len(events) == 5  # ten frames: the sentence, four answers, five fills
        assert "fills" in gaps
        done.set()
        stream.stop()
    assert trouble == []


def test_a_venue_that_is_away_is_tried_again_and_stop_ends_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}/ws"
    stream = stream_at(url)
    stream.start()
    assert isinstance(stream.link, SocketLink)
    assert until(lambda: bool(stream.link.last_error))
    assert stream.drain() == ((), ())  # nothing was open, so nothing was lost
    began = time.monotonic()
    stream.stop()
    assert time.monotonic() - began < 1.0


def test_abort_wakes_the_reader() -> None:
    done = threading.Event()

    def script(peer: Peer) -> None:
        peer.acknowledge(4)
        done.wait(5)

    with websocket(script) as (url, trouble):
        stream = stream_at(url, session="s")
        stream.start()
        stream.link.abort()  # in lockstep it returns with the connection known to be closed
        assert not stream.link.is_open()
        done.set()
        stream.stop()
    assert trouble == []
