"""What the panel says of the token under the cursor is what the maps hold there."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer

from SCDSegmentationLib.token_maps import tokenMapsOf
from SCDSegmentationLib.token_readout import readToken
from SCDSegmentationLib.volume_files import matrixOf
from slicer_module.helpers import add_volume, apply, choose


def ran(widget: Any, transform: Any = None) -> Any:
    volume = add_volume()
    if transform is not None:
        volume.SetAndObserveTransformNodeID(transform.GetID())
    choose(widget, volume, keep_ratio=0.6)
    assert apply(widget).startswith("Found")
    return widget.panel.parameters


def test_every_voxel_reads_the_values_of_the_token_that_holds_it(widget: Any) -> None:
    parameters = ran(widget)
    maps = tokenMapsOf(parameters.importance)
    values = {kind: slicer.util.arrayFromVolume(getattr(maps, kind)) for kind in ("importance", "survival", "stage")}
    scores = np.stack([slicer.util.arrayFromVolume(node) for node in maps.scores], axis=-1)
    image = slicer.util.arrayFromVolume(parameters.inputVolume)
    to_ras, to_token = matrixOf(parameters.inputVolume), np.linalg.inv(matrixOf(maps.importance))
    masks = {
        segment.GetName(): slicer.util.arrayFromSegmentBinaryLabelmap(
            parameters.segmentation, segment_id, parameters.inputVolume
        )
        for segment_id in parameters.segmentation.GetSegmentation().GetSegmentIDs()
        for segment in [parameters.segmentation.GetSegmentation().GetSegment(segment_id)]
    }
    labelled = 0
    for k, j, i in np.random.default_rng(0).integers(image.shape, size=(60, 3)):
        ras = (to_ras @ (i, j, k, 1))[:3]
        token = readToken(maps, parameters.segmentation, ras)
        index = np.floor((to_token @ (*ras, 1))[:3] + 0.5).astype(int)
        here = tuple(index[::-1])
        assert token.index == tuple(index)
        assert token.stage == values["stage"][here]
        assert token.importance == values["importance"][here]
        assert token.survival == values["survival"][here]
        read = np.array([np.nan if score is None else score for score in token.scores])
        np.testing.assert_array_equal(read, scores[here])
        assert token.labels == tuple(name for name, mask in masks.items() if mask[k, j, i])
        labelled += bool(token.labels)
    assert labelled, "some of the places have a label"


def test_outside_the_grid_there_is_no_token(widget: Any) -> None:
    parameters = ran(widget)
    maps = tokenMapsOf(parameters.importance)
    corner = (matrixOf(maps.importance) @ (-0.6, 0, 0, 1))[:3]
    assert readToken(maps, parameters.segmentation, corner) is None
    inside = (matrixOf(maps.importance) @ (-0.4, 0, 0, 1))[:3]
    assert readToken(maps, parameters.segmentation, inside).index == (0, 0, 0)


def test_transforms_are_undone(widget: Any) -> None:
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.array([[0.0, -1, 0, 40], [1, 0, 0, -7], [0, 0, 1, 3], [0, 0, 0, 1]])
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    parameters = ran(widget, transform)
    maps = tokenMapsOf(parameters.importance)
    centre = matrixOf(maps.importance) @ (1, 0, 1, 1)
    assert readToken(maps, parameters.segmentation, (matrix @ centre)[:3]).index == (1, 0, 1)


def test_the_words_name_stage_scores_and_structures(widget: Any) -> None:
    parameters = ran(widget)
    maps = tokenMapsOf(parameters.importance)
    stage = slicer.util.arrayFromVolume(maps.stage)
    k, j, i = np.argwhere(stage == 1)[0]
    ras = (matrixOf(maps.importance) @ (i, j, k, 1))[:3]
    token = readToken(maps, None, ras)
    first, second, third = token.text(maps).splitlines()
    assert first == f"Token ({i}, {j}, {k}): no structure"
    later = "–" if token.scores[1] is None else f"{token.scores[1]:.2f}"
    assert second == f"Pruned after block 1; scores {token.scores[0]:.2f}, {later}"
    assert third == f"Importance {token.importance:.2f}, survival {token.survival:.2f}"
