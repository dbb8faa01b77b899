"""What a segmentation hands back, and writing it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scdseg.errors import InputError
from scdseg.volumes import VOLUME_EXTENSIONS, Volume, check_outputs, staged, write_volume

REPORT_EXTENSIONS = (".json",)


@dataclass(frozen=True)
class Result:
    """Labels, token maps and report of one segmentation.

    Args:
        labels: (X, Y, Z) uint8 label values in the input's geometry.
        importance: float32 in [0, 1] on the token grid.
        survival: float32 in [0, 1] on the token grid.
        stage: uint8 on the token grid: 1…S pruned at that stage, S + 1 kept to the end.
        scores: (X', Y', Z', S) float32 in [0, 1] on the token grid: rank of each token at each stage, NaN where it was
            not scored.
        report: ready for JSON.
        inputs: files that the images came from; they are never written over.
        influence: float32 in [0, 1] on the token grid; None if it was not asked for.
    """

    labels: Volume
    importance: Volume
    survival: Volume
    stage: Volume
    scores: Volume
    report: dict[str, Any]
    inputs: tuple[Path, ...] = ()
    influence: Volume | None = None

    def save(
        self,
        labels: str | Path | None = None,
        importance: str | Path | None = None,
        survival: str | Path | None = None,
        stage: str | Path | None = None,
        scores: str | Path | None = None,
        report: str | Path | None = None,
        influence: str | Path | None = None,
        *,
        compress: bool = True,
        before_rename: Callable[[], None] | None = None,
    ) -> None:
        """Write what a path is given for: all of it, or nothing.

        Args:
            labels: ``.nii.gz``, ``.nii``, ``.nrrd`` or ``.mha``.
            importance: the same.
            survival: the same.
            stage: the same.
            scores: the same; the stages are a fourth axis in NIfTI, components of a voxel in the others.
            report: ``.json``.
            influence: as the labels; of a result that has it.
            compress: whether to compress ``.nrrd`` and ``.mha``.
            before_rename: called when all files are complete, but not yet under their names; what it raises keeps
                them from appearing.

        Raises:
            InputError: a path cannot be written or is an input's, or the result has no influence to write.
            ResourceError: the disk is full.
        """
        wanted = {"labels": labels, "importance": importance, "survival": survival, "stage": stage, "scores": scores}
        paths = output_paths({**wanted, "influence": influence, "report": report})
        if "influence" in paths and self.influence is None:
            raise InputError(
                f"{influence}: this result has no influence: save what with_influence of scdseg.inference.influence "
                "makes of it, or leave the path away"
            )
        check_result_paths(paths, self.inputs)
        start = time.perf_counter()
        with staged(list(paths.values())) as temporary:
            for name, path in paths.items():
                if name != "report":
                    write_volume(getattr(self, name), temporary[path], compress)
            seconds = self.report["seconds"]
            seconds["total"] -= seconds.pop("write", 0.0)
            seconds["write"] = round(time.perf_counter() - start, 3)
            seconds["total"] = round(seconds.pop("total") + seconds["write"], 3)
            if "report" in paths:
                temporary[paths["report"]].write_text(json.dumps(self.report, indent=2) + "\n", encoding="utf-8")
            if before_rename is not None:
                before_rename()


def output_paths(paths: Mapping[str, str | Path | None]) -> dict[str, Path]:
    """The outputs that are asked for, by the name of the result."""
    return {name: Path(path) for name, path in paths.items() if path is not None}


def check_result_paths(paths: Mapping[str, Path], inputs: Sequence[Path]) -> None:
    """Check before work starts that results can be written.

    Args:
        paths: by the name of the result, as :func:`output_paths` returns them.
        inputs: files and folders that must not be written over.

    Raises:
        InputError: see :func:`scdseg.volumes.check_outputs`.
    """
    extensions = {name: REPORT_EXTENSIONS if name == "report" else VOLUME_EXTENSIONS for name in paths}
    check_outputs([(path, extensions[name]) for name, path in paths.items()], inputs)
