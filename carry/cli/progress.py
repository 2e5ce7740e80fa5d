"""A bar on the terminal for what takes long: on stderr, and only where a person looks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Done = Callable[[int, int], None]


@contextmanager
def bar(label: str) -> Iterator[Done]:
    """Gives a function to call with (done, of); the bar goes when the block ends."""
    import sys

    if not sys.stderr.isatty():
        yield lambda done, of: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(label, total=None)
        yield lambda done, of: shown.update(task, completed=done, total=of)
