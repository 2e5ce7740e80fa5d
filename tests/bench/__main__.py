"""`make bench`: our figures beside a peer's or the machine's floor, in one run, as ratios.

Prints a table and writes build/bench.json: name -> ours, theirs, ratio, unit, n. Every row times
the objects the loop uses, guard and commit on. Machines are noisy: read the ratios.
"""

import json
from pathlib import Path

from tests.bench import history, micro, whole

Rows = dict[str, dict[str, object]]


def main() -> int:
    rows: Rows = {}
    bot = (whole.hedge, whole.start, history.history)
    for measure in (micro.signing, micro.hold_step, micro.commit, *bot):
        rows.update(measure())
        for name, row in rows.items():
            if not row.get("shown"):
                row["shown"] = True
                theirs = "-" if row["theirs"] is None else f"{row['theirs']:10.1f}"
                ratio = "-" if row["ratio"] is None else f"{row['ratio']:6.3f}"
                print(f"{name:44} {row['ours']:10.1f} {theirs:>10} {row['unit']:5} ratio {ratio}")
    for row in rows.values():
        row.pop("shown")
    out = Path("build")
    out.mkdir(exist_ok=True)
    (out / "bench.json").write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n")
    print(f"written: {out / 'bench.json'}")
    return 0


raise SystemExit(main())
