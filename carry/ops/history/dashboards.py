"""The files in `grafana/dashboards`, made from the description in `panels`.

`python -m carry.ops.history.dashboards` writes them; a test fails when one is not what this makes.
"""

import json
from pathlib import Path
from typing import Any, Final

from .panels import BOARDS, GREEN, Board, Panel
from .queries import ACCOUNTS, COINS

POSTGRES: Final = {"type": "grafana-postgresql-datasource", "uid": "carry-postgres"}
PROMETHEUS: Final = {"type": "prometheus", "uid": "carry-prometheus"}
FOLDER: Final = Path(__file__).resolve().parents[3] / "grafana" / "dashboards"
SCHEMA_VERSION: Final = 39
WIDTH: Final = 24
Json = dict[str, Any]


def dashboard(board: Board) -> Json:
    """A dashboard as Grafana reads it."""
    return {
        "uid": board.uid,
        "title": board.title,
        "description": board.about,
        "tags": ["carry"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": False,
        "graphTooltip": 1,
        "timezone": "utc",
        "refresh": "30s",
        "time": {"from": board.since, "to": "now"},
        "links": [
            {
                "asDropdown": False,
                "icon": "dashboard",
                "includeVars": True,
                "keepTime": True,
                "tags": ["carry"],
                "targetBlank": False,
                "title": "carry",
                "tooltip": "The other dashboards of carry",
                "type": "dashboards",
            }
        ],
        "annotations": {"list": [_mark(*mark) for mark in board.marks]},
        "templating": {"list": [_account(), _market()]},
        "panels": _placed(board),
    }


def _account() -> Json:
    return _variable("account", "Account", ACCOUNTS, multi=False)


def _market() -> Json:
    found = _variable("market", "Market", COINS, multi=True)
    return {**found, "current": {"selected": True, "text": ["All"], "value": ["$__all"]}}


def _variable(name: str, label: str, sql: str, multi: bool) -> Json:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": POSTGRES,
        "query": sql,
        "refresh": 1,
        "multi": multi,
        "includeAll": multi,
    }


def _mark(name: str, colour: str, sql: str) -> Json:
    """Flags at the foot of every graph of the dashboard."""
    return {
        "name": name,
        "datasource": POSTGRES,
        "enable": True,
        "hide": False,
        "iconColor": colour,
        "target": {"refId": name, "format": "table", "rawQuery": True, "rawSql": sql},
    }


def _placed(board: Board) -> list[Json]:
    """Panels from left to right and down, as wide as they say."""
    x = y = row = 0
    found = []
    for number, panel in enumerate(board.panels, 1):
        if x + panel.width > WIDTH:
            x, y, row = 0, y + row, 0
        place = {"x": x, "y": y, "w": panel.width, "h": panel.height}
        found.append({"id": number, "gridPos": place, **_panel(panel)})
        x, row = x + panel.width, max(row, panel.height)
    return found


def _panel(panel: Panel) -> Json:
    made = {
        "title": panel.title,
        "description": panel.about,
        "type": panel.kind,
        "datasource": POSTGRES if panel.sql else PROMETHEUS,
        "targets": _targets(panel),
        "fieldConfig": {"defaults": _defaults(panel), "overrides": _overrides(panel)},
        "options": _options(panel),
    }
    if panel.each:
        made |= {"repeat": "market", "repeatDirection": "v"}
    return made


def _targets(panel: Panel) -> list[Json]:
    if panel.sql:
        shape = "time_series" if panel.kind == "timeseries" else "table"
        query = {"format": shape, "rawQuery": True, "editorMode": "code", "rawSql": panel.sql}
        return [{"refId": "A", "datasource": POSTGRES, **query}]
    return [
        {
            "refId": chr(ord("A") + n),
            "datasource": PROMETHEUS,
            "expr": expression,
            "legendFormat": legend,
            "range": True,
            "instant": False,
        }
        for n, (expression, legend) in enumerate(panel.prom)
    ]


def _defaults(panel: Panel) -> Json:
    steps = [{"color": colour, "value": value} for colour, value in panel.steps]
    made: Json = {
        "unit": panel.unit,
        "color": {"mode": "thresholds" if panel.kind == "stat" else "palette-classic"},
        "thresholds": {"mode": "absolute", "steps": steps},
    }
    if panel.decimals is not None:
        made["decimals"] = panel.decimals
    if panel.kind == "timeseries":
        made["custom"] = {
            "drawStyle": "bars" if panel.bars else "line",
            "lineWidth": 1,
            "fillOpacity": 60 if panel.bars else 0,
            "lineInterpolation": "linear" if panel.bars else "stepAfter",
            "showPoints": "never",
            "stacking": {"group": "A", "mode": "normal" if panel.stacked else "none"},
            "thresholdsStyle": {"mode": "dashed" if panel.drawn_steps else "off"},
        }
    return made


def _overrides(panel: Panel) -> list[Json]:
    made = [
        {
            "matcher": {"id": "byName", "options": column},
            "properties": [{"id": "unit", "value": unit}],
        }
        for column, unit in panel.units
    ]
    for column, colour, dashed in panel.draws:
        look: list[Json] = [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}]
        if dashed:
            style = {"fill": "dash", "dash": [8, 8]}
            look.append({"id": "custom.lineStyle", "value": style})
        else:
            look.append({"id": "custom.lineWidth", "value": 2})
        kind = "byRegexp" if "*" in column else "byName"
        options = f"/{column}/" if "*" in column else column
        made.append({"matcher": {"id": kind, "options": options}, "properties": look})
    return made


def _options(panel: Panel) -> Json:
    legend = {"calcs": ["lastNotNull"], "displayMode": "table", "placement": "bottom"}
    if panel.kind == "timeseries":
        tooltip = {"mode": "multi", "sort": "desc"}
        return {"legend": {**legend, "showLegend": True}, "tooltip": tooltip}
    if panel.kind == "stat":
        return {
            "colorMode": "value",
            "graphMode": "none",
            "justifyMode": "auto",
            "orientation": "auto",
            "textMode": "value_and_name",
            "reduceOptions": {
                "calcs": ["lastNotNull"],
                "fields": "/^(?!time$).*/" if panel.sql else "",
                "values": False,
            },
        }
    if panel.kind == "candlestick":
        return {
            "mode": "candles",
            "candleStyle": "candles",
            "colorStrategy": "open-close",
            "fields": {name: name for name in ("open", "high", "low", "close", "volume")},
            "colors": {"up": GREEN, "down": "red", "flat": "gray"},
            "includeAllFields": False,
            "legend": {**legend, "displayMode": "list", "showLegend": False},
        }
    assert panel.kind == "table", panel.kind
    return {"showHeader": True, "cellHeight": "sm"}


def files() -> dict[str, str]:
    """Each file's name and text."""
    return {
        f"{board.uid.removeprefix('carry-')}.json": json.dumps(dashboard(board), indent=1) + "\n"
        for board in BOARDS
    }


def main() -> None:
    """Write them, into the checkout that this module is in."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
