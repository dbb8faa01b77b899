"""The map of influence as a node that belongs to a run's token maps."""

from __future__ import annotations

import json

import numpy as np
import slicer

from SCDSegmentationLib import token_display
from SCDSegmentationLib.errors import SegmentationError
from SCDSegmentationLib.parameters import COLOR_TABLES, INFLUENCE_MAP
from SCDSegmentationLib.token_maps import INFLUENCE, INFLUENCE_ROLE, TokenMaps, placeBelow, tokenMapsOf
from SCDSegmentationLib.volume_files import TOKEN_MAP_ATTRIBUTE, matrixOf

ALL_STRUCTURES = "all structures"
_NAME = "token influence"
_ON_ATTRIBUTE = "SCDSegmentation.InfluenceOn"


def influenceOn(maps: TokenMaps) -> str:
    """The structure that the map of influence is about; "" if there is no map."""
    return (maps.influence.GetAttribute(_ON_ATTRIBUTE) or ALL_STRUCTURES) if maps.influence is not None else ""


def checkInfluence(maps: TokenMaps, array: np.ndarray, matrix: np.ndarray) -> None:
    """Check voxels (K, J, I) and their index → RAS (4, 4) against the run's other maps.

    Raises:
        SegmentationError: another grid, or values that are none of influence.
    """
    shape = slicer.util.arrayFromVolume(maps.importance).shape
    fits = array.shape == shape and np.allclose(matrix, matrixOf(maps.importance), atol=1e-3)
    if not fits or not ((array >= 0) & (array <= 1)).all():
        raise SegmentationError(
            "The influence does not fit the token maps of the run: press Apply to run again, then compute it anew.",
            "worker",
        )


def commitInfluence(
    maps: TokenMaps, array: np.ndarray, on: str, volume: slicer.vtkMRMLScalarVolumeNode
) -> slicer.vtkMRMLScalarVolumeNode:
    """Put influence (K, J, I) into the scene beside the run's other maps, replacing the one before.

    Args:
        maps: of the run.
        array: 0…1 on the token grid.
        on: name of the structure that it is about, or :data:`ALL_STRUCTURES`.
        volume: whose tokens they are: it gives a new node its name.
    """
    node = maps.influence
    if node is None:
        node = slicer.vtkMRMLScalarVolumeNode()
        node.SetName(slicer.mrmlScene.GenerateUniqueName(f"{volume.GetName()} {_NAME}"))
        node.SetAttribute(TOKEN_MAP_ATTRIBUTE, INFLUENCE)  # whoever hears of the node knows what it is
        slicer.mrmlScene.AddNode(node)
        maps.importance.SetNodeReferenceID(INFLUENCE_ROLE, node.GetID())
        placeBelow(node, maps.importance)
    with slicer.util.NodeModify(node):
        slicer.util.updateVolumeFromArray(node, array.astype(np.float32))
        node.SetAttribute(_ON_ATTRIBUTE, on)
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrixOf(maps.importance)))
    if node.GetVolumeDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
        node.GetVolumeDisplayNode().SetInterpolate(0)
        token_display.showAs(tokenMapsOf(maps.importance), INFLUENCE_MAP, 1, 0.0, COLOR_TABLES[0])
    return node


def influenceTable(maps: TokenMaps) -> str:
    """Every token's place on the grid, importance and influence, as CSV."""
    importance, influence = (slicer.util.arrayFromVolume(node) for node in (maps.importance, maps.influence))
    rows = [
        f"{i},{j},{k},{importance[k, j, i]:.4f},{influence[k, j, i]:.4f}" for k, j, i in np.ndindex(importance.shape)
    ]
    title = json.dumps(f"influence on {influenceOn(maps)}", ensure_ascii=False)
    return "\n".join((f"i,j,k,importance,{title}", *rows, ""))
