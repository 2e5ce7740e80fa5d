"""What an operator may ask: commands, numbered by the journal's inbox, each obeyed once."""

from decimal import Decimal

import attrs

from .policy import Policy


@attrs.frozen(kw_only=True)
class Pause:
    command_id: int
    by: str


@attrs.frozen(kw_only=True)
class Resume:
    """Clear one latch by its name ("pause" unless told otherwise)."""

    command_id: int
    by: str
    latch: str


@attrs.frozen(kw_only=True)
class Flatten:
    command_id: int
    by: str


@attrs.frozen(kw_only=True)
class Kill:
    command_id: int
    by: str


@attrs.frozen(kw_only=True)
class Adopt:
    """Take foreign holdings of a coin into the carry: `sz` spot base units, and as much of the
    short.
    """

    command_id: int
    by: str
    coin: str
    sz: Decimal


@attrs.frozen(kw_only=True)
class SetPolicy:
    """The policy with one settable key changed, or read again from the config (key "config"): made
    and checked by the shell, applied as a whole. before, after: the value as it is written, or the
    policies' sources. why: what the operator said of it.
    """

    command_id: int
    by: str
    key: str
    policy: Policy
    before: str = attrs.field(default="", metadata={"since": 2})
    after: str = attrs.field(default="", metadata={"since": 2})
    why: str = attrs.field(default="", metadata={"since": 2})


@attrs.frozen(kw_only=True)
class Rejected:
    """An order that means nothing or breaks a bound when its turn comes: `why`, for who gave it."""

    command_id: int
    by: str
    what: str
    why: str


Command = Pause | Resume | Flatten | Kill | Adopt | SetPolicy | Rejected
