"""Where alerts go: Telegram, a webhook, the log. Each takes a text or says why not."""

import time
from collections.abc import Sequence
from typing import Final, Protocol

from carry.base.secrets import Redactor, Secret, resolve
from carry.shell.logs import EventLog
from carry.shell.wiring import SecretRef, Wiring

from .botapi import ApiFailed, BotApi
from .memory import Episode
from .web import Client, Unreachable

WEBHOOK_S: Final = 10.0
AT_ONCE_MAX: Final = 10  # episodes in one message; the rest follows


class NotTaken(Exception):
    """A route did not take a message. cause: the alert that says so elsewhere; wait_s: it asks."""

    def __init__(self, cause: str, text: str, wait_s: int = 0) -> None:
        super().__init__(text)
        self.cause, self.wait_s = cause, wait_s


class Route(Protocol):
    """name: as in the marks. level: the least severe alert it takes."""

    name: str
    level: str

    def tell(self, episodes: Sequence[Episode]) -> None:
        """Pass them on. Raises NotTaken."""


def shown(one: Episode) -> str:
    """An episode for people: how bad, which, since when and how often, and the whole sentence."""
    head = f"{one.level.upper()} {one.name}"
    if one.level == "note":
        head = one.name.replace("_", " ")
    elif one.count > 1:
        since = time.strftime("%d %b %H:%M UTC", time.gmtime(one.first_ms // 1000))
        head += f" - still failing, x{one.count} since {since}"
    return f"{head}\n{one.text}"


class LogRoute:
    """`logs/ops.log` and the console; takes everything."""

    name, level = "log", "info"

    def __init__(self, log: EventLog) -> None:
        self._log = log

    def tell(self, episodes: Sequence[Episode]) -> None:
        for one in episodes:
            fields = {
                "level": one.level,
                "name": one.name,
                "count": str(one.count),
                "text": one.text,
            }
            at_ms = one.at_ms if one.at_ms is not None else one.last_ms
            self._log.emit("ops_alert", at_ms, one.market or None, fields)
            self._log.warn(shown(one).replace("\n", ": ", 1))


class TelegramRoute:
    """One chat of the allow-list; what is due together is one message."""

    def __init__(self, api: BotApi, chat: int, level: str) -> None:
        self._api, self._chat, self.level = api, chat, level
        self.name = f"telegram_{chat}"

    def tell(self, episodes: Sequence[Episode]) -> None:
        try:
            self._api.send(self._chat, "\n\n".join(shown(one) for one in episodes))
        except ApiFailed as failure:
            refused = failure.kind in ("refused", "no")
            cause = "telegram_refused" if refused else "telegram_down"
            raise NotTaken(cause, str(failure), failure.wait_s) from None


class WebhookRoute:
    """One POST: `text` and `content` for chat services, `alerts` for programs."""

    name = "webhook"

    def __init__(self, url: Secret, level: str) -> None:
        self._url, self._client, self.level = url, Client(), level

    def tell(self, episodes: Sequence[Episode]) -> None:
        text = "\n\n".join(shown(one) for one in episodes)
        alerts = [
            {
                "name": one.name,
                "cause": one.cause,
                "market": one.market or None,
                "level": one.level,
                "count": one.count,
                "first_ms": one.first_ms,
                "last_ms": one.last_ms,
                "text": one.text,
            }
            for one in episodes
        ]
        body = {"text": text, "content": text[:2_000], "alerts": alerts}
        try:
            answer = self._client.ask("POST", self._url.reveal(), body, WEBHOOK_S)
        except Unreachable as failure:
            problem = str(failure)
        else:
            problem = "" if 200 <= answer.status < 300 else f"HTTP {answer.status}"
        if problem:
            raise NotTaken("webhook_down", problem)


def secret_of(ref: SecretRef, redact: Redactor) -> Secret:
    """The secret, known to the redactor before anything else sees it."""
    found = resolve(ref.kind, ref.name)
    redact.add(found)
    return found


def telegram_of(wiring: Wiring, redact: Redactor) -> BotApi | None:
    """A connection of its own to the Bot API; None when Telegram is off."""
    if wiring.telegram.token is None:
        return None
    return BotApi(wiring.telegram.api_url, secret_of(wiring.telegram.token, redact))


def routes_of(wiring: Wiring, log: EventLog, redact: Redactor) -> list[Route]:
    """All routes that the config names, the log first. Raises SecretRefused."""
    routes: list[Route] = [LogRoute(log)]
    for chat in wiring.telegram.chat_ids:
        api = telegram_of(wiring, redact)
        assert api is not None, "the config refuses chats without a token"
        routes.append(TelegramRoute(api, chat, wiring.alerts.telegram_level))
    if wiring.alerts.webhook is not None:
        url = secret_of(wiring.alerts.webhook, redact)
        routes.append(WebhookRoute(url, wiring.alerts.webhook_level))
    return routes
