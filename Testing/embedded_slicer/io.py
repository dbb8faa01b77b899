"""``slicer.app.coreIOManager()``: files to nodes and back through the readers and writers that slicer.util asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer
import vtk
from PySide6 import QtCore

from embedded_slicer.qt_classes import stand_in

_VOLUME = (
    "nrrd",
    "nhdr",
    "nii",
    "nii.gz",
    "hdr",
    "img",
    "img.gz",
    "mhd",
    "mha",
    "mgh",
    "mgz",
    "dcm",
    "ima",
    "png",
    "tif",
)
_SEGMENTATION = ("seg.nrrd", "seg.nhdr", "seg.vtm", "nrrd", "nhdr", "vtm", "nii", "nii.gz", "hdr")
# File type → class of the nodes that its writer writes.
_WRITERS = {
    "VolumeFile": "vtkMRMLVolumeNode",
    "SegmentationFile": "vtkMRMLSegmentationNode",
    "ModelFile": "vtkMRMLModelNode",
    "TransformFile": "vtkMRMLTransformNode",
    "TableFile": "vtkMRMLTableNode",
    "ColorTableFile": "vtkMRMLColorNode",
}


@dataclass(frozen=True)
class _Reader:
    file_type: str
    description: str
    extensions: tuple[str, ...]
    # Properties, messages → IDs of the loaded nodes, None if loading failed.
    load: Callable[[dict[str, Any], Any], list[str] | None]

    def confidence(self, path: str) -> float:
        """0 if this reader does not read the file, higher the longer the extension that matches."""
        lower = path.lower()
        lengths = [len(extension) + 1 for extension in self.extensions if lower.endswith("." + extension)]
        if not lengths or not Path(path).is_file():
            return 0.0
        confidence = 0.5 + 0.01 * max(lengths)
        if self.file_type == "SegmentationFile" and confidence < 0.56 and lower.endswith(("nrrd", "nhdr")):
            header = Path(path).read_bytes()[:800]
            return 0.6 if b"Segment0_ID:=" in header or b"Segmentation_" in header else 0.4
        return confidence


@stand_in
class qSlicerCoreIOManager(QtCore.QObject):
    """Loads and saves nodes and scenes.

    Checked against Base/QTCore/qSlicerCoreIOManager.h and the modules' readers and writers.
    """

    def __init__(self, scene: Any, application_logic: Any) -> None:
        super().__init__()
        self._scene = scene
        self._application_logic = application_logic
        self._readers = (
            _Reader("VolumeFile", "Volume", _VOLUME, self._load_volume),
            _Reader("SegmentationFile", "Segmentation", _SEGMENTATION, self._load_segmentation),
            _Reader("ColorTableFile", "Color", ("csv", "tsv", "txt", "ctbl", "cxml"), self._load_color),
            _Reader("ModelFile", "Model", ("vtk", "vtp", "stl", "ply", "obj"), self._load_model),
            _Reader("TransformFile", "Transform", ("h5", "tfm", "mat", "txt"), self._load_transform),
            _Reader("TableFile", "Table", ("tsv", "csv", "txt"), self._load_table),
            _Reader("SceneFile", "MRML Scene", ("mrml",), self._load_mrml),
            _Reader("SceneFile", "MRB Slicer Data Bundle", ("mrb", "zip", "xar"), self._load_mrb),
        )

    def fileType(self, path: str) -> str:
        """Most likely type of a file, ``NoFile`` if no reader reads it."""
        best = max(self._readers, key=lambda reader: reader.confidence(str(path)))
        return best.file_type if best.confidence(str(path)) > 0 else "NoFile"

    def loadNodes(
        self, fileType: str, parameters: dict[str, Any], loadedNodes: Any = None, userMessages: Any = None
    ) -> bool:
        """Load a file; what was loaded is added to the collection ``loadedNodes``."""
        path = str(parameters["fileName"])
        messages = slicer.vtkMRMLMessageCollection()
        loaded = None
        for reader in self._readers:
            if loaded is None and reader.file_type == fileType and reader.confidence(path) > 0:
                loaded = reader.load({**parameters, "fileName": path}, messages)
        if userMessages is not None:
            userMessages.AddMessages(messages, f"Loading {path} - ")
            if loaded is None and not messages.GetNumberOfMessages():
                userMessages.AddMessage(vtk.vtkCommand.ErrorEvent, f"Loading {path} -  load failed.")
        node_ids = loaded or []
        if loadedNodes is not None:
            for node_id in node_ids:
                loadedNodes.AddItem(self._scene.GetNodeByID(node_id))
        return loaded is not None

    def fileWriterFileType(self, node: Any, extension: str = "") -> str:
        """Type of the files that a node is written to, ``NoFile`` if it cannot be."""
        return next((file_type for file_type, name in _WRITERS.items() if node.IsA(name)), "NoFile")

    def fileWriterExtensions(self, node: Any) -> list[str]:
        """Formats that a node can be written in, each as ``Title (.extension)``."""
        if self.fileWriterFileType(node) == "NoFile" or not node.AddDefaultStorageNode():
            return []
        formats = node.GetStorageNode().GetSupportedWriteFileTypes()
        return [formats.GetValue(index) for index in range(formats.GetNumberOfValues())]

    def extractKnownExtension(self, fileName: str, node: Any) -> str:
        """Longest extension of the node's formats that the name ends with, empty if none does."""
        convert = slicer.vtkDataFileFormatHelper.GetFileExtensionFromFormatString
        extensions = [convert(name) for name in self.fileWriterExtensions(node)]
        return max((each for each in extensions if each and fileName.endswith(each)), key=len, default="")

    def saveNodes(self, fileType: str, parameters: dict[str, Any], userMessages: Any = None, scene: Any = None) -> bool:
        """Write a node (``nodeID``) or, for the type ``SceneFile``, the scene to ``fileName``."""
        if not isinstance(parameters.get("fileName"), str):
            return False  # Slicer cannot convert a pathlib.Path to a string either.
        messages = slicer.vtkMRMLMessageCollection()
        Path(parameters["fileName"]).resolve().parent.mkdir(parents=True, exist_ok=True)
        if fileType == "SceneFile":
            saved = self._save_scene(Path(parameters["fileName"]).resolve(), messages)
        else:
            saved = self._save_node(parameters, messages, scene or self._scene)
        if userMessages is not None:
            userMessages.AddMessages(messages)
            if not saved:
                text = f"Saving failed with all writers found for file '{parameters['fileName']}' of type '{fileType}'."
                userMessages.AddMessage(vtk.vtkCommand.ErrorEvent, text)
        return saved

    def exportNodes(
        self,
        nodeIDs: list[str],
        fileNames: list[str],
        commonParameterMap: dict[str, Any],
        hardenTransforms: bool,
        userMessages: Any = None,
    ) -> bool:
        """Write nodes through a scene of their own, so that their storage nodes stay as they are."""
        saved = [
            self._export(self._scene.GetNodeByID(node_id), path, commonParameterMap, hardenTransforms, userMessages)
            for node_id, path in zip(nodeIDs, fileNames, strict=True)
        ]
        return all(saved)

    def registeredFileReaderCount(self, fileType: str) -> int:
        """Number of readers of a file type."""
        return sum(reader.file_type == fileType for reader in self._readers)

    def _logic(self, module: str) -> Any:
        return self._application_logic.GetModuleLogic(module)

    def _load_volume(self, properties: dict[str, Any], _messages: Any) -> list[str] | None:
        path = properties["fileName"]
        flags = {"labelmap": 1, "center": 2, "singleFile": 4, "autoWindowLevel": 8, "discardOrientation": 16}
        options = sum(flag for name, flag in flags.items() if properties.get(name))
        name = properties.get("name") or Path(path).name.partition(".")[0]
        node = self._logic("Volumes").AddArchetypeVolume(path, name, options)
        if node is None:
            return None
        if properties.get("colorNodeID"):
            node.GetDisplayNode().SetAndObserveColorNodeID(properties["colorNodeID"])
        if properties.get("show", True):
            selection = self._application_logic.GetSelectionNode()
            if node.IsA("vtkMRMLLabelMapVolumeNode"):
                selection.SetActiveLabelVolumeID(node.GetID())
            else:
                selection.SetActiveVolumeID(node.GetID())
            self._application_logic.PropagateVolumeSelection()
        return [node.GetID()]

    def _load_segmentation(self, properties: dict[str, Any], messages: Any) -> list[str] | None:
        color = self._scene.GetNodeByID(properties["colorNodeID"]) if properties.get("colorNodeID") else None
        opacities = bool(properties.get("autoOpacities", True))
        arguments = (properties["fileName"], opacities, properties.get("name", ""), color, messages)
        return _ids(self._logic("Segmentations").LoadSegmentationFromFile(*arguments))

    def _load_color(self, properties: dict[str, Any], messages: Any) -> list[str] | None:
        return _ids(self._logic("Colors").LoadColorFile(properties["fileName"], None, messages, True))

    def _load_model(self, properties: dict[str, Any], messages: Any) -> list[str] | None:
        system = slicer.vtkMRMLStorageNode.CoordinateSystemLPS
        return _ids(self._logic("Models").AddModel(properties["fileName"], system, messages))

    def _load_transform(self, properties: dict[str, Any], _messages: Any) -> list[str] | None:
        return _ids(self._logic("Transforms").AddTransform(properties["fileName"], self._scene))

    def _load_table(self, properties: dict[str, Any], _messages: Any) -> list[str] | None:
        return _ids(self._logic("Tables").AddTable(properties["fileName"]))

    def _load_mrml(self, properties: dict[str, Any], messages: Any) -> list[str] | None:
        self._scene.SetURL(str(Path(properties["fileName"]).resolve()))
        read = self._scene.Connect if properties.get("clear") else self._scene.Import
        return [] if read(messages) else None

    def _load_mrb(self, properties: dict[str, Any], messages: Any) -> list[str] | None:
        before = _node_ids(self._scene)
        path = str(Path(properties["fileName"]).resolve())
        if not self._scene.ReadFromMRB(path, bool(properties.get("clear")), messages):
            return None
        return [node_id for node_id in _node_ids(self._scene) if node_id not in before]

    def _save_node(self, properties: dict[str, Any], messages: Any, scene: Any) -> bool:
        node = scene.GetNodeByID(properties["nodeID"])
        if not self.extractKnownExtension(properties["fileName"], node):
            return False
        storage = node.GetStorageNode()
        if node.IsA("vtkMRMLSegmentationNode"):
            storage.SetCropToMinimumExtent(bool(properties.get("cropToMinimumExtent")))
        storage.SetFileName(properties["fileName"])
        if properties.get("fileFormat"):
            storage.SetWriteFileFormat(properties["fileFormat"])
        storage.SetURI(None)
        if "useCompression" in properties:
            storage.SetUseCompression(int(properties["useCompression"]))
        written = bool(storage.WriteData(node))
        messages.AddMessages(storage.GetUserMessages())
        return written

    def _save_scene(self, path: Path, messages: Any) -> bool:
        self._scene.SetURL(str(path))
        self._scene.SetRootDirectory(str(path.parent))
        if path.suffix == ".mrml":
            return bool(self._scene.Commit())
        if path.suffix == ".mrb":
            saved = self._scene.WriteToMRB(str(path), None, messages)
            self._scene.SetStorableNodesModifiedSinceRead()
            return bool(saved)
        path.mkdir(exist_ok=True)
        if any(path.iterdir()):
            return False
        return bool(self._application_logic.SaveSceneToSlicerDataBundleDirectory(str(path), None))

    def _export(self, node: Any, path: str, properties: dict[str, Any], harden: bool, messages: Any) -> bool:
        scene = slicer.vtkMRMLScene()
        self._scene.CopyDefaultNodesToScene(scene)
        self._scene.CopyRegisteredNodesToScene(scene)
        self._scene.CopySingletonNodesToScene(scene)
        scene.SetDataIOManager(self._scene.GetDataIOManager())
        copy = scene.AddNewNodeByClass(node.GetClassName())
        copy.CopyContent(node, harden)
        if harden and node.GetParentTransformNode():
            transform = vtk.vtkGeneralTransform()
            node.GetParentTransformNode().GetTransformFromWorld(transform)
            transform_node = scene.AddNewNodeByClass("vtkMRMLTransformNode")
            transform_node.SetAndObserveTransformFromParent(transform)
            copy.SetAndObserveTransformNodeID(transform_node.GetID())
            copy.HardenTransform()
        file_type = self.fileWriterFileType(node)
        return self.saveNodes(file_type, {**properties, "nodeID": copy.GetID(), "fileName": path}, messages, scene)


def _ids(node: Any) -> list[str] | None:
    return None if node is None else [node.GetID()]


def _node_ids(scene: Any) -> list[str]:
    return [scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())]
