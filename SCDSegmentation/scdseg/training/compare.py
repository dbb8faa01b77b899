"""Training runs beside each other: quality as it was validated, cost as it is measured here and now."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scdseg.errors import InputError
from scdseg.networks import SCDUNETR
from scdseg.training.runs import Run, read_run, validation_differences
from scdseg.training.throughput import Candidate, Measurement, Throughput, measure_throughput

EXTENSIONS = (".csv", ".md", ".json")


@dataclass(frozen=True)
class Compared:
    """A run, what was measured of it, and why its Dice cannot be held against the first run's.

    ``differences`` are the recipe's keys that make another validation of it.
    """

    name: str
    run: Run
    throughput: Throughput
    differences: tuple[str, ...]

    @property
    def kind(self) -> str:
        """``"dense"``, or how tokens are pruned and completed."""
        config = self.run.network.config
        return f"{config['pruning']} + {config['completion']}" if self._sparse else "dense"

    @property
    def trained_at(self) -> tuple[float, float] | None:
        """Smallest and largest keep ratio of training; None for a dense network."""
        return self.run.recipe.optimisation.keep_ratio if self._sparse else None

    @property
    def _sparse(self) -> bool:
        return isinstance(self.run.network, SCDUNETR)


@dataclass(frozen=True)
class Comparison:
    """Runs in the order given; speed-ups are over the first dense one, or the first one where none is dense."""

    rows: tuple[Compared, ...]
    measurement: Measurement

    @property
    def reference(self) -> Compared:
        """The run that speed-ups are over."""
        return next((row for row in self.rows if row.kind == "dense"), self.rows[0])

    def to_json(self) -> dict[str, Any]:
        """Everything in types that JSON has."""
        m = self.measurement
        measured = {"device": m.device, "threads": m.threads, "precision": m.precision, "rounds": m.rounds}
        return {
            **measured,
            "training_memory": m.memory,
            "speedups_over": self.reference.name,
            "runs": [self._record(row) for row in self.rows],
        }

    def save(self, path: Path) -> None:
        """Write a table as CSV or Markdown, or everything as JSON, by the extension."""
        write = {".csv": self._write_csv, ".md": self._write_markdown, ".json": self._write_json}
        write[path.suffix.lower()](path)

    def _record(self, row: Compared) -> dict[str, Any]:
        validation, speed, config = row.run.validation, row.throughput, row.run.network.config
        reference = self.reference.throughput
        return {
            "run": row.name,
            "kind": "dense" if row.kind == "dense" else "scd",
            "pruning": config.get("pruning"),
            "completion": config.get("completion"),
            "keep_ratio": row.run.keep_ratio,
            "trained_keep_ratio": list(row.trained_at) if row.trained_at else None,
            "step": row.run.step,
            "validated_at_step": validation.step if validation else None,
            "dice": validation.mean if validation else None,
            "dice_by_label": {k: v if v == v else None for k, v in validation.labels.items()} if validation else {},
            "validation_differs_in": list(row.differences),
            "parameters": speed.parameters,
            "macs": speed.macs,
            "batch_size": speed.batch_size,
            "training_windows_per_second": speed.training_rate,
            "training_step_seconds": speed.step._asdict(),
            "training_speedup": speed.training_speedup(reference)._asdict(),
            "inference_windows_per_second": speed.inference_rate,
            "inference_window_seconds": speed.window._asdict(),
            "inference_speedup": speed.inference_speedup(reference)._asdict(),
            "training_memory_bytes": speed.training_bytes,
        }

    def _write_json(self, path: Path) -> None:
        path.write_text(json.dumps(self.to_json(), indent=2) + "\n", encoding="utf-8")

    def _write_csv(self, path: Path) -> None:
        document = self.to_json()
        labels = list(dict.fromkeys(name for record in document["runs"] for name in record["dice_by_label"]))
        measured = {key: document[key] for key in ("device", "threads", "precision", "rounds")}
        with path.open("w", newline="", encoding="utf-8") as file:
            writer: csv.DictWriter[str] | None = None
            for record in document["runs"]:
                by_label = {f"dice_{name.replace(' ', '_')}": record["dice_by_label"].get(name) for name in labels}
                flat = _flat({**record, "dice_by_label": by_label, **measured})
                if writer is None:
                    writer = csv.DictWriter(file, list(flat))
                    writer.writeheader()
                writer.writerow(flat)

    def _write_markdown(self, path: Path) -> None:
        header, *rows = self.cells()
        lines = [header, ["---", *("---:" for _ in header[1:])], *rows]
        table = "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)
        path.write_text(table + "\n" + "".join(f"- {note}\n" for note in self.notes()), encoding="utf-8")

    def cells(self) -> list[list[str]]:
        """The table for people: its header, then a line a run."""
        lines = [["run", "network", "keep", "Dice (at step)", "weights", "GMACs"]]
        lines[0] += ["trains/s", "predicts/s", "MB"]
        reference = self.reference.throughput
        for row in self.rows:
            validation, speed = row.run.validation, row.throughput
            lines.append(
                [
                    row.name,
                    row.kind,
                    "–" if row.run.keep_ratio is None else f"{row.run.keep_ratio:g}",
                    f"{validation.mean:.3f}{'*' if row.differences else ''} ({validation.step})" if validation else "–",
                    f"{speed.parameters / 1e6:.1f} M",
                    f"{speed.macs / 1e9:.3g}",
                    f"{speed.training_rate:.3g} ({speed.training_speedup(reference).median:.2f}×)",
                    f"{speed.inference_rate:.3g} ({speed.inference_speedup(reference).median:.2f}×)",
                    f"{speed.training_bytes / 1e6:.0f}",
                ]
            )
        return lines

    def notes(self) -> list[str]:
        """What has to be known to read the table."""
        m = self.measurement
        notes = [
            f"Windows that are trained on and predicted per second, side by side on {m.device}, {m.precision}; rounds: "
            f"{m.rounds}, of which medians; × is over {self.reference.name}, round by round.",
            f"MB: {m.memory}.",
        ]
        for row in self.rows:
            if row.differences:
                keys = ", ".join(row.differences)
                notes.append(f"* {row.name} was validated otherwise than {self.rows[0].name}: it differs in {keys}.")
            if row.run.validation is None:
                notes.append(f"{row.name} was never validated up to its last checkpoint, so it has no Dice.")
            if row.trained_at and row.trained_at != (row.run.keep_ratio,) * 2:
                low, high = row.trained_at
                notes.append(
                    f"{row.name} was trained at keep ratios from {low:g} to {high:g}; its training is timed at "
                    f"{row.run.keep_ratio:g}, as it is validated."
                )
        return notes


def compare_runs(
    folders: Sequence[Path],
    device: str = "auto",
    precision: str = "auto",
    rounds: int = 5,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Read runs and measure their networks side by side, each at the keep ratio that it is validated at.

    Args:
        folders: outputs of ``scdseg train``.
        device: ``"auto"``, ``"cuda"``, ``"mps"`` or ``"cpu"``.
        precision: ``"auto"``, ``"bf16"`` or ``"fp32"``.
        rounds: how often everything is timed.
        progress: told the rounds done and all rounds.

    Raises:
        InputError: naming a run, and what is missing in it.
        DeviceError: the device or the precision is not available.
        ResourceError: the device's memory is too small.
    """
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise InputError("a run is named twice; name each once")
    runs = [read_run(folder) for folder in folders]
    same = len({folder.resolve().name for folder in folders}) < len(folders)
    names = [str(folder) if same else folder.resolve().name for folder in folders]
    candidates = [
        Candidate(name, run.network, run.keep_ratio, run.recipe.optimisation)
        for name, run in zip(names, runs, strict=True)
    ]
    measurement = measure_throughput(candidates, device, precision, rounds, progress)
    rows = [
        Compared(name, run, throughput, tuple(validation_differences(run.recipe, runs[0].recipe)))
        for name, run, throughput in zip(names, runs, measurement.rows, strict=True)
    ]
    return Comparison(tuple(rows), measurement)


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    """Nested mappings as columns of a table, lists as text."""
    flat: dict[str, Any] = {}
    for key, value in record.items():
        if key == "dice_by_label":
            flat.update(value)
        elif isinstance(value, dict):
            flat.update({f"{key}_{part}": item for part, item in value.items()})
        else:
            flat[key] = " ".join(map(str, value)) if isinstance(value, list) else value
    return flat
