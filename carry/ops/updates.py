"""One update of the Bot API, read as if its sender meant harm: whole and plain, or ignored.

Only a new text message counts, written by a person of the allow-list in a private chat of the
allow-list. Edited, forwarded, sent by or through a bot, from a channel or a group: ignored.
"""

from collections.abc import Collection
from typing import Any, Final

import attrs

TEXT_MAX: Final = 300
# Keys of a message that somebody else wrote, or that was not written just now.
FOREIGN: Final = (
    "forward_origin",
    "forward_from",
    "forward_from_chat",
    "forward_sender_name",
    "forward_date",
    "is_automatic_forward",
    "via_bot",
    "sender_chat",
    "edit_date",
    "business_connection_id",
)


@attrs.frozen
class Message:
    """A command to consider. at_s: when it was sent, by Telegram's clock, epoch seconds."""

    update_id: int
    chat: int
    user: int
    text: str
    at_s: int


@attrs.frozen
class Ignored:
    """Why an update is none: "stranger", "altered" or "unreadable"."""

    update_id: int
    why: str


def number(value: Any) -> int | None:
    """An int that is no bool; None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def read_update(raw: Any, chats: Collection[int], users: Collection[int]) -> Message | Ignored:
    """The command in an update, or why there is none. Total: any JSON value has an answer."""
    update_id = number(raw.get("update_id")) if isinstance(raw, dict) else None
    if update_id is None or update_id <= 0:
        return Ignored(0, "unreadable")
    message = raw.get("message")
    if not isinstance(message, dict):
        return Ignored(update_id, "altered" if len(raw) > 1 else "unreadable")
    sender, chat = message.get("from"), message.get("chat")
    if not isinstance(sender, dict) or not isinstance(chat, dict):
        return Ignored(update_id, "stranger")
    user_id, chat_id = number(sender.get("id")), number(chat.get("id"))
    known = chat_id in chats and user_id in users and chat.get("type") == "private"
    # A private chat has its person's number; any other pair of two was not made by Telegram.
    if not known or user_id is None or chat_id != user_id or sender.get("is_bot") is not False:
        return Ignored(update_id, "stranger")
    if any(key in message for key in FOREIGN) or len(raw) != 2:
        return Ignored(update_id, "altered")
    text, at_s = message.get("text"), number(message.get("date"))
    if not isinstance(text, str) or at_s is None or not 0 < len(text.strip()) <= TEXT_MAX:
        return Ignored(update_id, "unreadable")
    return Message(update_id, user_id, user_id, text.strip(), at_s)
