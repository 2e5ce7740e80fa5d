"""Lost requests and lost replies, drawn from a stream of their own and counted."""

from .noise import key_of, mix

_SCALE = 1_000_000
KINDS = ("requests_lost", "replies_lost")


class Faults:
    """Probabilities are fractions of requests, to six decimals. Off by default.

    A lost request is closed before it is processed; a lost reply after.
    """

    def __init__(self, seed: int, lose_requests: float = 0, lose_replies: float = 0) -> None:
        self.key = key_of(seed, "faults")
        self.lose_requests = round(lose_requests * _SCALE)
        self.lose_replies = round(lose_replies * _SCALE)
        self.drawn = 0
        self.counts = dict.fromkeys(KINDS, 0)

    def request_is_lost(self) -> bool:
        return self._draw(self.lose_requests, "requests_lost")

    def reply_is_lost(self) -> bool:
        return self._draw(self.lose_replies, "replies_lost")

    def _draw(self, of_scale: int, kind: str) -> bool:
        if not of_scale:
            return False
        self.drawn += 1
        hit = mix(self.key + self.drawn) % _SCALE < of_scale
        self.counts[kind] += hit
        return hit
