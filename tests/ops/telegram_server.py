"""A local server that speaks the Bot API as far as the bot uses it, on loopback, with faults.

getUpdates confirms what is below its offset, as the real one does, and waits at most a moment.
"""

import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from typing import Any

TOKEN = "123456789:AAF-" + "x" * 31
ANNA = 4711


class BotServer:
    """`sent`: messages taken, in order. `answers`: replies to give instead, by method."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.updates: list[Any] = []
        self.sent: list[tuple[int, str]] = []
        self.bodies: list[dict[str, Any]] = []
        self.calls: dict[str, int] = {}
        self.answers: dict[str, list[tuple[int, Any]]] = {}
        self.token = TOKEN
        self.keep = False  # an API that forgets that updates were confirmed
        self.now_s = int(time.time())
        self.wait_s = 0.05
        self._next = 100
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length) or b"{}")
                status, reply = outer.answer(self.path, body)
                text = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
                if status == 0:  # the connection breaks
                    self.close_connection = True
                    self.connection.close()
                    return
                self.send_response_only(status)
                self.send_header("Date", formatdate(outer.now_s, usegmt=True))
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *args: Any) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    @contextmanager
    def running(self) -> Iterator["BotServer"]:
        thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            self.http.shutdown()
            self.http.server_close()
            thread.join(timeout=10)

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        token, _, method = path.removeprefix("/bot").partition("/")
        with self.lock:
            self.calls[method] = self.calls.get(method, 0) + 1
            if token != self.token:
                return 401, {"ok": False, "error_code": 401, "description": "Unauthorized"}
            scripted = self.answers.get(method)
            if scripted:
                return scripted.pop(0)
            if method == "sendMessage":
                self.sent.append((body["chat_id"], body["text"]))
                self.bodies.append(body)
                return 200, {"ok": True, "result": {"message_id": len(self.sent)}}
            if method != "getUpdates":
                return 404, {"ok": False, "error_code": 404, "description": "Not Found"}
            offset = body.get("offset", 0)
            if not self.keep and offset > 0:
                self.updates = [u for u in self.updates if _id(u) is None or _id(u) >= offset]
            found = [u for u in self.updates if _id(u) is None or _id(u) >= offset or self.keep]
        if not found:
            time.sleep(self.wait_s)
        return 200, {"ok": True, "result": found}

    # --- what people do --------------------------------------------------------------------------

    def write(self, text: str, who: int = ANNA, **more: Any) -> dict[str, Any]:
        """A message as the real API shows it; `more` replaces keys of the message."""
        with self.lock:
            self._next += 1
            message: dict[str, Any] = {
                "message_id": self._next,
                "from": {"id": who, "is_bot": False, "first_name": "Anna"},
                "chat": {"id": who, "type": "private", "first_name": "Anna"},
                "date": self.now_s,
                "text": text,
            }
            message.update(more)
            update = {"update_id": self._next, "message": message}
            self.updates.append(update)
            return update

    def said(self) -> str:
        return "\n".join(text for _, text in self.sent)


def _id(update: Any) -> Any:
    found = update.get("update_id") if isinstance(update, dict) else None
    return found if type(found) is int else None
