"""What the pages say is what the code does."""

import re
from pathlib import Path

from carry.core.state import MAY_FOLLOW, PHASE_NAMES

ROOT = Path(__file__).resolve().parents[1]


def test_the_diagram_is_the_table_of_moves() -> None:
    """docs/ARCHITECTURE.md draws MAY_FOLLOW: a move added to one is added to both."""
    page = (ROOT / "docs/ARCHITECTURE.md").read_text()
    drawn = {
        line.split("->")[0].strip(): [word.strip() for word in line.split("->")[1].split(",")]
        for line in re.findall(r"^[A-Z_]+ +-> .+$", page, re.MULTILINE)
    }
    table = {
        PHASE_NAMES[phase]: [PHASE_NAMES[after] for after in moves if after is not phase]
        for phase, moves in MAY_FOLLOW.items()
    }

    assert table == drawn


def test_links_lead_somewhere() -> None:
    """Relative links of the pages name files that exist."""
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"
