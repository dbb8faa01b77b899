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
INFLUENCE = "influence"  # computed later, if it is asked for
PRUNE_AFTER_ATTRIBUTE = "SCDSegmentation.PruneAfter"
OWNED_PREFIX = "SCDSegmentation.owns."  # of the roles of references to what goes with a node
INFLUENCE_ROLE = f"{OWNED_PREFIX}{INFLUENCE}"
_NAMES = {
    IMPORTANCE: "token importance",
    SURVIVAL: "token survival",
    STAGE: "token stages",
    SCORES: "token scores",
}
_TYPES = {STAGE: np.uint8}


def whereScored(block: int) -> str:
    """Where a stage that prunes behind block ``block`` stands: "after block 3", or "before block 1" for 0."""
    return f"after block {block}" if block else "before block 1"


@dataclass(frozen=True)
class TokenMaps:
    """The maps of one run; None for those that are not in the scene any more.

    Args:
        importance: how long each token stayed and how it was scored, 0…1.
        survival: share of the pruning stages that each token survived, 0…1.
        stage: stage at which each token was pruned, S + 1 if it was kept to the end.
        scores: for each of the S stages the rank of every token among those scored there, NaN where it was not.
            A volume each: files of volumes do not hold any number of values a voxel.
        influence: how much each token moved the labels, 0…1; only there if it was asked for.
    """

    importance: slicer.vtkMRMLScalarVolumeNode
    survival: slicer.vtkMRMLScalarVolumeNode | None
    stage: slicer.vtkMRMLScalarVolumeNode | None
    scores: tuple[slicer.vtkMRMLScalarVolumeNode, ...]
    influence: slicer.vtkMRMLScalarVolumeNode | None = None

    @property
    def pruneAfter(self) -> tuple[int, ...]:
        """Numbers of the blocks behind which tokens were pruned, one a stage; none if the scene is damaged there."""
        blocks = (self.importance.GetAttribute(PRUNE_AFTER_ATTRIBUTE) or "").split()
        return tuple(int(block) for block in blocks) if all(map(str.isdecimal, blocks)) else ()

    @property
    def nodes(self) -> tuple[slicer.vtkMRMLScalarVolumeNode, ...]:
        """Those that are in the scene."""
        found = (self.importance, self.survival, self.stage, *self.scores, self.influence)
        return tuple(node for node in found if node is not None)

    @property
    def complete(self) -> bool:
        """Whether all that every run has are in the scene."""
        return self.survival is not None and self.stage is not None and len(self.scores) == len(self.pruneAfter)

    def stageName(self, stage: int) -> str:
        """What a value of the stage map means: "pruned after block 3", …, "kept"."""
        blocks = self.pruneAfter
        return f"pruned {whereScored(blocks[stage - 1])}" if stage <= len(blocks) else "kept"


def tokenMapsOf(importance: slicer.vtkMRMLScalarVolumeNode | None) -> TokenMaps | None:
    """All maps of the run that an importance node came from, those that have voxels; None without one."""
    if importance is None or importance.GetScene() is None or importance.GetImageData() is None:
        return None
    survival, stage, scores, influence = (
        [node for node in _references(importance, _role(kind)) if node.GetImageData() is not None]
        for kind in (*MAPS[1:], INFLUENCE)
    )
    one = (nodes[0] if nodes else None for nodes in (survival, stage, influence))
    return TokenMaps(importance, next(one), next(one), tuple(scores), next(one))


def _references(node: slicer.vtkMRMLNode, role: str) -> list[slicer.vtkMRMLNode]:
    """Nodes of the scene that a node refers to in a role."""
    found = [node.GetNthNodeReference(role, number) for number in range(node.GetNumberOfNodeReferences(role))]
    return [other for other in found if other is not None]


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
        fits = len(shape) == 3 and all(array.shape[:3] == shape for array, _ in self._maps.values())
        if not fits or self._maps[SCORES][0].shape[3:] != (len(self._pruneAfter),):
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
        main = self._fill(importance, IMPORTANCE, _NAMES[IMPORTANCE], volume, made)
        removeNodes(_references(main, INFLUENCE_ROLE))  # of the run before
        main.RemoveNodeReferenceIDs(INFLUENCE_ROLE)
        for kind in (SURVIVAL, STAGE, SCORES):
            names = [_NAMES[kind]]
            if kind == SCORES:
                names = [f"{_NAMES[kind]} {whereScored(block)}" for block in self._pruneAfter]
            before = _references(main, _role(kind))
            removeNodes(before[len(names) :])  # of a model that had more stages
            main.RemoveNodeReferenceIDs(_role(kind))
            for number, name in enumerate(names):
                reused = before[number] if number < len(before) else None
                node = self._fill(reused, kind, name, volume, made, number)
                main.AddNodeReferenceID(_role(kind), node.GetID())
        main.SetAttribute(PRUNE_AFTER_ATTRIBUTE, " ".join(map(str, self._pruneAfter)))
        return tokenMapsOf(main)

    def _fill(
        self,
        node: slicer.vtkMRMLScalarVolumeNode | None,
        kind: str,
        name: str,
        volume: slicer.vtkMRMLScalarVolumeNode,
        made: list[slicer.vtkMRMLNode],
        number: int = 0,
    ) -> slicer.vtkMRMLScalarVolumeNode:
        """Put a map, of scores the one of this number, into a node, a new one if there is none."""
        if node is None:
            node = slicer.vtkMRMLScalarVolumeNode()
            node.SetName(slicer.mrmlScene.GenerateUniqueName(f"{volume.GetName()} {name}"))
            node.SetAttribute(TOKEN_MAP_ATTRIBUTE, kind)  # whoever hears of the node knows what it is
            made.append(slicer.mrmlScene.AddNode(node))
        array, matrix = self._maps[kind]
        if kind == SCORES:
            array = array[..., number]
        with slicer.util.NodeModify(node):
            slicer.util.updateVolumeFromArray(node, array.astype(_TYPES.get(kind, np.float32)))
            node.SetAttribute(TOKEN_MAP_ATTRIBUTE, kind)
            node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
        return node


def placeBelow(node: slicer.vtkMRMLNode, importance: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Below the importance in the subject hierarchy, and under its transform if the node is in space."""
    if isinstance(node, slicer.vtkMRMLTransformableNode):
        node.SetAndObserveTransformNodeID(importance.GetTransformNodeID())
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node), hierarchy.GetItemByDataNode(importance))


def dependants(node: slicer.vtkMRMLNode) -> list[slicer.vtkMRMLNode]:
    """What was made for a token map or a table of keep ratios, and is of no use without it.

    An importance's other maps, tables, boxes and colours, with their display nodes; a table's plot.
    """
    found: list[slicer.vtkMRMLNode] = []
    if node.GetAttribute(TOKEN_MAP_ATTRIBUTE):
        found += [node.GetNthDisplayNode(number) for number in range(node.GetNumberOfDisplayNodes())]
    for number in range(node.GetNumberOfNodeReferenceRoles()):
        role = node.GetNthNodeReferenceRole(number)
        for other in _references(node, role) if role.startswith(OWNED_PREFIX) else ():
            found += [other, *dependants(other)]
    return [other for other in found if other is not None]


def removeNodes(nodes: Sequence[slicer.vtkMRMLNode]) -> None:
    """Take nodes out of the scene, those that are still in it."""
    for node in nodes:
        if node.GetScene() is not None:
            slicer.mrmlScene.RemoveNode(node)


def _role(kind: str) -> str:
    """Of the reference from the importance node."""
    return f"{OWNED_PREFIX}{kind}"
