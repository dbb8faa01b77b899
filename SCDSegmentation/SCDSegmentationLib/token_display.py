"""How token maps look in the slice views: colours, ranges and what of them is shown. No map is copied for it."""

from __future__ import annotations

import slicer

from SCDSegmentationLib.parameters import (
    COLOR_TABLES,
    GREYED,
    IMPORTANCE_MAP,
    INFLUENCE_MAP,
    KEPT,
    STAGES,
    SURVIVAL_MAP,
)
from SCDSegmentationLib.token_maps import OWNED_PREFIX, TokenMaps

_STAGE_COLORS = f"{OWNED_PREFIX}stageColors"
_GREY = "Grey"
_DARK = 0.25  # of the grey over pruned tokens: 0 is black
_LEGEND_TITLES = {IMPORTANCE_MAP: "importance", SURVIVAL_MAP: "survival", INFLUENCE_MAP: "influence"}


def prepareDisplay(maps: TokenMaps) -> None:
    """Display nodes of new maps: one square a token, as interpolation would invent values between them."""
    for node in (maps.importance, maps.survival, maps.stage):
        if node.GetVolumeDisplayNode() is None:
            node.CreateDefaultDisplayNodes()
        node.GetVolumeDisplayNode().SetInterpolate(0)
    for choice in (IMPORTANCE_MAP, SURVIVAL_MAP, STAGES):
        showAs(maps, choice, len(maps.pruneAfter), 0.0, COLOR_TABLES[0])


def shownNode(maps: TokenMaps | None, choice: str) -> slicer.vtkMRMLScalarVolumeNode | None:
    """The volume that a choice of the panel shows; None if it is not in the scene."""
    if maps is None:
        return None
    own = {IMPORTANCE_MAP: maps.importance, SURVIVAL_MAP: maps.survival, INFLUENCE_MAP: maps.influence}
    return own.get(choice, maps.stage)


def usesThreshold(choice: str) -> bool:
    """Whether a choice has values that a threshold can be set for; the others go by stages."""
    return choice in (IMPORTANCE_MAP, SURVIVAL_MAP, INFLUENCE_MAP)


def layerOpacity(choice: str, opacity: float) -> float:
    """Opacity of the layer for the opacity that the user chose: grey must cover more than colours do to be seen."""
    return 1 - (1 - opacity) ** 2 if choice == GREYED else opacity


def showAs(maps: TokenMaps, choice: str, stage: int, threshold: float, colors: str) -> None:
    """Set how the volume of a choice looks.

    Args:
        maps: of a run.
        choice: one of :data:`SCDSegmentationLib.parameters.TOKEN_MAP_CHOICES`.
        stage: tokens kept after this stage are what ``KEPT`` shows, those pruned up to it what ``GREYED`` covers.
        threshold: importance, influence or survival below which tokens are not shown, 0…1.
        colors: one of :data:`SCDSegmentationLib.parameters.COLOR_TABLES`.
    """
    node = shownNode(maps, choice)
    if node is None or node.GetVolumeDisplayNode() is None:
        return
    display = node.GetVolumeDisplayNode()
    stage = min(stage, len(maps.pruneAfter))
    last = len(maps.pruneAfter) + 1
    with slicer.util.NodeModify(display):
        display.AutoWindowLevelOff()
        if usesThreshold(choice):
            display.SetAndObserveColorNodeID(_colorTableId(colors))
            display.SetWindowLevelMinMax(0.0, 1.0)
            _setShownRange(display, threshold, 1.0, threshold > 0)
        elif choice == GREYED:
            display.SetAndObserveColorNodeID(_colorTableId(_GREY))
            # So wide that every stage falls on one grey, a dark one, against which what was kept stands out.
            window = 1000.0 * last
            display.SetWindowLevel(window, last / 2 + (0.5 - _DARK) * window)
            _setShownRange(display, 1, stage, True)
        else:
            display.SetAndObserveColorNodeID(_stageColors(maps, colors).GetID())
            display.SetWindowLevelMinMax(0.0, float(last))
            _setShownRange(display, stage + 1, last, choice == KEPT)


