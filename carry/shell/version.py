"""Which program this is, for the audit."""

import functools
from importlib.metadata import PackageNotFoundError, version

from carry.core.policy import Policy
from carry.core.state import RULES, SCHEMA


@functools.cache
def program() -> str:
    """The version that is installed; "unknown" in a folder that is not."""
    try:
        return version("carry")
    except PackageNotFoundError:
        return "unknown"


def in_force(policy: Policy) -> str:
    """Program, rules, schema and policy, as the audit keeps them beside each command."""
    return f"carry {program()} rules {RULES} schema {SCHEMA} policy {policy.source}"
