"""A bright cube in a known token of an oblique, anisotropic volume is found there by everything that shows tokens.

The model scores by brightness. Where the cube lies is told from the places of the voxels that the network's patch was
cut from, not from the token grid that is tested.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from vtk.util.numpy_support import vtk_to_numpy

from SCDSegmentationLib.parameters import GREYED, IMPORTANCE_MAP, KEPT, TOKENS
from SCDSegmentationLib.table_nodes import columnsOf
from SCDSegmentationLib.token_boxes import BOXES_REFERENCE
from SCDSegmentationLib.token_maps import tokenMapsOf
from SCDSegmentationLib.token_readout import readToken
from SCDSegmentationLib.token_tables import STRUCTURE_TABLE, tableOf
from SCDSegmentationLib.volume_files import matrixOf
from slicer_module.helpers import apply, choose

SCRIPT = Path(__file__).resolve().parents[1] / "brightness_model.py"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the model, the volume and what is known of its cube."""
    folder = tmp_path_factory.mktemp("brightness")
    command = [sys.executable, SCRIPT, folder / "brightness", folder / "cube.nrrd"]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture
def known(made: Path) -> dict[str, Any]:
    return json.loads((made / "cube.json").read_text(encoding="utf-8"))


@pytest.fixture(params=["as it is", "turned by a transform"])
def ran(widget: Any, made: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    monkeypatch.setenv("SCDSEG_MODELS", str(made))
    volume = slicer.util.loadVolume(str(made / "cube.nrrd"))
    if request.param != "as it is":
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(TURN))
        volume.SetAndObserveTransformNodeID(transform.GetID())
    widget.enter()
    choose(widget, volume, "brightness", 0.2)
    assert apply(widget).startswith("Found")
    widget.panel.parameters.shown = TOKENS
    return widget


TURN = np.array([[0.8, -0.6, 0, 15], [0.6, 0.8, 0, -40], [0, 0, 1, 8], [0, 0, 0, 1]])


def to_world(volume: Any, points: np.ndarray) -> np.ndarray:
    """Places in a volume's own space in the world's."""
    matrix = np.eye(4) if volume.GetTransformNodeID() is None else TURN
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def test_the_cube_is_the_most_important_token_and_the_only_one_that_is_kept(ran: Any, known: dict[str, Any]) -> None:
    maps = tokenMapsOf(ran.panel.parameters.importance)
    cube = tuple(known["token"][::-1])
    importance, stage = slicer.util.arrayFromVolume(maps.importance), slicer.util.arrayFromVolume(maps.stage)
    assert importance.shape == tuple(known["grid"][::-1])
    assert np.unravel_index(importance.argmax(), importance.shape) == cube
    assert importance[cube] == 1.0
    assert (np.argwhere(stage == 3) == cube).all()
    assert slicer.util.arrayFromVolume(maps.survival)[cube] == 1.0
    assert [slicer.util.arrayFromVolume(node)[cube] for node in maps.scores] == [1.0, 1.0]
    np.testing.assert_allclose(
        (matrixOf(maps.importance) @ (*known["token"], 1))[:3], known["center_ras_mm"], atol=1e-3
    )


def test_the_box_has_the_corners_of_the_patch_and_encloses_exactly_the_bright_voxels(
    ran: Any, known: dict[str, Any]
) -> None:
    parameters = ran.panel.parameters
    parameters.boxes, parameters.stage = True, 2
    model = parameters.importance.GetNodeReference(BOXES_REFERENCE)
    corners = vtk_to_numpy(model.GetPolyData().GetPoints().GetData())
    assert len(corners) == 8, "one token is left"
    expected = np.array(known["corners_ras_mm"])
    distances = np.linalg.norm(corners[:, None] - expected[None], axis=2)
    assert distances.min(axis=0).max() < 1e-3
    assert distances.min(axis=1).max() < 1e-3
    for corner in expected:
        world = [0.0, 0.0, 0.0]
        model.TransformPointToWorld(corner.tolist(), world)
        np.testing.assert_allclose(world, to_world(parameters.inputVolume, corner), atol=1e-6)
    image = slicer.util.arrayFromVolume(parameters.inputVolume)
    kji = np.argwhere(image > 500)
    bright = (np.c_[kji[:, ::-1], np.ones(len(kji))] @ matrixOf(parameters.inputVolume).T)[:, :3]
    axes = expected[[4, 2, 1]] - expected[0]
    inside = np.linalg.solve(axes.T, (bright - expected[0]).T).T
    assert len(bright) > 100
    assert ((inside > 0) & (inside < 1)).all()
    others = np.argwhere(image < 500)
    dark = (np.c_[others[:, ::-1], np.ones(len(others))] @ matrixOf(parameters.inputVolume).T)[:, :3]
    outside = np.linalg.solve(axes.T, (dark - expected[0]).T).T
    assert not ((outside > 1e-6) & (outside < 1 - 1e-6)).all(axis=1).any()


