"""docs/results.md: every section is written by the script that measures it, between two markers."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import torch

from scdseg.benchmark.machine import processor

PAGE = Path(__file__).resolve().parent.parent / "docs" / "results.md"
_HEAD = "# Results\n\nMeasured figures. Scripts write this page, each its own section; the command stands with each.\n"


def write_section(title: str, text: str, page: Path = PAGE) -> None:
    """Put ``text`` in the place of the page's section ``title``, or behind the others if the page has none."""
    begin, end = f"<!-- {title}: begin -->", f"<!-- {title}: end -->"
    section = f"{begin}\n## {title}\n\n{text.strip()}\n{end}\n"
    content = page.read_text(encoding="utf-8") if page.is_file() else _HEAD
    found = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}\n", re.DOTALL)
    content = found.sub(lambda _: section, content) if found.search(content) else f"{content.rstrip()}\n\n{section}"
    page.write_text(content, encoding="utf-8")


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are figures."""
    lines = [header, ["---", *("---:" for _ in header[1:])], *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def machine(device: str) -> str:
    """What a measurement ran on: the GPU as ``device`` names it, or the processor, its cores and the threads used."""
    name = device if "CPU" not in device else f"{processor()}, {os.cpu_count()} cores"
    threads = torch.get_num_threads()
    used = "" if "CPU" not in device else f", {threads} thread{'s' if threads > 1 else ''}"
    return f"{name}{used}, PyTorch {torch.__version__.partition('+')[0]}"
