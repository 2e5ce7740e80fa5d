"""The page around the charts: plain HTML that needs nothing from anywhere, and prints."""

import html
import importlib
import json
from collections.abc import Sequence
from typing import Any, Final

import attrs


class ReportRefused(Exception):
    """The page cannot be made. Says what is missing and the next step."""


INSTALL: Final = (
    "the report needs the extra `report`, which is not installed: "
    "`.venv/bin/python -m pip install 'plotly>=5.20'`, or `pip install 'carry[report]'`"
)


def plotly(part: str) -> Any:
    """A module of plotly, imported when it is needed. Raises ReportRefused."""
    try:
        return importlib.import_module(f"plotly.{part}")
    except ImportError:
        raise ReportRefused(INSTALL) from None


@attrs.frozen
class Chart:
    """One chart. traces: plotly's, drawn over time unless `x_title` says what the axis is.

    unit: of the vertical axis. log: logarithmic. whole: as wide as the page. zero: the line of zero
    matters.
    """

    name: str
    title: str
    says: str
    traces: Sequence[dict[str, Any]]
    unit: str
    x_title: str = "UTC"
    log: bool = False
    whole: bool = False
    zero: bool = False

    @property
    def figure(self) -> dict[str, Any]:
        """As plotly.js takes it; plotly's own classes check it."""
        grid = {"gridcolor": "#e3e6ea", "zerolinecolor": "#8a929c"}
        time = {"type": "date"} if self.x_title == "UTC" else {}
        layout = {
            "template": "none",
            "font": {"family": "system-ui, sans-serif", "size": 12, "color": "#222"},
            "margin": {"l": 72, "r": 16, "t": 24, "b": 56},
            "hovermode": "closest",
            "legend": {"orientation": "h", "y": -0.22, "yanchor": "top", "x": 0},
            "xaxis": {**grid, **time, "title": {"text": self.x_title, "standoff": 8}},
            "yaxis": {
                **grid,
                "title": {"text": self.unit, "standoff": 8},
                **({"type": "log", **LOG_TICKS} if self.log else {}),
                **({"zerolinewidth": 2} if self.zero else {}),
            },
            "barmode": "overlay",
        }
        figure: dict[str, Any] = json.loads(
            plotly("graph_objects").Figure(data=list(self.traces), layout=layout).to_json()
        )
        return figure


LOG_TICKS: Final = {
    "tickvals": [n * 10**power for power in range(5) for n in (1, 2, 5)],
    "ticktext": [f"{n * 10**power:,}" for power in range(5) for n in (1, 2, 5)],
}
CARRIES: Final = (
    "Carries",
    "The newest first. Even after: hours until its funding had paid fees, spread and slippage so "
    "far, for good; leaving costs once more.",
)
# Nothing may be fetched or sent, whatever a chart asks for.
POLICY: Final = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
)

STYLE: Final = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; background: #f5f6f8; margin: 0; }
main { max-width: 1360px; margin: 0 auto; padding: 16px; }
h1 { font-size: 1.35em; margin: 8px 0 16px; }
h2 { font-size: 1.05em; margin: 0; }
p { margin: 2px 0 8px; color: #555; font-size: .9em; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(118px, 1fr)); gap: 8px; }
.tile, section { background: #fff; border: 1px solid #dde1e6; border-radius: 6px; }
.tile { padding: 8px 10px; }
.tile b { display: block; font-size: 1.15em; font-variant-numeric: tabular-nums; }
.tile span { color: #555; font-size: .82em; }
.charts { display: grid; gap: 12px; margin: 12px 0;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 560px), 1fr)); }
section { padding: 12px; min-width: 0; }
section.whole { grid-column: 1 / -1; }
.chart { height: 360px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9em; }
th, td { padding: 4px 8px; text-align: right; white-space: nowrap; border-bottom: 1px solid #e3e6ea;
  font-variant-numeric: tabular-nums; }
th:nth-child(-n+3), td:nth-child(-n+3) { text-align: left; }
tbody tr:last-child td { font-weight: 600; border-bottom: 0; }
@page { size: A4; margin: 12mm; }
@media print {
  body { background: #fff; font-size: 11px; }
  main { max-width: none; padding: 0; }
  .charts { display: block; }
  section, .tile { border-color: #bbb; break-inside: avoid; }
  section { margin-bottom: 8px; padding: 8px; }
  .tiles { grid-template-columns: repeat(5, 1fr); }
  .chart { height: 255px; }
  .scroll { overflow: visible; }
  table { font-size: 8.5px; }
  th, td { padding: 2px 3px; white-space: normal; }
  .modebar-container { display: none; }
}
"""

SCRIPT: Final = """
const figures = JSON.parse(document.getElementById("figures").textContent);
const shown = [];
for (const [id, figure] of Object.entries(figures)) {
  const place = document.getElementById(id);
  shown.push(place);
  Plotly.newPlot(place, figure.data, figure.layout, {
    responsive: true, displaylogo: false,
    modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]],
  });
}
// A chart keeps the width it was drawn at: paper has its own.
addEventListener("beforeprint", () => shown.forEach(
  (place) => Plotly.relayout(place, { autosize: false, width: 670, height: 255 })));
addEventListener("afterprint", () => shown.forEach((place) => {
  Plotly.relayout(place, { autosize: true, width: null, height: null });
  Plotly.Plots.resize(place);
}));
"""


def page(
    *,
    title: str,
    tiles: Sequence[tuple[str, str, str]],
    charts: Sequence[Chart],
    table: tuple[Sequence[str], Sequence[Sequence[str]]],
    library: str,
    about: tuple[str, str] = CARRIES,
) -> str:
    """The whole document. library: the source of plotly.js, which goes into it. about: the table's
    title, and what it says.
    """
    figures = json.dumps({chart.name: chart.figure for chart in charts}).replace("<", "\\u003c")
    head, rows = table
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<link rel="icon" href="data:,">
<title>{html.escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{html.escape(title)}</h1>
<div class="tiles">
{"".join(_tile(*each) for each in tiles)}</div>
<p>net = funding - fees + basis + spread and slippage + external; residual: what nothing explains,
which should be 0.</p>
<div class="charts">
{"".join(_section(chart) for chart in charts)}</div>
<section class="whole">
<h2>{html.escape(about[0])}</h2>
<p>{html.escape(about[1])}</p>
<div class="scroll"><table>
<thead><tr>{_cells("th", head)}</tr></thead>
<tbody>
{"".join(f"<tr>{_cells('td', row)}</tr>" + chr(10) for row in rows)}</tbody>
</table></div>
</section>
</main>
<script>{library}</script>
<script type="application/json" id="figures">{figures}</script>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _tile(name: str, value: str, unit: str) -> str:
    return (
        f'<div class="tile"><span>{html.escape(name)}</span>'
        f"<b>{html.escape(value)}</b><span>{html.escape(unit)}</span></div>\n"
    )


def _section(chart: Chart) -> str:
    return (
        f'<section{" class=whole" if chart.whole else ""}>\n<h2>{html.escape(chart.title)}</h2>\n'
        f"<p>{html.escape(chart.says)}</p>\n"
        f'<div class="chart" id="{html.escape(chart.name)}"></div>\n</section>\n'
    )


def _cells(tag: str, row: Sequence[str]) -> str:
    return "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row)
