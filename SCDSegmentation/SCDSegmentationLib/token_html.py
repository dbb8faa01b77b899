"""One HTML file that holds all pictures and tables of a run's tokens, and needs nothing else."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import slicer

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1a1a1a; max-width: 1200px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.6em; } h2 { font-size: 1.2em; margin-top: 2em; }
figure { display: inline-block; width: 31%; margin: 0 1% 1em 0; vertical-align: top; } figure img { width: 100%; }
figcaption, p.note { color: #555; font-size: 0.9em; }
table { border-collapse: collapse; } th, td { border: 1px solid #ccc; padding: 0.2em 0.6em; }
th { background: #f2f2f2; text-align: left; } td.number { text-align: right; font-variant-numeric: tabular-nums; }
"""
_MEANING = (
    "Importance says how long a token stayed and how high it was scored where it was last scored; survival is the "
    "share of the pruning stages that it passed. Both say where the network went on computing; pruned tokens take part "
    "in the result, too. Influence, where it was computed, says how much each token moved the labels. None of them is "
    "a confidence. For research use only."
)


def writeHtml(
    path: Path,
    pictures: Mapping[str, Mapping[str, Path]],
    tables: Mapping[str, slicer.vtkMRMLTableNode],
    report: Mapping[str, Any],
    display: str,
) -> None:
    """Write the file.

    Args:
        path: of the file.
        pictures: PNG files by view, by title.
        tables: by title.
        report: of the run.
        display: how the pictures were drawn.

    Raises:
        OSError: a picture cannot be read or the file cannot be written.
    """
    sections = [_settings(report, display), f"<p class='note'>{escape(_MEANING)}</p>"]
    for title, views in pictures.items():
        sections.append(f"<h2>{escape(title)}</h2>")
        sections += [_figure(picture, view) for view, picture in views.items()]
    for title, table in tables.items():
        sections.append(f"<h2>{escape(title)}</h2>{_table(table)}")
    body = "\n".join(sections)
    path.write_text(
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'><title>Token maps</title>"
        f"<style>{_STYLE}</style></head><body>\n<h1>Token maps</h1>\n{body}\n</body></html>\n",
        encoding="utf-8",
    )


def _settings(report: Mapping[str, Any], display: str) -> str:
    model, device, windows = report["model"], report["device"], report["windows"]
    size = " × ".join(map(str, windows["size"]))
    skipped = f"; {windows['skipped']} empty ones skipped" if windows.get("skipped") else ""
    rows = {
        "Model": f"{model['name']} {model['version']} (SHA-256 {model['sha256']})",
        "Keep ratio": f"{report['keep_ratio']}",
        "Windows": f"{windows['count']} of {size} voxels, overlap {windows['overlap']}{skipped}",
        "Device": f"{device['name']}, {report['precision']}",
        "Pictures": display,
        "Written": time.strftime("%Y-%m-%d %H:%M"),
        "Versions": ", ".join(f"{name} {version}" for name, version in report["versions"].items()),
    }
    cells = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows.items())
    return f"<table>{cells}</table>"


def _figure(picture: Path, view: str) -> str:
    data = base64.b64encode(picture.read_bytes()).decode("ascii")
    return (
        f"<figure><img alt='{escape(view)}' src='data:image/png;base64,{data}'>"
        f"<figcaption>{escape(view)}</figcaption></figure>"
    )


def _table(node: slicer.vtkMRMLTableNode) -> str:
    columns = range(node.GetNumberOfColumns())
    head = "".join(f"<th>{escape(node.GetColumnName(column))}</th>" for column in columns)
    rows = (
        "".join(_cell(node.GetCellText(row, column)) for column in columns) for row in range(node.GetNumberOfRows())
    )
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _cell(text: str) -> str:
    return f"<td{_numberClass(text)}>{'–' if text == 'nan' else escape(text)}</td>"


def _numberClass(text: str) -> str:
    try:
        float(text)
    except ValueError:
        return ""
    return " class='number'"
