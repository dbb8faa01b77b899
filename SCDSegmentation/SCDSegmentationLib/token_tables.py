"""What became of the tokens of each stage and of each structure, as tables in the scene, made from a run's report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import slicer

from SCDSegmentationLib.errors import SegmentationError
from SCDSegmentationLib.table_nodes import Column, fillTable
from SCDSegmentationLib.token_maps import OWNED_PREFIX, TokenMaps, placeBelow, whereScored

STAGE_TABLE, STRUCTURE_TABLE = "stage table", "structure table"
TABLES = (STRUCTURE_TABLE, STAGE_TABLE)
OUTSIDE = "outside every structure"
_REFERENCES = {STAGE_TABLE: f"{OWNED_PREFIX}stageTable", STRUCTURE_TABLE: f"{OWNED_PREFIX}structureTable"}
_NAMES = {STAGE_TABLE: "tokens by stage", STRUCTURE_TABLE: "tokens by structure"}
_DECIMALS = 3


def tokenTables(report: Mapping[str, Any]) -> dict[str, list[Column]]:
    """Columns of both tables, by kind.

    Raises:
        SegmentationError: the report does not have what they are made of.
    """
    try:
        return {STAGE_TABLE: _stageColumns(report), STRUCTURE_TABLE: _structureColumns(report)}
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise SegmentationError(
            f"The report of the segmentation process cannot be understood ({error!r}): press Apply to run again.",
            "worker",
        ) from error


def _stageColumns(report: Mapping[str, Any]) -> list[Column]:
    """One row for each pruning stage: tokens in, kept and pruned."""
    stages, window = report["tokens"]["stages"], report["tokens_per_stage"]
    entered = [stage["in"] for stage in stages]
    kept = [stage["kept"] for stage in stages]
    share = [_rounded(k / n if n else 0.0) for k, n in zip(kept, entered, strict=True)]
    return [
        Column("stage", "Where the tokens are scored", [whereScored(stage["after_block"]) for stage in stages]),
        Column("tokens in", "Tokens of the volume that reached the stage", entered),
        Column("kept", "Tokens of the volume that most windows kept", kept),
        Column("pruned", "Tokens of the volume that were pruned at the stage", [stage["pruned"] for stage in stages]),
        Column("share kept", "Kept tokens over tokens in", share),
        Column("in, per window", "Tokens of one window that reached the stage", list(window["scored"])),
        Column("kept, per window", "Tokens of one window that were kept", list(window["kept"])),
    ]


def _structureColumns(report: Mapping[str, Any]) -> list[Column]:
    """One row for each structure found, and one for the tokens outside all of them."""
    tokens = report["tokens"]
    volumes = {label["value"]: label["ml"] for label in report["labels"]}
    rows = [*tokens["labels"], tokens["outside"]]
    ml = [volumes[row["value"]] for row in tokens["labels"]]
    columns = [
        Column("structure", "Segment", [*(row["name"] for row in tokens["labels"]), OUTSIDE]),
        Column("tokens", "Tokens that hold at least one voxel of it", [row["tokens"] for row in rows]),
        Column(
            "mean importance",
            "Token importance, averaged over the voxels; outside, over the tokens",
            [_rounded(row["importance"]) for row in rows],
        ),
    ]
    for number, stage in enumerate(tokens["stages"]):
        where = whereScored(stage["after_block"])
        kept = [_rounded(row["kept"][number]) for row in rows]
        columns.append(Column(f"kept {where}", f"Share of its tokens kept {where}", kept))
    columns.append(Column("volume [ml]", "Volume of the segment", [*(round(value, 2) for value in ml), math.nan]))
    return columns


def commitTables(
    maps: TokenMaps, tables: Mapping[str, Sequence[Column]], volumeName: str, made: list[slicer.vtkMRMLNode]
) -> None:
    """Put both tables of a run beside its maps, replacing those of the run before.

    Args:
        maps: of the run.
        tables: from :func:`tokenTables`.
        volumeName: for the names of new nodes.
        made: gets the nodes that were made.
    """
    for kind, columns in tables.items():
        node = tableOf(maps, kind)
        if node is None:
            name = slicer.mrmlScene.GenerateUniqueName(f"{volumeName} {_NAMES[kind]}")
            node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", name)
            made.append(node)
            maps.importance.SetNodeReferenceID(_REFERENCES[kind], node.GetID())
            placeBelow(node, maps.importance)
        fillTable(node, columns)


def tableOf(maps: TokenMaps | None, kind: str) -> slicer.vtkMRMLTableNode | None:
    """A table of a run; None if it is not in the scene."""
    return maps.importance.GetNodeReference(_REFERENCES[kind]) if maps is not None else None


def _rounded(value: float) -> float:
    return round(float(value), _DECIMALS)
