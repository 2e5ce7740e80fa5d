"""`python -m carry.exchange.aster`: the local Aster behind a loopback socket.

Requests are read as bytes and answered one after another under one lock. The clock is the
machine's, with an offset for tests of skew.
"""

import argparse
import json
import signal
import socket
import sys
import threading
import time
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from carry.core.num import use_exact_context

from .api import Api
from .auth import Request
from .model import Aster

HOST = "127.0.0.1"
BODY_MAX = 1 << 20
LATENCY_MS = 30
WAIT_MS_MAX = 24 * 3_600_000
TIME_HEADER = "X-Exchange-Time"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "AsterServer"

    def _serve(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > BODY_MAX:
            self.close_connection = True
            return
        body = self.rfile.read(int(length)).decode("utf-8", "replace")
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.server.answer(Request(self.command, path, query, body, headers))
        if reply is None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        status, content, more = reply
        html = content[:1] == b"<"
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if html else "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in more.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = _serve

    def log_message(self, format: str, *args: Any) -> None:
        """Requests carry signatures and keys: nothing of them is printed."""


class AsterServer(ThreadingHTTPServer):
    """Serves one exchange. `offset_ms`: the venue's clock minus the machine's.

    lockstep: time moves only while a client waits (`POST /lockstep`) and by `LATENCY_MS` a request,
    so that a run is a function of its seed and its requests.
    """

    daemon_threads = True
    # A test that ends with a connection open does not wait for it.
    block_on_close = False

    def __init__(
        self, exchange: Aster, *, port: int = 0, offset_ms: int = 0, lockstep: bool = False
    ) -> None:
        super().__init__((HOST, port), _Handler)
        self.exchange = exchange
        self.api = Api(exchange)
        self.offset_ms = offset_ms
        self.lockstep = lockstep
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_address[1]}"

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self.offset_ms

    def answer(self, request: Request) -> tuple[int, bytes, dict[str, str]] | None:
        with self.lock:
            use_exact_context()
            if not self.lockstep:
                self.exchange.advance(max(self.now_ms(), self.exchange.now))
                return self.api.answer(request)
            if request.path == "/lockstep":
                return self._wait(request.body)
            self.exchange.advance(self.exchange.now + LATENCY_MS)
            reply = self.api.answer(request)
            if reply is not None:
                reply[2][TIME_HEADER] = str(self.exchange.now)
            return reply

    def _wait(self, body: str) -> tuple[int, bytes, dict[str, str]]:
        """Lets time pass. There are no streams, so nothing wakes a client early."""
        try:
            asked = json.loads(body)
            ms = int(asked["ms"]) if asked["type"] == "wait" else 0
        except (ValueError, KeyError, TypeError):
            return 422, b'"bad lockstep request"', {}
        self.exchange.advance(self.exchange.now + min(max(ms, 0), WAIT_MS_MAX))
        now = self.exchange.now
        answer = {"time": now, "seed": self.exchange.seed, "streams": {}, "faults": {}}
        return 200, json.dumps(answer).encode(), {TIME_HEADER: str(now)}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def main(argv: list[str]) -> int:
    """Exit code: 0 after SIGTERM or SIGINT, 2 for a bad command line."""
    p = argparse.ArgumentParser(prog="carry.exchange.aster", description=__doc__)
    p.add_argument("--port", type=int, default=0, help="loopback port; 0 takes a free one")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--network", choices=("mainnet", "testnet"), default="testnet",
                   help="whose chain id signatures are verified with")
    p.add_argument("--fund", action="append", default=[], metavar="USER=SPOT,PERP",
                   help="a user with USDT in both wallets")
    p.add_argument("--agent", action="append", default=[], metavar="AGENT=USER")
    p.add_argument("--key", action="append", default=[], metavar="USER=KEY,SECRET",
                   help="a V1 key of a user; play money only, it shows in the process list")
    p.add_argument("--offset-ms", type=int, default=0, help="the venue's clock minus ours")
    options = p.parse_args(argv)
    use_exact_context()
    now_ms = time.time_ns() // 1_000_000 + options.offset_ms
    exchange = Aster(options.seed, now_ms, network=options.network)
    try:
        for text in options.fund:
            user, _, amounts = text.partition("=")
            spot, _, perp = amounts.partition(",")
            exchange.open_account(user, spot=Decimal(spot), perp=Decimal(perp))
        for text in options.agent:
            agent, _, user = text.partition("=")
            exchange.approve(agent, user)
        for text in options.key:
            user, _, pair = text.partition("=")
            exchange.doorman.give_key(user, *pair.split(","))
    except (ArithmeticError, TypeError):
        print(f"carry.exchange.aster: {text}: not in the form of --help", file=sys.stderr)
        return 2
    server = AsterServer(exchange, port=options.port, offset_ms=options.offset_ms)

    def on_signal(_number: int, _frame: Any) -> None:
        threading.Thread(target=server.shutdown, daemon=True).start()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    print(json.dumps({"url": server.url, "network": options.network}), flush=True)
    server.serve_forever(poll_interval=0.05)
    server.server_close()
    return 0
