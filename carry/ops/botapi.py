"""Telegram's Bot API as far as it is needed: two methods over HTTPS, plain text, no markup.

Source: core.telegram.org/bots/api (getUpdates, sendMessage, ResponseParameters).
"""

from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, Final

import attrs

from carry.base.secrets import Secret

from .web import Client, Unreachable

POLL_S: Final = 25
TEXT_MAX: Final = 4_000  # of 4096 characters
SEND_S: Final = 10.0


class ApiFailed(Exception):
    """The API did not do it. kind: "down" | "refused" (the token) | "twice" (two pollers) | "busy"
    (too many requests) | "no" (this one request).

    wait_s: how long the API asks to wait; 0 when it does not say.
    """

    def __init__(self, kind: str, text: str, wait_s: int = 0) -> None:
        super().__init__(text)
        self.kind, self.wait_s = kind, wait_s


KINDS: Final[Mapping[int, str]] = {401: "refused", 404: "refused", 409: "twice", 429: "busy"}


@attrs.frozen
class Batch:
    """updates: as they came. server_s: the server's date, epoch seconds, None without one."""

    updates: Sequence[Any]
    server_s: int | None


class BotApi:
    """For one thread. The token is in each address, so no error carries one (see `web`)."""

    def __init__(self, base_url: str, token: Secret) -> None:
        self._base, self._token, self._client = base_url.rstrip("/"), token, Client()

    def updates(self, offset: int, wait_s: int = POLL_S) -> Batch:
        """Updates from `offset` on; waits for one. Only messages are asked for."""
        result, date = self._call(
            "getUpdates",
            {"offset": offset, "timeout": wait_s, "allowed_updates": ["message"]},
            wait_s + SEND_S,
        )
        if not isinstance(result, list):
            raise ApiFailed("down", "its answer has no list of updates")
        return Batch(result, _epoch_s(date))

    def send(self, chat: int, text: str, keyboard: Sequence[Sequence[str]] = ()) -> None:
        """One message, cut to what the API takes."""
        if len(text) > TEXT_MAX:
            text = text[: TEXT_MAX - 4] + "\n..."
        body: dict[str, Any] = {
            "chat_id": chat,
            "text": text,
            "link_preview_options": {"is_disabled": True},
        }
        if keyboard:
            buttons = [[{"text": word} for word in row] for row in keyboard]
            body["reply_markup"] = {
                "keyboard": buttons,
                "resize_keyboard": True,
                "is_persistent": True,
            }
        self._call("sendMessage", body, SEND_S)

    def _call(self, method: str, body: Any, timeout_s: float) -> tuple[Any, str | None]:
        url = f"{self._base}/bot{self._token.reveal()}/{method}"
        try:
            answer = self._client.ask("POST", url, body, timeout_s)
        except Unreachable as failure:
            text = f"{method}: {failure}"
        else:
            text = ""
        if text:
            raise ApiFailed("down", text)
        found = answer.body if isinstance(answer.body, dict) else {}
        if answer.status == 200 and found.get("ok") is True:
            return found.get("result"), answer.date
        kind = KINDS.get(answer.status, "down" if answer.status >= 500 or not found else "no")
        asked = found.get("parameters")
        wait_s = asked.get("retry_after", 0) if isinstance(asked, dict) else 0
        text = f"{method}: HTTP {answer.status}"
        raise ApiFailed(kind, text, wait_s if isinstance(wait_s, int) and wait_s > 0 else 0)

    def close(self) -> None:
        self._client.close()


def _epoch_s(date: str | None) -> int | None:
    try:
        return None if date is None else int(parsedate_to_datetime(date).timestamp())
    except (ValueError, TypeError, OverflowError):
        return None
