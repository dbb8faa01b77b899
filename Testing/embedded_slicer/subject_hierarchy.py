"""Subject hierarchy items for data nodes, which in Slicer a Qt plugin of each module adds."""

from __future__ import annotations

from typing import Any

import slicer
import vtk

# Node class → name of the plugin that owns it; a derived class stands before its base.
_OWNERS = {
    "vtkMRMLLabelMapVolumeNode": "LabelMaps",
    "vtkMRMLVolumeNode": "Volumes",
    "vtkMRMLSegmentationNode": "Segmentations",
    "vtkMRMLModelNode": "Models",
    "vtkMRMLTransformNode": "Transforms",
    "vtkMRMLTableNode": "Tables",
    "vtkMRMLTextNode": "Texts",
    "vtkMRMLPlotSeriesNode": "Plots",
    "vtkMRMLPlotChartNode": "Charts",
    "vtkMRMLMarkupsNode": "Markups",
}


class SubjectHierarchyItems:
    """Keeps one item for each data node of a scene, as qSlicerSubjectHierarchyPluginLogic does.

    Items of single segments are not made; `segment_items` tells what would go wrong with them.
    """

    def __init__(self, scene: Any) -> None:
        self._scene = scene
        resolve = slicer.vtkMRMLSubjectHierarchyNode.ResolveSubjectHierarchy
        resolve(scene)
        scene.AddObserver(scene.NodeAddedEvent, self._on_node_added)
        scene.AddObserver(scene.NodeAboutToBeRemovedEvent, self._on_node_about_to_be_removed)
        # Before whatever else reacts to the end of an import, as in Slicer.
        scene.AddObserver(scene.EndImportEvent, lambda *_: self._add_missing(), 10.0)
        scene.AddObserver(scene.EndBatchProcessEvent, lambda *_: self._add_missing(), 10.0)
        scene.AddObserver(scene.EndCloseEvent, lambda *_: resolve(scene))

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_node_added(self, scene: Any, _event: str, node: Any) -> None:
        if node.IsA("vtkMRMLSubjectHierarchyNode"):
            slicer.vtkMRMLSubjectHierarchyNode.ResolveSubjectHierarchy(scene)
        elif not scene.IsImporting():
            self._add(node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_node_about_to_be_removed(self, scene: Any, _event: str, node: Any) -> None:
        if scene.IsClosing() or node.IsA("vtkMRMLSubjectHierarchyNode"):
            return
        hierarchy = scene.GetSubjectHierarchyNode()
        item = hierarchy.GetItemByDataNode(node)
        if item:
            hierarchy.RemoveItem(item, False, False)

    def _add_missing(self) -> None:
        slicer.vtkMRMLSubjectHierarchyNode.ResolveSubjectHierarchy(self._scene)
        for node_class in _OWNERS:
            nodes = self._scene.GetNodesByClass(node_class)
            for index in range(nodes.GetNumberOfItems()):
                self._add(nodes.GetItemAsObject(index))

    def _add(self, node: Any) -> None:
        owner = next((name for node_class, name in _OWNERS.items() if node.IsA(node_class)), None)
        hierarchy = self._scene.GetSubjectHierarchyNode()
        if owner and not node.GetHideFromEditors() and not hierarchy.GetItemByDataNode(node):
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), node, owner)
