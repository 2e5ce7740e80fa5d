"""Histories page by page. One that breaks off goes on where it was at the next read.

A page begins at the newest time of the one before, inclusive: rows of the same millisecond may be
split between two, so each row counts once by its key. Nothing older than a page is ever added.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from carry.venues.base import ReadFailed

from .parse import Page, reading
from .rest import Rest

_T = TypeVar("_T")
PAGE_ROWS: Final = 500  # "any time-ranged response stops at 500 elements"; fills stop at 2000
PAGES_MAX: Final = 8  # of one read; a year of payments is more than a minute's budget


class Pages:
    """Reads of histories, and how far those came that were not finished."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self._begun: dict[str, tuple[int, int, dict[object, Any]]] = {}

    def read(
        self,
        source: str,
        request: Mapping[str, object],
        since_ms: int,
        read: Callable[[bytes], Page[_T]],
        key: Callable[[_T], object],
    ) -> tuple[list[_T], int]:
        """All rows from `since_ms` on, each once, and when this read was begun."""
        started_ms, from_ms, found = self._begun.pop(source, (since_ms, since_ms, {}))
        if started_ms != since_ms:
            from_ms, found = since_ms, {}
        issued_ms = None
        for _ in range(PAGES_MAX):
            try:
                answer = self._rest.info(source, {**request, "startTime": from_ms}, 20)
            except ReadFailed:
                self._begun[source] = (since_ms, from_ms, found)
                raise
            issued_ms = answer.sent_ms if issued_ms is None else issued_ms
            with reading(source):
                page = read(answer.body)
                self._rest.surcharge(page.rows, 20)
                found.update((key(item), item) for item in page.items)
                if page.rows < PAGE_ROWS:
                    return list(found.values()), issued_ms
                if page.newest_ms <= from_ms:
                    raise ValueError(f"{page.rows} rows in one millisecond, {from_ms}")
                from_ms = page.newest_ms
        self._begun[source] = (since_ms, from_ms, found)
        why = f"more than {PAGES_MAX} pages since {since_ms}: the next read goes on at {from_ms}"
        raise ReadFailed(source, "budget", why)