def colorNode(maps: TokenMaps, byStage: bool, colors: str) -> slicer.vtkMRMLColorNode:
    """The table that gives stages, or importance and survival, their colours."""
    return _stageColors(maps, colors) if byStage else slicer.mrmlScene.GetNodeByID(_colorTableId(colors))


def stageColors(maps: TokenMaps, colors: str) -> list[tuple[float, float, float]]:
    """Red, green and blue, 0…1, of the stage values 1…S + 1: equal steps through a colour table."""
    table = slicer.mrmlScene.GetNodeByID(_colorTableId(colors))
    count = len(maps.pruneAfter) + 1
    found = []
    for number in range(count):
        # Neither end: the darkest colour would vanish on a dark image, and the brightest on a bright one.
        position = 0.15 + 0.75 * number / max(count - 1, 1)
        color = [0.0] * 4
        table.GetColor(round(position * (table.GetNumberOfColors() - 1)), color)
        found.append((color[0], color[1], color[2]))
    return found


def setLegend(maps: TokenMaps, choice: str, visible: bool) -> None:
    """Show the colour legend of a choice, whose volume is in the views already, and hide those of the others."""
    shown = shownNode(maps, choice) if visible and choice != GREYED else None
    for node in maps.nodes:
        _setLegend(node, node is shown, _LEGEND_TITLES.get(choice, "tokens"))


def hideLegends(maps: TokenMaps) -> None:
    """Show no colour legend of these maps."""
    for node in maps.nodes:
        _setLegend(node, False, "")


def _setLegend(node: slicer.vtkMRMLScalarVolumeNode, visible: bool, title: str) -> None:
    logic = slicer.modules.colors.logic()
    legend = logic.GetColorLegendDisplayNode(node)
    if legend is None:
        if not visible:
            return
        legend = logic.AddDefaultColorLegendDisplayNode(node)
    with slicer.util.NodeModify(legend):
        if visible:
            names = node.GetVolumeDisplayNode().GetColorNode().GetType() == slicer.vtkMRMLColorTableNode.User
            legend.SetTitleText(title)
            legend.SetUseColorNamesForLabels(names)
            if names:
                legend.SetLabelFormat("%s")
            else:
                legend.SetNumberOfLabels(3)  # 0, 0.5 and 1, which one decimal can tell
            legend.SetSize(0.28 if names else 0.1, 0.3)  # of the view; its text scales with it
        legend.SetVisibility(visible)
    if visible:
        legend.Modified()  # views look only then whether they show the volume


def _setShownRange(display: slicer.vtkMRMLScalarVolumeDisplayNode, low: float, high: float, apply: bool) -> None:
    display.SetThreshold(low, high)
    # A node that was read from a file says that its threshold applies, but begins to apply it only on a change.
    display.SetApplyThreshold(not apply)
    display.SetApplyThreshold(apply)


def _colorTableId(name: str) -> str:
    return "vtkMRMLColorTableNodeGrey" if name == _GREY else f"vtkMRMLColorTableNodeFile{name}.txt"


def _stageColors(maps: TokenMaps, colors: str) -> slicer.vtkMRMLColorTableNode:
    """A colour table with the stages' names, made for the stage map and kept with it."""
    node = maps.stage.GetNodeReference(_STAGE_COLORS)
    if node is None:
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", f"{maps.stage.GetName()} colors")
        node.SetTypeToUser()
        node.SetAttribute("Category", "SCDSegmentation")
        maps.stage.SetNodeReferenceID(_STAGE_COLORS, node.GetID())
    with slicer.util.NodeModify(node):
        count = len(maps.pruneAfter) + 2
        node.SetNumberOfColors(count)
        for stage, color in enumerate(stageColors(maps, colors), start=1):
            node.SetColor(stage, maps.stageName(stage), *color, 1.0)
        node.GetLookupTable().SetTableRange(0, count - 1)
    return node