def test_the_readout_at_the_cube_tells_its_token_and_its_label(ran: Any, known: dict[str, Any]) -> None:
    parameters = ran.panel.parameters
    volume, maps = parameters.inputVolume, tokenMapsOf(parameters.importance)
    center = to_world(volume, np.array(known["center_ras_mm"]))
    token = readToken(maps, parameters.segmentation, center)
    assert token.index == tuple(known["token"])
    assert (token.stage, token.scores, token.importance, token.survival) == (3, (1.0, 1.0), 1.0, 1.0)
    assert token.labels == ("bright",)
    crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    crosshair.SetCursorPositionRAS(center.tolist())
    i, j, k = known["token"]
    assert ran.panel.inspector.ui.cursorLabel.text.startswith(f"Token ({i}, {j}, {k}): bright\nKept; scores 1.00, 1.00")
    for corner in np.array(known["corners_ras_mm"]):
        within = np.array(known["center_ras_mm"]) * 0.02 + corner * 0.98
        beyond = corner * 1.02 - np.array(known["center_ras_mm"]) * 0.02
        assert readToken(maps, None, to_world(volume, within)).index == token.index
        elsewhere = readToken(maps, None, to_world(volume, beyond))
        assert elsewhere is None or elsewhere.index != token.index


def brightest_pixel(view: str, place: np.ndarray, node: Any) -> tuple[np.ndarray, np.ndarray]:
    """Values of a layer's resliced image at a place of a slice view, and all of them."""
    widget = slicer.app.layoutManager().sliceWidget(view)
    logic = widget.sliceLogic().GetForegroundLayer()
    reslice = logic.GetReslice()
    reslice.Update()
    image = reslice.GetOutput()
    ras_to_xy = np.linalg.inv(slicer.util.arrayFromVTKMatrix(widget.mrmlSliceNode().GetXYToRAS()))
    x, y, _ = (round(float(value)) for value in (ras_to_xy @ (*place, 1))[:3])
    values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[1::-1])
    return values[y, x], values


def test_the_overlay_is_brightest_where_the_cube_is_in_every_view(ran: Any, known: dict[str, Any]) -> None:
    parameters = ran.panel.parameters
    parameters.tokenMap = IMPORTANCE_MAP
    place = to_world(parameters.inputVolume, np.array(known["center_ras_mm"]))
    slicer.modules.markups.logic().JumpSlicesToLocation(*place, True)
    for view in ("Red", "Yellow", "Green"):
        here, everywhere = brightest_pixel(view, place, parameters.importance)
        assert here == everywhere.max() == 1.0
    parameters.tokenMap, parameters.stage = KEPT, 2
    here, _ = brightest_pixel("Red", place, parameters.importance)
    low = tokenMapsOf(parameters.importance).stage.GetDisplayNode().GetLowerThreshold()
    assert here == low == 3, "the cube alone is shown"
    parameters.tokenMap = GREYED
    assert tokenMapsOf(parameters.importance).stage.GetDisplayNode().GetUpperThreshold() < here, "and alone not grey"


def test_the_table_says_that_all_of_the_cube_was_kept(ran: Any) -> None:
    columns = {
        c.name: c.values for c in columnsOf(tableOf(tokenMapsOf(ran.panel.parameters.importance), STRUCTURE_TABLE))
    }
    row = columns["structure"].index("bright")
    assert columns["tokens"][row] == 1
    assert [columns[f"kept after block {block}"][row] for block in (1, 2)] == [1.0, 1.0]
    assert columns["mean importance"][row] == 1.0
