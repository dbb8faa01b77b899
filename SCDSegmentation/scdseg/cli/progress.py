"""How far a run is, on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int, float | None], None]]:
    """A progress bar on stderr with the time left; silent where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("start", total=None, left="")

        def show(step: str, done: int, total: int, seconds_left: float | None) -> None:
            left = "" if seconds_left is None else f"{seconds_left:.0f} s left"
            bar.update(task, description=step, completed=done, total=total, left=left)

        yield show
