"""What a benchmark found: as JSON, and as tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scdseg.benchmark.machine import Machine
from scdseg.benchmark.memory import MEANING
from scdseg.benchmark.scaling import Growth
from scdseg.benchmark.timing import Spread, spread
from scdseg.benchmark.volume import VolumeFigures
from scdseg.benchmark.windows import WindowFigures, reference_of

Table = tuple[str, list[list[str]]]
"""Title, and lines of cells, the first of which is the header."""


@dataclass(frozen=True)
class Stages:
    """Where the time of one window goes: median seconds by stage, and of the whole, at a keep ratio."""

    keep_ratio: float
    seconds: dict[str, float]
    total: float


@dataclass(frozen=True)
class Benchmark:
    """Everything that was measured in one run; a part that was not asked for is empty or None."""

    model: str
    machine: Machine
    rounds: int
    windows: Sequence[WindowFigures] = ()
    volume: Sequence[VolumeFigures] = ()
    stages: Stages | None = None
    growth: Sequence[Growth] = ()

    def to_json(self) -> dict[str, Any]:
        """Everything in types that JSON has."""
        return {
            "model": self.model,
            "machine": self.machine.to_json(),
            "rounds": self.rounds,
            "memory": self._memory,
            "windows": [found.to_json(reference_of(self.windows)) for found in self.windows],
            "volume": [found.to_json(self.volume[0]) for found in self.volume],
            "stages": {
                "keep_ratio": self.stages.keep_ratio,
                "seconds": self.stages.seconds,
                "total": self.stages.total,
            }
            if self.stages
            else None,
            "growth": [found.to_json() for found in self.growth],
        }

    def tables(self) -> list[Table]:
        """The same for people."""
        tables = []
        if self.windows:
            tables.append(self._window_table())
            if self.windows[0].step_seconds:
                tables.append(self._training_table())
        if self.volume:
            tables += [self._volume_table(), self._step_table()]
        if self.stages:
            tables.append(self._stage_table(self.stages))
        return tables + [_growth_table(found) for found in self.growth]

    def notes(self) -> list[str]:
        """What has to be known to read the tables."""
        rounds = f"{self.rounds} round{'s' * (self.rounds > 1)}"
        notes = [f"{self.model} on {self.machine}; medians (quartiles) of {rounds}, by turns."]
        if self.windows:
            reference = reference_of(self.windows).subject
            notes.append(f"× is voxels a second over those of {reference.name}, round by round.")
            notes.append(f"MB: activations, {self._memory}; weights are not counted.")
            notes.append("Attention is PyTorch's fused one in all of ours but the row with MONAI's blocks.")
            if any(found.subject.window != reference.window for found in self.windows):
                notes.append("A network that cannot take the window gets the smallest that holds it.")
            if self.machine.precision == "bf16":
                notes.append(
                    "Our weights are converted to bfloat16 once, and lie channels-last where that is faster; others' "
                    "are as MONAI makes them, and both in the rows that say channels-last."
                )
        if self.volume:
            notes.append(
                f"Whole volume: × is over {self.volume[0].name}. A dense network's weights are fresh, so the model's "
                "own logits are restored behind it: all rows do the same work there."
            )
        if self.stages and self.machine.device.type != "cpu":
            notes.append("Every stage is waited for: together they take longer than a window does.")
        return notes

    @property
    def _memory(self) -> str:
        return MEANING["cuda" if self.machine.device.type == "cuda" else "cpu"]

    def _window_table(self) -> Table:
        reference = reference_of(self.windows)
        lines = [["one window", "voxels", "weights", "GMACs", "seconds", "×", "MB"]]
        for found in self.windows:
            seconds = spread(found.seconds).median
            lines.append(
                [
                    found.subject.name,
                    "×".join(map(str, found.subject.window)),
                    f"{found.parameters / 1e6:.1f} M",
                    f"{found.macs / 1e9:.1f}",
                    f"{seconds:.3f}",
                    _ratio(found.speedup(reference)),
                    f"{found.peak_bytes / 1e6:.0f}",
                ]
            )
        return "Inference", lines

    def _training_table(self) -> Table:
        reference = reference_of(self.windows)
        lines = [["training step of one window", "seconds", "windows/s", "×", "MB"]]
        for found in self.windows:
            seconds = spread(found.step_seconds)
            lines.append(
                [
                    found.subject.name,
                    _quartiles(seconds),
                    f"{1 / seconds.median:.3g}",
                    _ratio(found.speedup(reference, training=True)),
                    f"{(found.step_peak_bytes or 0) / 1e6:.0f}",
                ]
            )
        return "Training", lines

    def _volume_table(self) -> Table:
        lines = [["file to file", "windows", "skipped", "seconds", "×"]]
        for found in self.volume:
            ratio = _ratio(found.speedup(self.volume[0]))
            row = [found.name, str(found.windows), str(found.skipped), _quartiles(spread(found.seconds)), ratio]
            lines.append(row)
        return "Whole volume, model loaded", lines

    def _step_table(self) -> Table:
        names = list(self.volume[0].steps)
        lines = [["seconds", *names]]
        lines += [[found.name, *(f"{found.steps[name]:.2f}" for name in names)] for found in self.volume]
        return "Whole volume, by step", lines

    def _stage_table(self, stages: Stages) -> Table:
        lines = [["stage", "seconds", "share"]]
        lines += [[name, f"{s:.4f}", f"{100 * s / stages.total:.0f} %"] for name, s in stages.seconds.items()]
        lines.append(["all", f"{stages.total:.4f}", "100 %"])
        return f"One window at keep ratio {stages.keep_ratio:g}, by stage", lines


def markdown(table: Table) -> str:
    """A table as Markdown, under its title."""
    title, lines = table
    rule = ["---", *("---:" for _ in lines[0][1:])]
    body = "".join("| " + " | ".join(cells) + " |\n" for cells in [lines[0], rule, *lines[1:]])
    return f"**{title}**\n\n{body}"


def _growth_table(found: Growth) -> Table:
    lines = [[found.of, *found.seconds, *found.others]]
    for number, x in enumerate(found.x):
        numbers = [values[number] for values in found.others.values()]
        seconds = [f"{values[number]:.3f}" for values in found.seconds.values()]
        lines.append([f"{x:g}" if x < 1e4 else f"{x / 1e6:.2f} M", *seconds, *map(_count, numbers)])
    return f"Seconds by {found.of}", lines


def _count(value: float) -> str:
    return f"{value / 1e9:.2f} G" if value >= 1e8 else f"{value:g}"


def _quartiles(found: Spread) -> str:
    return f"{found.median:.3f} ({found.lower:.3f}–{found.upper:.3f})"


def _ratio(found: Spread) -> str:
    return f"{found.median:.2f} ({found.lower:.2f}–{found.upper:.2f})"
