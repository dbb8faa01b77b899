"""qMRMLNodeComboBox: choose a node of the scene."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import shiboken6
from PySide6 import QtCore, QtGui, QtWidgets

_NODE_ID = QtCore.Qt.ItemDataRole.UserRole
_ACTION = QtCore.Qt.ItemDataRole.UserRole + 1


def _getter(name: str) -> Callable[[Any], Any]:
    return lambda self: self._options[name]


def _setter(name: str, kind: type) -> Callable[[Any, Any], None]:
    def setOption(self: Any, value: Any) -> None:
        self._options[name] = kind(value)
        self._sync()

    return setOption


class NodeComboBox(QtWidgets.QWidget):
    """Combo box with the scene's nodes of some classes, "None" before and actions after them.

    Checked against Slicer's Libs/MRML/Widgets/qMRMLNodeComboBox.h and .cxx, qMRMLSortFilterProxyModel.cxx and
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
        self._requested = ""
        self._shown: str | None = None
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
        self._attributes: dict[str, tuple[str, str | None]] = {}
        self._model = QtGui.QStandardItemModel(self)
        self._box = QtWidgets.QComboBox(self)
        self._box.setModel(self._model)
        self._box.setFocusProxy(self)
        policies = QtWidgets.QSizePolicy.Policy
        self._box.setSizePolicy(policies.Expanding, policies.Expanding)
        self.setSizePolicy(policies.Preferred, policies.Fixed)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._box)
        self._box.currentIndexChanged.connect(self._emitCurrent)
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
            self._sceneTags = [scene.AddObserver(getattr(scene, event), self._weakly("_sync")) for event in events]
        self._sync(select=False)
        self._requested = ""
        first = self.nodeFromIndex(0)
        if not previous and not self._options["noneEnabled"] and first is not None:
            previous = first.GetID()
        self.setCurrentNodeID(previous)
        self.setEnabled(scene is not None)

    def _weakly(self, method: str) -> Callable[..., None]:
        # The scene outlives the widget: its observers must not keep the widget alive.
        reference = weakref.ref(self)

        def call(*_: Any) -> None:
            widget = reference()
            if widget is not None and shiboken6.isValid(widget):
                getattr(widget, method)()

        return call

    def _accepts(self, node: Any) -> bool:
        if node.GetHideFromEditors() and not self._options["showHidden"]:
            return False
        for nodeType in self._options["nodeTypes"]:
            if node.GetClassName() == nodeType or (self._options["showChildNodeTypes"] and node.IsA(nodeType)):
                name, value = self._attributes.get(nodeType, (None, None))
                if name is None or (node.GetAttribute(name) is not None and value in (None, node.GetAttribute(name))):
                    return True
        return False

    def _sync(self, select: bool = True) -> None:
        """Make the rows follow the scene, the current row staying current as Qt does it."""
        if self._scene is not None and self._scene.IsBatchProcessing():
            return
        nodes = (
            [] if self._scene is None else [self._scene.GetNthNode(i) for i in range(self._scene.GetNumberOfNodes())]
        )
        self._observe([node for node in nodes if any(node.IsA(kind) for kind in self._options["nodeTypes"])])
        wanted = [(node.GetID(), node.GetName(), None) for node in nodes if self._accepts(node)]
        rows = ([("", self._options["noneDisplay"], None)] if self._options["noneEnabled"] else []) + wanted
        wasEmpty = self.nodeCount() == 0
        known = {self._rowKey(row) for row in range(self._model.rowCount())}
        added = [row[0] for row in wanted if row[0] not in known]
        self._updateRows(rows + self._actionRows())
        if self._current() is None and self._box.currentIndex() > 0:
            self.setCurrentNodeID("")
        if select and wasEmpty and wanted and self._box.currentIndex() < 0 and self._model.rowCount() == len(wanted):
            self._box.setCurrentIndex(0)
        for nodeID in added:
            self.nodeAdded.emit(self._scene.GetNodeByID(nodeID))

    def _observe(self, nodes: list[Any]) -> None:
        current = {node.GetID(): node for node in nodes}
        for nodeID in [nodeID for nodeID in self._nodeTags if nodeID not in current]:
            node, tag = self._nodeTags.pop(nodeID)
            node.RemoveObserver(tag)
        for nodeID, node in current.items():
            if nodeID not in self._nodeTags:
                self._nodeTags[nodeID] = (node, node.AddObserver("ModifiedEvent", self._weakly("_sync")))

    # Rows: node rows have an ID, "None" an empty one, actions have a name

    def _rowKey(self, row: int) -> str:
        item = self._model.item(row)
        return item.data(_NODE_ID) if item.data(_ACTION) is None else f"action {item.data(_ACTION)} {item.text()}"

    def _updateRows(self, rows: list[tuple[str, str, str | None]]) -> None:
        keys = [nodeID if action is None else f"action {action} {text}" for nodeID, text, action in rows]
        for row in reversed(range(self._model.rowCount())):
            if self._rowKey(row) not in keys:
                self._model.removeRow(row)
        for row, (nodeID, text, action) in enumerate(rows):
            if row >= self._model.rowCount() or self._rowKey(row) != keys[row]:
                index = self._box.currentIndex()
                self._model.insertRow(row, self._item(nodeID, text, action))
                if index < 0:  # Qt selects the first row of an empty box; Slicer's box holds the scene's item then
                    self._box.setCurrentIndex(-1)
            elif self._model.item(row).text() != text:
                self._model.item(row).setText(text)

    @staticmethod
    def _item(nodeID: str, text: str, action: str | None) -> QtGui.QStandardItem:
        item = QtGui.QStandardItem(text)
        item.setData(nodeID, _NODE_ID)
        if action is not None:
            item.setData(action, _ACTION)
            item.setFlags(QtCore.Qt.ItemFlag.ItemIsEnabled)
            if action == "separator":
                item.setData("separator", QtCore.Qt.ItemDataRole.AccessibleDescriptionRole)
        return item

    def _actionRows(self) -> list[tuple[str, str, str | None]]:
        if self._scene is None:
            return []
        types = self._options["nodeTypes"]
        label = self.nodeTypeLabel(types[0] if len(types) == 1 else "")
        rows: list[tuple[str, str, str | None]] = []
        if self._options["renameEnabled"]:
            rows.append(("", f"Rename current {label}", "rename"))
        if self._options["editEnabled"]:
            rows.append(("", f"Edit current {label}", "edit"))
        if self._options["addEnabled"]:
            for nodeType in types:
                rows.append(("", f"Create new {self.nodeTypeLabel(nodeType)}", f"create {nodeType}"))
                if self._options["renameEnabled"]:
                    rows.append(("", f"Create new {self.nodeTypeLabel(nodeType)} as...", f"create as {nodeType}"))
        if self._options["removeEnabled"]:
            rows.append(("", f"Delete current {label}", "delete"))
        return [("", "", "separator"), *rows] if rows else []

    def _runAction(self, index: QtCore.QModelIndex) -> None:
        action = self._model.itemFromIndex(index).data(_ACTION)
        if action is None or action == "separator":
            return
        self._box.hidePopup()
        if action == "delete":
            self.removeCurrentNode()
        elif action == "rename":
            self.renameCurrentNode()
        elif action == "edit":
            self.editCurrentNode()
        else:
            nodeType = action.split()[-1]
            name = self._askName(f"Create new {self.nodeTypeLabel(nodeType)}", "") if " as " in action else None
            if name != "":
                node = self.addNode(nodeType)
                self.setCurrentNode(node)
                if name:
                    node.SetName(name)

    def _askName(self, title: str, name: str) -> str:
        text, accepted = QtWidgets.QInputDialog.getText(self, title, "New name:", text=name)
        return text if accepted else ""

    def _current(self) -> Any:
        item = self._model.item(self._box.currentIndex()) if self._box.currentIndex() >= 0 else None
        nodeID = item.data(_NODE_ID) if item is not None else ""
        return self._scene.GetNodeByID(nodeID) if nodeID and self._scene is not None else None

    def _emitCurrent(self, *_: Any) -> None:
        node = self._current()
        self.currentNodeChanged.emit(node)
        self._validNodeChanged.emit(node is not None)
        self.currentNodeIDChanged.emit(self._currentNodeID())

    def _emitActivated(self, row: int) -> None:
        if self._model.item(row).data(_ACTION) is None:
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
        for row in range(self._model.rowCount()):
            if nodeID and self._rowKey(row) == nodeID:
                self._box.setCurrentIndex(row)
                return
        self._box.setCurrentIndex(0 if self._options["noneEnabled"] else -1)

    def setCurrentNodeIndex(self, index: int) -> None:
        """Select the nth node."""
        index = index if index < self.nodeCount() else -1
        self._box.setCurrentIndex(index + 1 if self._options["noneEnabled"] else index)

    def nodeCount(self) -> int:
        """Return how many nodes are listed."""
        rows = range(self._model.rowCount())
        return sum(bool(self._model.item(row).data(_NODE_ID)) for row in rows)

    def nodeFromIndex(self, index: int) -> Any:
        """Return the nth node, None if there are fewer."""
        item = self._model.item(index + 1 if self._options["noneEnabled"] else index)
        nodeID = item.data(_NODE_ID) if item is not None and index >= 0 else ""
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
        for name, value in self._attributes.values():
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

    def addAttribute(self, nodeType: str, attributeName: str, attributeValue: object = None) -> None:
        """List only nodes of a type that have an attribute, with this value if one is given."""
        value = None if attributeValue is None else str(attributeValue)
        self._attributes[nodeType] = (attributeName, value)
        self._sync()

    def removeAttribute(self, nodeType: str, attributeName: str) -> None:
        """Take back `addAttribute`."""
        if self._attributes.get(nodeType, ("",))[0] == attributeName:
            del self._attributes[nodeType]
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
