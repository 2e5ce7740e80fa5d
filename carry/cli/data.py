"""`carry data`: recordings, checked."""

import json
from pathlib import Path

import click


@click.group()
def data() -> None:
    """Recorded funding and prices, for `carry backtest`."""


@data.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def check(folder: Path, as_json: bool) -> int:
    """Look through a folder's files; exit 1 when a backtest would refuse one."""
    from carry.research.data_check import check as findings

    found = list(findings(folder))
    if as_json:
        rows = [{"file": f.file, "line": f.line, "kind": f.kind, "text": f.text} for f in found]
        click.echo(json.dumps(rows, indent=2))
    else:
        for one in found:
            click.echo(str(one))
    return 1 if any(one.kind == "fault" for one in found) else 0
