"""Maps on the token grid as nodes: importance, survival, stages and scores of one run, which belong together.

The importance node holds the references to the others, so that whoever has it has all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import slicer

from SCDSegmentationLib.errors import SegmentationError
from SCDSegmentationLib.volume_files import TOKEN_MAP_ATTRIBUTE, readVolume

IMPORTANCE, SURVIVAL, STAGE, SCORES = "importance", "survival", "stage", "scores"
MAPS = (IMPORTANCE, SURVIVAL, STAGE, SCORES)
PRUNE_AFTER_ATTRIBUTE = "SCDSegmentation.PruneAfter"
_PREFIX = "SCDSegmentation."  # of the roles of our references
_NAMES = {
    IMPORTANCE: "token importance",
    SURVIVAL: "token survival",
    STAGE: "token stages",
    SCORES: "token scores",
}
_CLASSES = {SCORES: "vtkMRMLVectorVolumeNode"}
_TYPES = {STAGE: np.uint8}


def mapName(kind: str) -> str:
    """What a map is called."""
    return _NAMES[kind]


@dataclass(frozen=True)
class TokenMaps:
    """The maps of one run; None for those that are not in the scene any more.

    Args:
        importance: how long each token stayed and how it was scored, 0…1.
        survival: share of the pruning stages that each token survived, 0…1.
        stage: stage at which each token was pruned, S + 1 if it was kept to the end.
        scores: S values a token: its rank at each stage among the tokens scored there, NaN where it was not.
    """

    importance: slicer.vtkMRMLScalarVolumeNode
    survival: slicer.vtkMRMLScalarVolumeNode | None
    stage: slicer.vtkMRMLScalarVolumeNode | None
    scores: slicer.vtkMRMLVectorVolumeNode | None

    @property
    def pruneAfter(self) -> tuple[int, ...]:
        """Numbers of the blocks behind which tokens were pruned, one a stage."""
        return tuple(int(block) for block in (self.importance.GetAttribute(PRUNE_AFTER_ATTRIBUTE) or "").split())

    @property
    def nodes(self) -> tuple[slicer.vtkMRMLScalarVolumeNode, ...]:
        """Those that are in the scene."""
        return tuple(
            node for node in (self.importance, self.survival, self.stage, self.scores) if node and node.GetScene()
        )

    def stageName(self, stage: int) -> str:
        """What a value of the stage map means: "pruned after block 3", …, "kept"."""
        blocks = self.pruneAfter
        return f"pruned after block {blocks[stage - 1]}" if stage <= len(blocks) else "kept"


def tokenMapsOf(importance: slicer.vtkMRMLScalarVolumeNode | None) -> TokenMaps | None:
    """All maps of the run that an importance node came from; None without one."""
    if importance is None or importance.GetScene() is None:
        return None
    return TokenMaps(importance, *(importance.GetNodeReference(_role(kind)) for kind in MAPS[1:]))


class PreparedMaps:
    """Maps that are read from files aside, and put into the scene at once.

    Args:
        files: of the maps, by kind.
        pruneAfter: numbers of the blocks behind which tokens were pruned.

    Raises:
        SegmentationError: a file is missing or damaged.
    """

    def __init__(self, files: Mapping[str, Path], pruneAfter: Sequence[int]) -> None:
        self._pruneAfter = tuple(pruneAfter)
        self._maps = {kind: readVolume(files[kind]) for kind in MAPS}
        if self._maps[SCORES][0].ndim == 3:
            # A file of one value a voxel does not say whether it was meant as a list of one.
            array, matrix = self._maps[SCORES]
            self._maps[SCORES] = array[..., np.newaxis], matrix
        shape = self._maps[IMPORTANCE][0].shape
        if any(array.shape[:3] != shape for array, _ in self._maps.values()):
            raise SegmentationError("The token maps do not fit together: press Apply to run again.", "worker")

    def commit(
        self,
        importance: slicer.vtkMRMLScalarVolumeNode | None,
        volume: slicer.vtkMRMLScalarVolumeNode,
        made: list[slicer.vtkMRMLNode],
    ) -> TokenMaps:
        """Put the maps into the scene: into the importance node and those that belong to it, or into new ones.

        Args:
            importance: to replace; None: a new one.
            volume: whose tokens they are: it gives them their names.
            made: gets the nodes that were made.
        """
        before = tokenMapsOf(importance)
        nodes = {kind: getattr(before, kind) if before else None for kind in MAPS}
        for kind in MAPS:
            if nodes[kind] is None:
                name = slicer.mrmlScene.GenerateUniqueName(f"{volume.GetName()} {_NAMES[kind]}")
                nodes[kind] = slicer.mrmlScene.AddNewNodeByClass(_CLASSES.get(kind, "vtkMRMLScalarVolumeNode"), name)
                made.append(nodes[kind])
            self._fill(nodes[kind], kind)
        for kind in MAPS[1:]:
            nodes[IMPORTANCE].SetNodeReferenceID(_role(kind), nodes[kind].GetID())
        nodes[IMPORTANCE].SetAttribute(PRUNE_AFTER_ATTRIBUTE, " ".join(map(str, self._pruneAfter)))
        return TokenMaps(**nodes)

    def _fill(self, node: slicer.vtkMRMLScalarVolumeNode, kind: str) -> None:
        array, matrix = self._maps[kind]
        with slicer.util.NodeModify(node):
            slicer.util.updateVolumeFromArray(node, array.astype(_TYPES.get(kind, np.float32)))
            node.SetAttribute(TOKEN_MAP_ATTRIBUTE, kind)
            node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))


def placeBelow(node: slicer.vtkMRMLNode, importance: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Below the importance in the subject hierarchy, and under its transform if the node is in space."""
    if isinstance(node, slicer.vtkMRMLTransformableNode):
        node.SetAndObserveTransformNodeID(importance.GetTransformNodeID())
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node), hierarchy.GetItemByDataNode(importance))


def dependants(node: slicer.vtkMRMLNode) -> list[slicer.vtkMRMLNode]:
    """What was made for a node and is of no use without it: an importance's other maps, their tables and colours."""
    found = []
    for number in range(node.GetNumberOfNodeReferenceRoles()):
        role = node.GetNthNodeReferenceRole(number)
        other = node.GetNodeReference(role) if role.startswith(_PREFIX) else None
        if other is not None and node.GetAttribute(TOKEN_MAP_ATTRIBUTE):
            found += [other, *dependants(other)]
    return found


def removeNodes(nodes: Sequence[slicer.vtkMRMLNode]) -> None:
    """Take nodes out of the scene, those that are still in it."""
    for node in nodes:
        if node.GetScene() is not None:
            slicer.mrmlScene.RemoveNode(node)


def _role(kind: str) -> str:
    """Of the reference from the importance node."""
    return f"{_PREFIX}{kind}"
