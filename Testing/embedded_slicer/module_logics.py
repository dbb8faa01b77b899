"""The logics of the loadable modules, those that slicer-core has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
from PySide6 import QtCore

from embedded_slicer.qt_classes import stand_in
from embedded_slicer.scene import SceneServices
from embedded_slicer.share import terminologies_directory

# Colors and Terminologies come first, because other logics ask for them.
_LOGICS = {
    "Colors": "vtkSlicerColorLogic",
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",
    "Units": "vtkSlicerUnitsLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Cameras": "vtkSlicerCamerasModuleLogic",
    "Data": "vtkSlicerDataModuleLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Models": "vtkSlicerModelsLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "ViewControllers": "vtkSlicerViewControllersLogic",
    "CropVolume": "vtkSlicerCropVolumeLogic",
}


@stand_in
class qSlicerLoadableModule(QtCore.QObject):
    """A module written in C++, without its panel.

    Checked against Base/QTGUI/qSlicerLoadableModule.h and Base/QTCore/qSlicerAbstractCoreModule.h.
    """

    def __init__(self, name: str, logic: Any) -> None:
        super().__init__()
        self.setObjectName(name)  # also what PythonQt gives for ``name``
        self._logic = logic

    def logic(self) -> Any:
        """The module's logic."""
        return self._logic

    def widgetRepresentation(self) -> None:
        """None: the host has no panels of C++ modules."""


def create_modules(services: SceneServices, home: Path) -> dict[str, qSlicerLoadableModule]:
    """Make the logics, each observing the scene and known to the application logic.

    Args:
        services: the scene and its application logic.
        home: the application's home folder.

    Returns:
        Modules by name.
    """
    application_logic = services.application_logic
    modules = {}
    for name, logic_class in _LOGICS.items():
        logic = getattr(slicer, logic_class)()
        if name == "Terminologies":
            logic.SetModuleShareDirectory(str(terminologies_directory(home)))
        logic.SetMRMLApplicationLogic(application_logic)
        application_logic.SetModuleLogic(name, logic)
        if name == "Colors":
            application_logic.SetColorLogic(logic)
        logic.SetMRMLScene(services.scene)
        modules[name] = qSlicerLoadableModule(name, logic)
    return modules
