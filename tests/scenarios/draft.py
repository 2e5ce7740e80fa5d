"""`python -m tests.scenarios.draft [--write] FILE...`: what each row did, to be judged.

A `?` as the phases or actions of a row is shown filled in, with the gates that block; `--write`
writes it into the file and aligns the table, for a person to read and to doubt.
"""

import sys
from pathlib import Path

from carry.core.step import gates

from . import language
from .runner import Play, asked, phases, transcript


def main(words: list[str]) -> None:
    language.PHASES = (*language.PHASES, "?")
    language.ACTIONS = (*language.ACTIONS, "?")
    for path in (Path(w) for w in words if not w.startswith("--")):
        scenario = language.load(path)
        play = Play(scenario)
        told: dict[int, tuple[str, str]] = {}
        for row in scenario.rows:
            try:
                tick = play.row(row)
            except Exception as error:
                print(f"{scenario.where(row)}: {type(error).__name__}: {error}")
                break
            got, did = phases(play), asked(play, tick)
            one = len(got) == 1
            moved = "".join(got.values()) if one else "; ".join(f"{c} {p}" for c, p in got.items())
            told[row.line] = moved, "; ".join(did) or "-"
            known = dict(row.phases) == got and did == row.actions
            open_ = "?" in row.phases.values() or "?" in row.actions
            mark = "ok" if known else "??" if open_ else "NO"
            events = "; ".join(" ".join(e) for e in row.events) or "-"
            at = f"{mark} {row.line:3} {row.t_ms / 1000:8}s"
            print("  ".join([at, events, "=>", *told[row.line]]))
            if "--gates" in words:
                print("     ", [f"{g.name} {g.value}" for g in gates(play.state) if not g.passes])
        if "--write" in words:
            path.write_text(_filled(path.read_text(encoding="utf-8"), told), encoding="utf-8")
        if "--golden" in words:
            print(transcript(scenario, play.ticks))


def _filled(text: str, told: dict[int, tuple[str, str]]) -> str:
    """The file with `?` replaced and the columns aligned; comments and head untouched."""
    lines = text.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("ticks:")) + 1
    table: list[list[str] | str] = []
    for number, line in enumerate(lines[start:], start + 1):
        body, mark, comment = line.partition(" # ")
        if not body.strip() or body.strip().startswith("#"):
            table.append(line)
            continue
        cells = language._split(body)
        if number in told:
            moved, did = told[number]
            cells[-2] = moved if "?" in cells[-2] else cells[-2]
            cells[-1] = did if "?" in cells[-1] else cells[-1]
        table.append([*cells, f"# {comment.strip()}"] if mark else cells)
    rows = [row for row in table if isinstance(row, list)]
    count = len(rows[0])
    widths = [max(len(r[n]) for r in rows) for n in range(count - 1)]
    done = []
    for row in table:
        if isinstance(row, str):
            done.append(row)
            continue
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        done.append("  " + "  ".join([*padded, *row[count - 1 :]]))
    return "\n".join([*lines[:start], *done]) + "\n"


if __name__ == "__main__":
    main(sys.argv[1:])
