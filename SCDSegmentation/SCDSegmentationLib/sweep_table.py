"""The table of a sweep in the scene: one row a keep ratio, kept with the volume and saved with the scene."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import slicer

from scdseg.suggestion import suggested_keep_ratio
from SCDSegmentationLib.table_nodes import Column, columnsOf, fillTable
from SCDSegmentationLib.token_maps import OWNED_PREFIX

if TYPE_CHECKING:
    from SCDSegmentationLib.sweep_run import Sweep

KEEP_RATIO, TOKENS, SECONDS, MEAN = "keep ratio", "tokens scored", "seconds", "mean agreement"
LABEL = "run"
SWEEP_ATTRIBUTE = "SCDSegmentation.Sweep"
VOLUME_REFERENCE = "SCDSegmentation.volume"
PLOT_REFERENCE = f"{OWNED_PREFIX}chart"


@dataclass(frozen=True)
class SweepTable:
    """What a table in the scene says, also after the scene was loaded.

    Args:
        node: the table.
        model: name of the model.
        sha256: of its weights.
        date: of the sweep, year-month-day and local time.
        agreement: mean Dice with the densest run by keep ratio; NaN where nothing was found.
        seconds: by keep ratio.
        structures: that were compared.
    """

    node: slicer.vtkMRMLTableNode
    model: str
    sha256: str
    date: str
    agreement: Mapping[float, float]
    seconds: Mapping[float, float]
    structures: tuple[str, ...]

    def suggestedKeepRatio(self, tolerance: float) -> float:
        """See :func:`scdseg.suggestion.suggested_keep_ratio`."""
        return suggested_keep_ratio(self.agreement, tolerance)


def commitSweep(sweep: Sweep) -> slicer.vtkMRMLTableNode:
    """Put the rows that a sweep has into the table of its volume: a new one, or in place of its last sweep's."""
    volume = sweep.request.volumes[0]
    node = sweepTableNode(volume)
    if node is None:
        name = slicer.mrmlScene.GenerateUniqueName(f"{volume.GetName()} keep ratios")
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", name)
        node.SetNodeReferenceID(VOLUME_REFERENCE, volume.GetID())
        hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
        parent = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(volume))
        hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node), parent)
    node.SetAttribute(SWEEP_ATTRIBUTE, json.dumps(_description(sweep)))
    fillTable(node, _columns(sweep))
    return node


def sweepTableNode(volume: slicer.vtkMRMLScalarVolumeNode | None) -> slicer.vtkMRMLTableNode | None:
    """The table of a volume's last sweep; None if there is none."""
    for node in slicer.util.getNodesByClass("vtkMRMLTableNode") if volume is not None else ():
        if node.GetAttribute(SWEEP_ATTRIBUTE) and node.GetNodeReference(VOLUME_REFERENCE) is volume:
            return node
    return None


def readSweepTable(volume: slicer.vtkMRMLScalarVolumeNode | None) -> SweepTable | None:
    """What the table of a volume's last sweep says; None if there is none, or if it was changed by others."""
    node = sweepTableNode(volume)
    if node is None:
        return None
    columns = {column.name: column.values for column in columnsOf(node)}
    try:
        description = json.loads(node.GetAttribute(SWEEP_ATTRIBUTE))
        ratios = [float(ratio) for ratio in columns[KEEP_RATIO]]
        if not ratios:
            return None
        return SweepTable(
            node,
            model=str(description["model"]),
            sha256=str(description["sha256"]),
            date=str(description["date"]),
            agreement=dict(zip(ratios, map(float, columns[MEAN]), strict=True)),
            seconds=dict(zip(ratios, map(float, columns[SECONDS]), strict=True)),
            structures=tuple(str(name) for name in description["structures"]),
        )
    except (KeyError, TypeError, ValueError):
        return None


def _description(sweep: Sweep) -> dict[str, Any]:
    """What the table's columns do not say."""
    model = sweep.rows[0].report["model"]
    compared = {value for row in sweep.rows for value in row.dice}
    return {
        "model": sweep.request.model.name,
        "sha256": str(model["sha256"]),
        "date": sweep.date,
        "structures": [label.name for label in sweep.request.model.labels if label.value in compared],
    }


def _columns(sweep: Sweep) -> list[Column]:
    rows = sweep.rows
    names = {label.value: label.name for label in sweep.request.model.labels}
    lowest = [min(row.dice, key=row.dice.__getitem__) if row.dice else None for row in rows]
    compared = [value for value in names if any(value in row.dice for row in rows)]
    return [
        Column(KEEP_RATIO, "Share of the tokens kept at each pruning stage", [row.keepRatio for row in rows]),
        Column(
            MEAN,
            "Dice coefficient with the labels of the densest run, averaged over structures: not with the truth",
            [math.nan if row.meanDice is None else round(row.meanDice, 4) for row in rows],
        ),
        Column(SECONDS, "Time of a run by itself, with a loaded model", [round(row.secondsTotal, 3) for row in rows]),
        Column(TOKENS, "Tokens that were scored, over all stages and windows", [row.tokensScored for row in rows]),
        Column(
            "lowest agreement",
            "Dice coefficient of the structure that changed most",
            [math.nan if value is None else round(row.dice[value], 4) for row, value in zip(rows, lowest, strict=True)],
        ),
        Column("lowest structure", "The structure that changed most", [names.get(value, "") for value in lowest]),
        Column(
            "tokens kept",
            "Tokens of a window that are left after each pruning stage",
            [" → ".join(map(str, row.tokensKept)) for row in rows],
        ),
        Column("seconds in windows", "Time of the network", [round(row.secondsWindows, 3) for row in rows]),
        *(
            Column(
                names[value],
                f"Dice coefficient of {names[value]} with the densest run",
                [round(row.dice[value], 4) if value in row.dice else math.nan for row in rows],
            )
            for value in compared
        ),
        # Plots take their labels from text alone.
        Column(LABEL, "Name of the row in the plot", [f"keep {row.keepRatio:g}" for row in rows]),
    ]
