"""qMRMLNodeComboBox: choose a node of the scene."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import shiboken6
import vtk
from PySide6 import QtCore, QtGui, QtWidgets

from .node_filter import NodeFilter
from .node_rows import NodeRows, Row, actionRows


def _getter(name: str) -> Callable[[Any], Any]:
    return lambda self: self._options[name]


def _setter(name: str, kind: type) -> Callable[[Any, Any], None]:
    def setOption(self: Any, value: Any) -> None:
        self._options[name] = kind(value)
        self._sync()

    return setOption


class NodeComboBox(QtWidgets.QWidget):
    """Combo box with the scene's nodes of some classes, "None" before and actions after them.

    Two of Slicer's ways lose data if a module does not know them. When the current node leaves, a neighbour becomes the
    current one, "None" or not; and the signals of a change follow the shown text, so none comes between two nodes of
    one name, only `nodeActivated`.

    Checked against Slicer's Libs/MRML/Widgets/qMRMLNodeComboBox.h and .cxx, qMRMLSceneModel.cxx and
    qMRMLNodeFactory.cxx.
    """

    currentNodeChanged = QtCore.Signal(object)
    currentNodeIDChanged = QtCore.Signal(str)
    currentNodeRenamed = QtCore.Signal(str)
    nodeActivated = QtCore.Signal(object)
    nodeAdded = QtCore.Signal(object)
    nodeAddedByUser = QtCore.Signal(object)
    _validNodeChanged = QtCore.Signal(bool)
    vtkSignals = {  # noqa: RUF012
        "currentNodeChanged(vtkMRMLNode*)": "currentNodeChanged(PyObject)",
        "currentNodeChanged(bool)": "_validNodeChanged(bool)",
        "nodeActivated(vtkMRMLNode*)": "nodeActivated(PyObject)",
        "nodeAdded(vtkMRMLNode*)": "nodeAdded(PyObject)",
        "nodeAddedByUser(vtkMRMLNode*)": "nodeAddedByUser(PyObject)",
    }

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: Any = None
        self._sceneTags: list[int] = []
        self._nodeTags: dict[str, tuple[Any, int]] = {}
        self._listed: dict[str, tuple[str, bool]] = {}  # observed node → its name and whether it is listed
        self._requested = ""
        self._options = {
            "noneEnabled": False,
            "addEnabled": True,
            "removeEnabled": True,
            "editEnabled": False,
            "renameEnabled": False,
            "showHidden": False,
            "showChildNodeTypes": True,
            "selectNodeUponCreation": True,
            "noneDisplay": "None",
            "nodeTypes": [],
        }
        self._baseNames: dict[str, str] = {}
        self._typeLabels: dict[str, str] = {}
        self._leaving: set[str] = set()  # IDs of nodes that are about to be removed
        self._filter = NodeFilter(self._options, self)
        self._filter._changed.connect(self._sync)
        self._model = NodeRows(self)
        self._box = QtWidgets.QComboBox(self)
        self._box.setModel(self._model)
        self._box.setFocusProxy(self)
        policies = QtWidgets.QSizePolicy.Policy
        self._box.setSizePolicy(policies.Expanding, policies.Expanding)
        self.setSizePolicy(policies.Preferred, policies.Fixed)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._box)
        self._box.currentTextChanged.connect(self._emitCurrent)
        self._box.activated.connect(self._emitActivated)
        self._box.view().clicked.connect(self._runAction)
        self.setEnabled(False)

    # The scene

    def mrmlScene(self) -> Any:
        """Return the scene, None if there is none."""
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        """Show the nodes of a scene; without a "None" entry the first one is selected."""
        if scene is self._scene:
            return
        previous = self._currentNodeID() if self.nodeCount() else self._requested
        for tag in self._sceneTags:
            self._scene.RemoveObserver(tag)
        self._scene, self._sceneTags = scene, []
        if scene is not None:
            events = ("NodeAddedEvent", "NodeRemovedEvent", "EndBatchProcessEvent")
            self._sceneTags = [
                scene.AddObserver(getattr(scene, event), self._weakly("_onSceneEvent")) for event in events
            ]
            # After those that have no priority of their own: they see the combo box as it was.
            leave = vtk.calldata_type(vtk.VTK_OBJECT)(self._weakly("_onNodeLeaving"))
            self._sceneTags.append(scene.AddObserver(scene.NodeAboutToBeRemovedEvent, leave, -10.0))
        with QtCore.QSignalBlocker(self._box):
            self._sync()
            self._box.setCurrentIndex(-1)
        self._requested = ""
        first = self.nodeFromIndex(0)
        if not previous and not self._options["noneEnabled"] and first is not None:
            previous = first.GetID()
        self.setCurrentNodeID(previous)
        self.setEnabled(scene is not None)

    def _weakly(self, method: str) -> Callable[..., None]:
        # The scene outlives the widget: its observers must not keep the widget alive.
        reference = weakref.ref(self)

        def call(caller: Any, _event: str, data: Any = None) -> None:
            widget = reference()
            if widget is not None and shiboken6.isValid(widget):
                getattr(widget, method)(caller if data is None else data)

        return call

    def _onSceneEvent(self, scene: Any) -> None:
        self._leaving = {nodeID for nodeID in self._leaving if scene.GetNodeByID(nodeID) is not None}
        self._sync()

    def _onNodeLeaving(self, node: Any) -> None:
        self._leaving.add(node.GetID())
        self._sync()

    def _onNodeModified(self, node: Any) -> None:
        # Most changes of a node are none of its name or visibility, and come often.
        if self._listed.get(node.GetID()) != (node.GetName(), self._filter._accepts(node)):
            self._sync()

    def _sync(self) -> None:
        """Make the rows follow the scene, the current row staying current as Qt does it."""
        scene = self._scene
        if scene is not None and (scene.IsImporting() or scene.IsClosing()):
            return
        nodes = [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())] if scene is not None else []
        nodes = [node for node in nodes if node.GetID() not in self._leaving]
        self._observe([node for node in nodes if any(node.IsA(kind) for kind in self._options["nodeTypes"])])
        states = {
            nodeID: (node.GetName() or "", self._filter._accepts(node)) for nodeID, (node, _) in self._nodeTags.items()
        }
        wanted = [Row(states[node.GetID()][0], node.GetID()) for node in nodes if states.get(node.GetID(), ("", 0))[1]]
        rows = ([Row(self._options["noneDisplay"])] if self._options["noneEnabled"] else []) + wanted
        known = {row.nodeID for row in self._model.rows()}
        added = [row.nodeID for row in wanted if row.nodeID not in known]
        self._listed = states
        wasEmpty = self.nodeCount() == 0
        self._box.setPlaceholderText(f"Select a {self.nodeTypeLabel(next(iter(self._options['nodeTypes']), ''))}")
        self._updateRows(rows + self._actionRows())
        if self._current() is None:
            self.setCurrentNodeID("")
        if wasEmpty and wanted and self._box.currentIndex() < 0 and self._model.rowCount() == len(wanted):
            self._box.setCurrentIndex(0)
        for nodeID in added:
            self.nodeAdded.emit(scene.GetNodeByID(nodeID))

    def _updateRows(self, rows: list[Row]) -> None:
        self._model.removeOthers(rows)
        if self._box.currentIndex() >= 0:
            self._model.insertMissing(rows)
            return
        with QtCore.QSignalBlocker(self._box):
            self._model.insertMissing(rows)
            # Qt selects the first row of an empty box; in Slicer the box holds the scene's item then.
            self._box.setCurrentIndex(0 if self._options["noneEnabled"] else -1)

    def _observe(self, nodes: list[Any]) -> None:
        current = {node.GetID(): node for node in nodes}
        for nodeID in [nodeID for nodeID in self._nodeTags if nodeID not in current]:
            node, tag = self._nodeTags.pop(nodeID)
            node.RemoveObserver(tag)
        for nodeID, node in current.items():
            if nodeID not in self._nodeTags:
                self._nodeTags[nodeID] = (node, node.AddObserver("ModifiedEvent", self._weakly("_onNodeModified")))

    # The entries before and after the nodes

    def _actionRows(self) -> list[Row]:
        if self._scene is None:
            return []
        types = self._options["nodeTypes"]
        label = self.nodeTypeLabel(types[0] if len(types) == 1 else "")
        return actionRows(label, {kind: self.nodeTypeLabel(kind) for kind in types}, self._options)

    def _runAction(self, index: QtCore.QModelIndex) -> None:
        action = self._model.rowAt(index.row()).action
        if action in ("", "separator"):
            return
        self._box.hidePopup()
        run = {"delete": self.removeCurrentNode, "rename": self.renameCurrentNode, "edit": self.editCurrentNode}
        if action in run:
            run[action]()
            return
        nodeType = action.split()[-1]
        name = self._askName(f"Create new {self.nodeTypeLabel(nodeType)}", "") if " as " in action else None
        if name == "":  # the dialog was cancelled
            return
        node = self.addNode(nodeType)
        self.setCurrentNode(node)
        if name:
            node.SetName(name)

    def _askName(self, title: str, name: str) -> str:
        text, accepted = QtWidgets.QInputDialog.getText(self, title, "New name:", text=name)
        return text if accepted else ""

    def _current(self) -> Any:
        nodeID = self._model.rowAt(self._box.currentIndex()).nodeID
        return self._scene.GetNodeByID(nodeID) if nodeID and self._scene is not None else None

    def _emitCurrent(self, *_: Any) -> None:
        node = self._current()
        if node is None and self._box.currentIndex() != (0 if self._options["noneEnabled"] else -1):
            # The row of an action became the current one, as the last node above it left.
            self.setCurrentNode(self.nodeFromIndex(self.nodeCount() - 1))
            return
        self.currentNodeChanged.emit(node)
        self._validNodeChanged.emit(node is not None)
        self.currentNodeIDChanged.emit(self._currentNodeID())

    def _emitActivated(self, row: int) -> None:
        if not self._model.rowAt(row).action:
            self.nodeActivated.emit(self._current())

    # The chosen node

    def currentNode(self) -> Any:
        """Return the selected node, None if there is none."""
        return self._current()

    def _currentNodeID(self) -> str:
        node = self._current()
        return node.GetID() if node is not None else ""

    def setCurrentNode(self, node: Any) -> None:
        """Select a node; None, or a node that is not listed, selects "None" or nothing."""
        self.setCurrentNodeID(node.GetID() if node is not None else "")

    def setCurrentNodeID(self, nodeID: str | None) -> None:
        """Select a node by its ID; before there is a scene it is remembered."""
        if self._scene is None:
            self._requested = nodeID or ""
            return
        for index, row in enumerate(self._model.rows()):
            if nodeID and row.nodeID == nodeID:
                self._pressEnter(self._model.index(index, 0))
                return
        self._box.view().setCurrentIndex(self._model.index(0 if self._options["noneEnabled"] else -1, 0))
        self._box.setCurrentIndex(0 if self._options["noneEnabled"] else -1)

    def _pressEnter(self, row: QtCore.QModelIndex) -> None:
        """Choose a row in the list as the user does: `nodeActivated` comes, too."""
        view = self._box.view()
        if view.currentIndex() != row:
            view.setCurrentIndex(row)
            kind, key = QtCore.QEvent.Type.ShortcutOverride, QtCore.Qt.Key.Key_Enter
            QtWidgets.QApplication.sendEvent(view, QtGui.QKeyEvent(kind, key, QtCore.Qt.KeyboardModifier.NoModifier))

    def setCurrentNodeIndex(self, index: int) -> None:
        """Select the nth node."""
        index = index if index < self.nodeCount() else -1
        self._box.setCurrentIndex(index + 1 if self._options["noneEnabled"] else index)

    def nodeCount(self) -> int:
        """Return how many nodes are listed."""
        return sum(bool(row.nodeID) for row in self._model.rows())

    def nodeFromIndex(self, index: int) -> Any:
        """Return the nth node, None if there are fewer."""
        nodeID = self._model.rowAt(index + 1 if self._options["noneEnabled"] else index).nodeID if index >= 0 else ""
        return self._scene.GetNodeByID(nodeID) if nodeID else None

    # What the entries after the nodes do

    def addNode(self, nodeType: str | None = None) -> Any:
        """Create a node of one of the node types, by default the first, and return it."""
        types = self._options["nodeTypes"]
        nodeType = nodeType or (types[0] if types else None)
        if nodeType not in types or self._scene is None:
            return None
        node = self._scene.CreateNodeByClass(nodeType)
        node.UnRegister(None)
        baseName = self._baseNames.get(nodeType) or ("" if node.GetName() else node.GetDefaultNodeNamePrefix())
        if baseName:
            node.SetName(self._scene.GetUniqueNameByString(baseName))
        for name, value in self._filter._attributes.values():
            node.SetAttribute(name, value or "")
        node = self._scene.AddNode(node)
        if self._options["selectNodeUponCreation"]:
            self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node

    def removeCurrentNode(self) -> None:
        """Remove the selected node from the scene."""
        self._scene.RemoveNode(self._current())

    def renameCurrentNode(self) -> None:
        """Ask for a new name of the selected node."""
        node = self._current()
        if node is None:
            return
        name = self._askName(f"Rename {self.nodeTypeLabel(node.GetClassName())}", node.GetName())
        if name:
            node.SetName(name)
            self.currentNodeRenamed.emit(name)

    def editCurrentNode(self) -> None:
        """Ask the application to show the node's module, as Slicer does through the interaction node."""
        interaction = self._scene.GetSingletonNode("Singleton", "vtkMRMLInteractionNode")
        if interaction is not None:
            interaction.EditNode(self._current())

    # Properties

    def sortFilterProxyModel(self) -> NodeFilter:
        """Return what decides which nodes are listed."""
        return self._filter

    def addAttribute(self, nodeType: str, attributeName: str, attributeValue: object = None) -> None:
        """List only nodes of a type that have an attribute, with this value if one is given."""
        value = None if attributeValue is None else str(attributeValue)
        self._filter._attributes[nodeType] = (attributeName, value)
        self._sync()

    def removeAttribute(self, nodeType: str, attributeName: str) -> None:
        """Take back `addAttribute`."""
        if self._filter._attributes.get(nodeType, ("",))[0] == attributeName:
            del self._filter._attributes[nodeType]
            self._sync()

    def nodeTypeLabel(self, nodeType: str) -> str:
        """Return what a node type is called in the entries."""
        label = self._typeLabels.get(nodeType)
        if not label and self._scene is not None:
            label = self._scene.GetTypeDisplayNameByClassName(nodeType)
        return label or "node"

    def setNodeTypeLabel(self, label: str, nodeType: str) -> None:
        """Set what a node type is called in the entries."""
        self._typeLabels[nodeType] = label
        self._sync()

    def _setBaseName(self, baseName: str, nodeType: str = "") -> None:
        for kind in [nodeType] if nodeType else self._options["nodeTypes"]:
            self._baseNames[kind] = baseName

    def _baseName(self) -> str:
        types = self._options["nodeTypes"]
        return self._baseNames.get(types[0], "") if types else ""

    def _setNodeTypes(self, nodeTypes: list[str]) -> None:
        self._options["nodeTypes"] = [kind for kind in nodeTypes if kind]
        self._sync()

    _setNoneEnabled = _setter("noneEnabled", bool)
    _setAddEnabled = _setter("addEnabled", bool)
    _setRemoveEnabled = _setter("removeEnabled", bool)
    _setEditEnabled = _setter("editEnabled", bool)
    _setRenameEnabled = _setter("renameEnabled", bool)
    _setShowHidden = _setter("showHidden", bool)
    _setShowChildNodeTypes = _setter("showChildNodeTypes", bool)
    _setSelectNodeUponCreation = _setter("selectNodeUponCreation", bool)
    _setNoneDisplay = _setter("noneDisplay", str)

    nodeTypes = QtCore.Property("QStringList", _getter("nodeTypes"), _setNodeTypes)
    noneEnabled = QtCore.Property(bool, _getter("noneEnabled"), _setNoneEnabled)
    addEnabled = QtCore.Property(bool, _getter("addEnabled"), _setAddEnabled)
    removeEnabled = QtCore.Property(bool, _getter("removeEnabled"), _setRemoveEnabled)
    editEnabled = QtCore.Property(bool, _getter("editEnabled"), _setEditEnabled)
    renameEnabled = QtCore.Property(bool, _getter("renameEnabled"), _setRenameEnabled)
    showHidden = QtCore.Property(bool, _getter("showHidden"), _setShowHidden)
    showChildNodeTypes = QtCore.Property(bool, _getter("showChildNodeTypes"), _setShowChildNodeTypes)
    selectNodeUponCreation = QtCore.Property(bool, _getter("selectNodeUponCreation"), _setSelectNodeUponCreation)
    noneDisplay = QtCore.Property(str, _getter("noneDisplay"), _setNoneDisplay)
    baseName = QtCore.Property(str, _baseName, _setBaseName)
    currentNodeID = QtCore.Property(str, _currentNodeID, setCurrentNodeID, notify=currentNodeIDChanged)
