"""One client socket: HTTP by h11 until it asks for an upgrade, then websocket by wsproto."""

import socket
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import h11
import wsproto
from wsproto import events as ws_events

from .gateway import Reply
from .sessions import Session

READ_BYTES = 65_536
BODY_MAX = 4 * 1024 * 1024

_REASONS = {200: b"OK", 404: b"Not Found", 405: b"Method Not Allowed", 413: b"Too Large",
            422: b"Unprocessable Entity", 429: b"Too Many Requests", 500: b"Server Error"}


class Connection:
    """Bytes of one peer. `on_post` answers requests, `on_connect` opens a session."""

    def __init__(
        self,
        sock: socket.socket,
        on_post: Callable[["Connection", str, bytes], None],
        on_connect: Callable[[str], Session],
        on_text: Callable[[Session, str], None],
    ) -> None:
        self.sock = sock
        self.closed = False
        self.session: Session | None = None
        self.busy = False
        self._on_post = on_post
        self._on_connect = on_connect
        self._on_text = on_text
        self._http = h11.Connection(h11.SERVER)
        self._ws: wsproto.WSConnection | None = None
        self._out = bytearray()
        self._close_after_write = False
        self._request: h11.Request | None = None
        self._body = bytearray()
        self._text: list[str] = []

    @property
    def wants_write(self) -> bool:
        return bool(self._out)

    def readable(self) -> None:
        try:
            data = self.sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self.closed = True
            return
        if self._ws is not None:
            self._receive_ws(data)
            return
        if not data:
            self.closed = True
            return
        try:
            self._http.receive_data(data)
            self._pump_http()
        except h11.RemoteProtocolError:
            self.closed = True

    def reply(self, reply: Reply | None) -> None:
        """Answers the pending request; None closes the connection without a word."""
        self.busy = False
        if reply is None:
            self.abort()
            return
        headers = [
            ("content-type", "application/json"), ("content-length", str(len(reply.body)))
        ]
        headers += list(reply.headers.items())
        if reply.status == 422:
            headers[0] = ("content-type", "text/plain; charset=utf-8")
        for event in (
            h11.Response(
                status_code=reply.status, headers=headers, reason=_REASONS.get(reply.status, b"")
            ),
            h11.Data(data=reply.body),
            h11.EndOfMessage(),
        ):
            self._out += self._http.send(event) or b""
        self.write()
        if self._http.our_state is h11.MUST_CLOSE:
            self._close_after_write = True
            self.closed = not self._out
        elif self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            try:
                self._pump_http()
            except h11.RemoteProtocolError:
                self.closed = True

    def push(self) -> None:
        """Moves the session's frames to the socket; closes it when the session was closed."""
        if self.session is None or self._ws is None:
            return
        for text in self.session.take():
            self._out += self._ws.send(ws_events.TextMessage(data=text))
        if self.session.closed and not self._close_after_write:
            self._close_after_write = True
            if self._ws.state is wsproto.connection.ConnectionState.OPEN:
                self._out += self._ws.send(ws_events.CloseConnection(code=1000))
        self.write()

    def write(self) -> None:
        if self._out and not self.closed:
            try:
                sent = self.sock.send(self._out)
                del self._out[:sent]
            except BlockingIOError:
                return
            except OSError:
                self.closed = True
        if self._close_after_write and not self._out:
            self.closed = True

    def abort(self) -> None:
        """Drops the connection at once, as a broken network would."""
        self._out.clear()
        self.closed = True

    def _pump_http(self) -> None:
        while not self.closed and not self.busy:
            event = self._http.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return
            if isinstance(event, h11.Request):
                self._request = event
                self._body.clear()
                if b"websocket" in dict(event.headers).get(b"upgrade", b"").lower():
                    self._upgrade(event)
                    return
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) > BODY_MAX:
                    self.closed = True
            elif isinstance(event, h11.EndOfMessage):
                self._dispatch()
            elif isinstance(event, h11.ConnectionClosed):
                self.closed = True

    def _dispatch(self) -> None:
        request = self._request
        assert request is not None
        self.busy = True
        if request.method != b"POST":
            self.reply(Reply(405, b"", {}))
            return
        path = urlsplit(request.target.decode("ascii", "replace")).path
        self._on_post(self, path, bytes(self._body))

    def _upgrade(self, request: h11.Request) -> None:
        target = urlsplit(request.target.decode("ascii", "replace"))
        if target.path != "/ws":
            self.closed = True
            return
        name = parse_qs(target.query).get("session", [""])[0]
        ws = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
        ws.initiate_upgrade_connection(list(request.headers), target.path)
        for event in ws.events():
            if isinstance(event, ws_events.Request):
                self._out += ws.send(ws_events.AcceptConnection())
        self._ws = ws
        self.session = self._on_connect(name)
        trailing = self._http.trailing_data[0]
        self.push()
        if trailing:
            self._receive_ws(trailing)

    def _receive_ws(self, data: bytes) -> None:
        ws = self._ws
        assert ws is not None
        try:
            ws.receive_data(data or None)
            for event in ws.events():
                self._on_ws_event(ws, event)
        except wsproto.utilities.RemoteProtocolError:
            self.closed = True
        if not data:
            self.closed = True

    def _on_ws_event(self, ws: wsproto.WSConnection, event: ws_events.Event) -> None:
        if isinstance(event, ws_events.TextMessage):
            self._text.append(event.data)
            if event.message_finished:
                text = "".join(self._text)
                self._text.clear()
                assert self.session is not None
                self._on_text(self.session, text)
                self.push()
        elif isinstance(event, ws_events.Ping):
            self._out += ws.send(event.response())
            self.write()
        elif isinstance(event, ws_events.CloseConnection):
            if ws.state is wsproto.connection.ConnectionState.REMOTE_CLOSING:
                self._out += ws.send(event.response())
            self._close_after_write = True
            self.write()
