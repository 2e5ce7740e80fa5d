"""What operators ask, from the journal's inbox to the core's commands."""

import json
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation

import attrs

from carry.core.asked import Adopt, Command, Flatten, Kill, Pause, Resume, SetPolicy
from carry.core.policy import Policy, knobs

from .config_file import ConfigError, with_setting
from .journal import Order
from .scalars import written

RELOAD = "reload"  # the config is read again: SIGHUP, or `systemctl reload`
BACK = "config"  # `carry set KEY config` gives a key back to the file


class Refused(Exception):
    """An order that means nothing to this bot. Says why and what to type instead."""


def to_command(order: Order, policy: Policy, from_file: Policy) -> Command:
    """The core's command of a row of the inbox. policy: in force; from_file: as the config says."""
    args = json.loads(order.args)
    number, by = order.id, order.who
    match order.what:
        case "pause":
            return Pause(command_id=number, by=by)
        case "resume":
            return Resume(command_id=number, by=by, latch=args.get("latch") or "pause")
        case "flatten":
            return Flatten(command_id=number, by=by)
        case "kill":
            return Kill(command_id=number, by=by)
        case "adopt":
            return Adopt(command_id=number, by=by, coin=args["coin"], sz=size(args["sz"]))
        case "set":
            key = full_key(from_file, args["key"])
            changed = changed_policy(
                policy, from_file, key, args["value"], only_down=bool(args.get("chat"))
            )
            return SetPolicy(
                command_id=number,
                by=by,
                key=key,
                policy=changed,
                before=setting(policy, key),
                after=setting(changed, key),
                why=str(args.get("why") or ""),
            )
        case _:
            raise Refused(f"command {order.id}: {order.what!r} is not known to this program")


def size(text: str) -> Decimal:
    """A size an operator typed: base units, above 0."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise Refused(f"{text!r} is no number; a size is in units of the coin, like 12.5") from None
    if not value.is_finite() or value <= 0:
        raise Refused(f"{text} is no size: it must be above 0, in units of the coin")
    return value


def setting(policy: Policy, key: str) -> str:
    """The value of a key (with its section) as it is written in the config."""
    section, _, name = key.partition(".")
    part = getattr(policy, section, None)
    for field, knob, _ in knobs(type(part)) if attrs.has(type(part)) else ():
        if field == name:
            return written(knob, getattr(part, name))
    raise Refused(f"{key}: no such key")


def changed_policy(
    policy: Policy, from_file: Policy, key: str, value: str, *, only_down: bool = False
) -> Policy:
    """`policy` with one key set, or given back to the config with the value "config".

    only_down: from the chat, where caps and the target can only be lowered.
    """
    if value == BACK:
        value = setting(from_file, full_key(from_file, key))
    try:
        return with_setting(policy, key, value, only_down=only_down)
    except ConfigError as error:
        raise Refused(str(error)) from None


def full_key(policy: Policy, key: str) -> str:
    """A key with its section: "slice_usd" is "risk.slice_usd"."""
    if "." in key:
        return key
    for section in ("strategy", "execution", "risk", "fees", "alignment"):
        if hasattr(getattr(policy, section), key):
            return f"{section}.{key}"
    return key


def overridden(from_file: Policy, orders: Iterable[Order]) -> tuple[Policy, tuple[str, ...]]:
    """The file's policy with what operators set at run time, and a sentence for each.

    A setting outlives a restart (P12) until it is given back. One the file now contradicts is left
    out, with the reason.
    """
    last: dict[str, Order] = {}
    for order in orders:
        if order.what == "set":
            last[full_key(from_file, json.loads(order.args)["key"])] = order
    policy: Policy = from_file
    said: list[str] = []
    for key, order in last.items():
        value = json.loads(order.args)["value"]
        if value == BACK:
            continue
        try:
            policy = with_setting(policy, key, value)
            said.append(
                f"{key} is {value}, set by {order.who} (`carry set {key} {BACK}` undoes it)"
            )
        except ConfigError as error:
            said.append(f"{key} {value}, set by {order.who}, is left out: {error}")
    return policy, tuple(said)
