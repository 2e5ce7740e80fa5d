"""`carry exchange`: the embedded exchange behind a loopback socket, one thread, one selector."""

import heapq
import json
import selectors
import signal
import socket
import sys
import time
from types import FrameType

from .connection import Connection
from .gateway import Gateway, Reply
from .options import Options, Usage, build, parse

HOST = "127.0.0.1"
_TICK_S = 0.05
_BACKLOG = 64


class Server:
    """Sockets only: every decision is the gateway's."""

    def __init__(self, gateway: Gateway, *, port: int, speed: float) -> None:
        self.gateway = gateway
        self.speed = speed
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server((HOST, port), backlog=_BACKLOG)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._connections: list[Connection] = []
        self._held: list[tuple[float, int, Connection, Reply]] = []
        self._holds = 0
        self._stopping = False

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def stop(self) -> None:
        self._stopping = True

    def run(self) -> None:
        """Serves until `stop`."""
        while not self._stopping:
            self.turn()
        for connection in self._connections:
            connection.sock.close()
        self._listener.close()
        self._selector.close()

    def turn(self) -> None:
        """One round: sockets, clock, held replies, frames."""
        for key, mask in self._selector.select(self._timeout_s()):
            if key.data is None:
                self._accept()
                continue
            if mask & selectors.EVENT_WRITE:
                key.data.write()
            if mask & selectors.EVENT_READ:
                key.data.readable()
        if not self.gateway.lockstep:
            self.gateway.tick(time.time_ns() // 1_000_000)
        while self._held and self._held[0][0] <= time.monotonic():
            _, _, connection, reply = heapq.heappop(self._held)
            if not connection.closed:
                connection.reply(reply)
        self._push()
        self._reap()

    def _timeout_s(self) -> float:
        timeout = _TICK_S
        if self._held:
            timeout = min(timeout, max(self._held[0][0] - time.monotonic(), 0))
        return timeout

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        exchange = self.gateway.exchange
        connection = Connection(sock, self._post, exchange.connect, exchange.receive)
        self._connections.append(connection)
        self._selector.register(sock, selectors.EVENT_READ, connection)

    def _post(self, connection: Connection, path: str, body: bytes) -> None:
        began = time.monotonic()
        if not self.gateway.lockstep:
            self.gateway.tick(time.time_ns() // 1_000_000)
        reply = self.gateway.post(path, body)
        # Frames first: a reply's count of frames must never run ahead of the frames.
        self._push()
        if reply is not None and path == "/lockstep" and self.speed > 0 and reply.held_ms:
            self._holds += 1
            due = began + reply.held_ms / 1000 / self.speed
            heapq.heappush(self._held, (due, self._holds, connection, reply))
            return
        connection.reply(reply)

    def _push(self) -> None:
        for connection in self._connections:
            connection.push()

    def _reap(self) -> None:
        for connection in [c for c in self._connections if c.closed]:
            self._connections.remove(connection)
            self._selector.unregister(connection.sock)
            connection.sock.close()
            if connection.session is not None:
                self.gateway.exchange.streams.disconnect(connection.session)
        for connection in self._connections:
            events = selectors.EVENT_READ
            if connection.wants_write:
                events |= selectors.EVENT_WRITE
            self._selector.modify(connection.sock, events, connection)


def main(argv: list[str]) -> int:
    """Exit code of `carry exchange`: 0 after SIGTERM or SIGINT, 2 for what it cannot accept."""
    try:
        options: Options = parse(argv)
        gateway, finish = build(options)
    except Usage as usage:
        print(f"carry exchange: {usage}", file=sys.stderr)
        return 2
    try:
        server = Server(gateway, port=options.port, speed=options.speed)
    except OSError as error:
        print(f"carry exchange: port {options.port}: {error.strerror}", file=sys.stderr)
        return 1

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        server.stop()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    ready = {
        "url": f"http://{HOST}:{server.port}",
        "ws_url": f"ws://{HOST}:{server.port}/ws",
        "network": "testnet",
    }
    print(json.dumps(ready), flush=True)
    server.run()
    finish()
    print(json.dumps({"faults": gateway.faults.counts, "requests": gateway.requests}), flush=True)
    return 0
