"""The scene and the application logic, brought up in the order in which Slicer does it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer

from embedded_slicer.share import SHARE_DIRECTORY, write_share

SLICER_VERSION = (5, 13, 0)
# The build that the wheel slicer-core is numbered after.
SLICER_REVISION = 31053


@dataclass(frozen=True)
class SceneServices:
    """What lives as long as the application: the scene, its logic, and the logics that read and write bundles."""

    scene: Any
    application_logic: Any
    remote_io_logic: Any
    data_io_logic: Any


def create_scene(home: Path) -> SceneServices:
    """Make the scene with its singleton nodes and set ``slicer.mrmlScene``.

    Args:
        home: an empty folder for the share folder, the cache and temporary files.
    """
    write_share(home)
    temporary = home / "temporary"
    cache = home / "cache"
    for folder in (temporary, cache):
        folder.mkdir()

    logic = slicer.vtkSlicerApplicationLogic()
    logic.SetHomeDirectory(str(home))
    logic.SetShareDirectory(SHARE_DIRECTORY)
    logic.SetTemporaryPath(str(temporary))
    for factory in (
        slicer.vtkMRMLThreeDViewDisplayableManagerFactory,
        slicer.vtkMRMLSliceViewDisplayableManagerFactory,
    ):
        factory.GetInstance().SetMRMLApplicationLogic(logic)

    remote_io = slicer.vtkMRMLRemoteIOLogic()
    remote_io.GetCacheManager().SetRemoteCacheDirectory(str(cache))
    data_io = slicer.vtkDataIOManagerLogic()
    data_io.SetMRMLApplicationLogic(logic)
    data_io.SetAndObserveDataIOManager(remote_io.GetDataIOManager())

    scene = slicer.vtkMRMLScene()
    scene.SetVersion(f"Slicer {'.'.join(map(str, SLICER_VERSION))} {SLICER_REVISION}")
    scene.SetRootDirectory(str(temporary))
    crosshair = slicer.vtkMRMLCrosshairNode()
    crosshair.SetCrosshairName("default")
    scene.AddNode(crosshair)
    logic.SetMRMLScene(scene)
    logic.SetMRMLSceneDataIO(scene, remote_io, data_io)
    slicer.mrmlScene = scene
    return SceneServices(scene, logic, remote_io, data_io)
