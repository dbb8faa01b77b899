"""SCDSegmentation for 3D Slicer: segments volumes with a sparse-token vision transformer and shows where it looked."""

import sys
from pathlib import Path

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

from SCDSegmentationLib import sample_data
from SCDSegmentationLib.errors import inWords
from SCDSegmentationLib.panel import Panel
from SCDSegmentationLib.parameters import SCDSegmentationParameters
from SCDSegmentationLib.segmentations import Segmentations
from SCDSegmentationLib.self_test import SelfTest
from SCDSegmentationLib.uncaught_errors import UncaughtErrors


class SCDSegmentation(ScriptedLoadableModule):
    """What Slicer shows of the module."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "SCDSegmentation"
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["Segmentations", "Volumes", "Colors"]
        parent.contributors = ["The SCDSegmentation developers"]
        parent.helpText = _(
            "Segments volumes with a vision transformer that drops unimportant tokens on the way, and shows where it "
            "looked. Select a volume, a model and a keep ratio, and press Apply. For research use only."
        )
        parent.acknowledgementText = _(
            "The method is that of Zhou, Liu, Bae, He, Samaras, Prasanna: Token Sparsification for Faster Medical "
            "Image Segmentation, IPMI 2023."
        )
        slicer.app.connect("startupCompleted()", self._onStartupCompleted)

    def _onStartupCompleted(self):
        sample_data.register(Path(self.resourcePath("Icons/SCDSegmentation.png")))


class SCDSegmentationWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Connects the panel with Slicer's events."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None

    def setup(self):
        """Build the panel, once."""
        ScriptedLoadableModuleWidget.setup(self)
        self.uncaughtErrors = UncaughtErrors(self.onUncaughtError)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/SCDSegmentation.ui"))
        self.layout.addWidget(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = SCDSegmentationLogic()
        ui = slicer.util.childWidgetVariables(uiWidget)
        inspectionUi = self._loadSection("UI/TokenInspection.ui", ui.inspectionCollapsibleButton)
        explorerUi = self._loadSection("UI/KeepRatioExplorer.ui", ui.explorerCollapsibleButton)
        self.panel = Panel(ui, inspectionUi, explorerUi, self.logic)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndImport)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeAboutToBeRemovedEvent, self.onNodeAboutToBeRemoved)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeRemovedEvent, self.onNodeRemoved)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeAddedEvent, self.onNodeAdded)
        slicer.app.connect("aboutToQuit()", self.onQuit)
        self._showParameters()  # a reloaded module is open already

    def enter(self):
        """The user opened the module: show the state of the scene, and let the worker load its libraries."""
        self.panel.setParameters(self.logic.getParameterNode())
        if not self.panel.devices.known:
            self.logic.probe()

    def exit(self):
        """The user left the module: what runs goes on."""
        self.panel.setParameters(None)

    def cleanup(self):
        """The module is unloaded: leave no process behind."""
        self.uncaughtErrors.stop()
        self.removeObservers()
        slicer.app.disconnect("aboutToQuit()", self.onQuit)
        self.onQuit()
        self.logic.unfollowLog()
        self.panel.setParameters(None)

    def onQuit(self):
        """Leave no process and no file behind."""
        self.logic.stopWorker()
        self.panel.inspector.cancelExport()
        self.panel.explorer.discard()

    def onReload(self):
        """Also reload the module's library."""
        for name in [name for name in sys.modules if name.partition(".")[0] == "SCDSegmentationLib"]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def onSceneStartClose(self, caller, event):
        """Nodes are about to go."""
        self.logic.cancel("The scene was closed, so the segmentation was cancelled: load a volume to start anew.")
        self.panel.setParameters(None)
        self.panel.explorer.discard()

    def onSceneEndClose(self, caller, event):
        """The scene is empty."""
        self._showParameters()

    def onSceneEndImport(self, caller, event):
        """A scene was loaded, perhaps with a state of the panel."""
        self._showParameters()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeAboutToBeRemoved(self, caller, event, node):
        """What was made for a node goes with it."""
        self.panel.onNodeAboutToBeRemoved(node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeAdded(self, caller, event, node):
        """A node came into the scene, perhaps one that is not to be chosen."""
        self.panel.onNodeAdded(node)

    def onNodeRemoved(self, caller, event):
        """A node is gone; the panel and a run may have used it."""
        self.panel.onNodeRemoved()

    def onUncaughtError(self, error):
        """Nothing that fails stays in the console alone."""
        if self.panel is not None:
            self.panel.tellUncaught(error)
        else:
            slicer.util.errorDisplay(f"The panel could not be made: {inWords(error)}", windowTitle="SCDSegmentation")

    def _loadSection(self, name, parent):
        """Put the widgets of a file into a section of the panel; returns them by name."""
        widget = slicer.util.loadUI(self.resourcePath(name))
        parent.layout().addWidget(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        return slicer.util.childWidgetVariables(widget)

    def _showParameters(self):
        if self.parent.isEntered:
            self.enter()


class SCDSegmentationLogic(ScriptedLoadableModuleLogic, Segmentations):
    """What scripts use; see also :class:`SCDSegmentationLib.segmentations.Segmentations`.

    Example:
        >>> results = SCDSegmentationLogic().segment(volumeNode, keepRatio=0.25)
        >>> results.segmentation, results.importance, results.report
    """

    def __init__(self, worker=None):
        ScriptedLoadableModuleLogic.__init__(self)
        Segmentations.__init__(self, worker)

    def getParameterNode(self):
        """The panel's state in the scene, with typed members."""
        return SCDSegmentationParameters(ScriptedLoadableModuleLogic.getParameterNode(self))


class SCDSegmentationTest(SelfTest, ScriptedLoadableModuleTest):
    """Run by Slicer's Reload and Test, and by ``slicer_add_python_unittest``."""
