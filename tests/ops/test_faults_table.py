"""One table: each fault of the storm, and what an operator hears of it, or that they hear nothing.

What mends itself is silent; what needs a person is told by name. A fault that begins to alert, or
stops, fails here, and the table is changed with thought.
"""

import pytest

from carry.core.num import use_exact_context
from carry.ops.catalogue import family_of
from carry.storm.campaign import case_of
from carry.storm.faults import catalogue
from carry.storm.phases import live

TICKS = 300
# fault -> (what is always told, what may be told, by the market and the moment)
TABLE: dict[str, tuple[str, str]] = {
    "none": ("", ""),
    # identity and signing
    "F01": ("identity", "stuck naked"),  # the venue recovers another signer
    "F02": ("", "clock_skew"),  # two actions in one ms, clocks that differ
    "F04": ("", "clock_skew"),  # the machine's clock steps
    "F06": ("", "identity stuck naked"),  # the agent is revoked
    # orders refused, money that moves
    "F12": ("", "naked"),
    "F13": ("", "naked"),
    "F14": ("", "naked"),
    "F15": ("", "fault"),  # USDC leaves and nothing says why
    # replies lost, late, twice, unreadable: unknown, fenced, settled; nobody needs to know
    "F20": ("", "naked undecided"),
    "F21": ("", "naked undecided"),
    "F22": ("", "naked undecided"),
    "F23": ("", "naked refused"),
    "F24": ("", "naked refused"),
    "F25": ("", "naked"),
    "F26": ("", "naked refused"),
    "F27": ("", "implausible naked"),
    "F28": ("", "naked undecided"),
    "F30": ("", "naked"),
    "F32": ("", "naked undecided"),
    "F33": ("", "naked undecided"),
    "F34": ("", "naked undecided"),
    "F35": ("", "naked undecided"),
    "F36": ("", "naked undecided"),
    "F37": ("", "naked undecided"),
    "F38": ("", "naked undecided"),
    "F39": ("", "external implausible naked"),
    # the stream
    "F40": ("", "implausible"),
    "F41": ("", "implausible"),
    "F42": ("", "implausible"),
    "F43": ("", "implausible"),
    "F44": ("", "implausible"),
    # outages
    "F50": ("", "fault naked undecided"),
    "F51": ("", "fault naked undecided"),
    # reads that lie
    "F60": ("", "implausible stuck naked external"),
    "F61": ("", "implausible external"),
    "F63": ("", "implausible external"),
    "F67": ("", "implausible"),
    # the venue takes
    "F80": ("external", "implausible naked liquidation"),
    "F81": ("external", "implausible naked liquidation"),
    # the host
    "F100": ("", "naked"),
    "F104": ("", "journal_old stuck naked external"),
    "F106": ("", "naked"),
    "F111": ("", "naked clock_skew"),
}


def test_the_table_names_each_fault() -> None:
    assert set(TABLE) == {"none", *catalogue()}
    for must, may in TABLE.values():
        for name in (*must.split(), *may.split()):
            tries = (name, f"{name}_HYPE", f"{name}_1", f"{name}_HYPE_1")
            assert any(family_of(one) for one in tries), name


@pytest.mark.storm
@pytest.mark.parametrize("fault", TABLE)
def test_what_is_heard_of_it(fault: str) -> None:
    use_exact_context()
    outcome, _ = live(case_of(0, TICKS, fault))
    told = {family_of(name) for name in outcome.alerts}
    must, may = (set(words.split()) for words in TABLE[fault])
    assert told <= must | may
    if outcome.hits.get(fault, 0):
        assert must <= told
    assert fault != "none" or outcome.alerts == {}
