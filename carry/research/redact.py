"""What must not leave the machine in a bundle, taken out of documents before anything is written.

A document keeps its shape: the same text becomes the same stand-in everywhere, so that what was
equal stays equal and the decisions stay what they were. Text is judged by its looks, not by its
field, since a venue's refusal may quote anything.
"""

import re
from typing import Any, Final

from carry.base.secrets import REDACTED, Redactor

_NUMBER: Final = re.compile(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?")
_OWN_CLOID: Final = re.compile(r"0x[0-9a-f]{32}")
_PEOPLE: Final = ("by", "who")
WORD_MAX: Final = 40
# In this order: what holds another comes first.
_LOOKS: Final = (
    re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]*://\S+"),  # any URL, a database's among them
    re.compile(
        r"(?i)(?:\b\w+=\S+\s+)*\b(?:password|passwd|pwd|pass|secret|token|api_?key|private_?key"
        r"|user|host|hostaddr)=\S+(?:\s+\w+=\S+)*"
    ),
    re.compile(r"[A-Za-z][\w.+-]*@[\w.-]+"),  # a mail address, a user at a host
    re.compile(r"(?<![\w.)])(?:~|[A-Za-z]:)?[/\\][\w.-]+(?:[/\\][\w.-]+)+"),  # a path
    re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"),  # an IPv4 address
    re.compile(r"[A-Za-z0-9+/=_-]{32,}"),  # a key, an address, a hash, in any coding
    re.compile(r"(?=[\w+/=-]*[A-Za-z])(?=[\w+/=-]*\d)[\w+/=-]{20,}"),  # a token
)


class StandIns:
    """Replaces what looks like a secret, an address, a place or a person.

    journal_id: cloids of this journal stay; they are its own counters.
    """

    def __init__(self, journal_id: int) -> None:
        self._prefix = f"0x{journal_id:016x}"
        self._first_net = Redactor()
        self._known: dict[str, str] = {}
        self._words: dict[str, str] = {}  # short texts that come again and again

    @property
    def count(self) -> int:
        """How many different texts were replaced."""
        return len(self._known)

    def document(self, value: Any, field: str = "") -> Any:
        """A parsed JSON document with every text in it, keys too, made safe."""
        if isinstance(value, str):
            return self._person(value) if field in _PEOPLE else self.text(value)
        if isinstance(value, list):
            return [self.document(each, field) for each in value]
        if isinstance(value, dict):
            return {self.text(key): self.document(each, key) for key, each in value.items()}
        return value

    def text(self, text: str) -> str:
        if _NUMBER.fullmatch(text) or self._own(text):
            return text
        if len(text) > WORD_MAX:
            return self._judged(text)
        if text not in self._words:
            self._words[text] = self._judged(text)
        return self._words[text]

    def _judged(self, text: str) -> str:
        text = self._first_net(text)
        for look in _LOOKS:
            text = look.sub(lambda found: self._stand_in(found.group()), text)
        return text

    def _own(self, text: str) -> bool:
        return text.startswith(self._prefix) and _OWN_CLOID.fullmatch(text) is not None

    def _stand_in(self, text: str) -> str:
        if self._own(text) or text == REDACTED:
            return text
        return self._known.setdefault(text, f"<redacted {len(self._known) + 1}>")

    def _person(self, text: str) -> str:
        """Whoever gave an order: a name, a chat's number; nobody else needs to know."""
        return self._known.setdefault(f"by {text}", f"<operator {len(self._known) + 1}>")
