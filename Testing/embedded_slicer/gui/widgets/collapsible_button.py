"""ctkCollapsibleButton: a section of a panel that folds."""

from __future__ import annotations

from PySide6 import QtCore, QtGui, QtWidgets

_UNLIMITED = 16777215  # Qt's largest widget height
_INDICATOR = 9  # pixels


class CollapsibleButton(QtWidgets.QAbstractButton):
    """Button over the full width with the section's contents below; a click hides or shows them.

    Checked against CTK's Libs/Widgets/ctkCollapsibleButton.h and .cpp.
    """

    contentsCollapsed = QtCore.Signal(bool)

    def __init__(self, *arguments: object) -> None:
        text = arguments[0] if arguments and isinstance(arguments[0], str) else None
        parent = next((argument for argument in arguments if isinstance(argument, QtWidgets.QWidget)), None)
        super().__init__(parent)
        self._collapsed, self._collapsedHeight, self._showing = False, 14, False
        self._contents: dict[QtWidgets.QWidget, bool] = {}  # child → whether the module wants it shown
        self.setCheckable(True)
        self.setChecked(True)
        policies = QtWidgets.QSizePolicy.Policy
        self.setSizePolicy(policies.Minimum, policies.Preferred)
        self.setContentsMargins(0, self._buttonHeight(), 0, 0)
        self.setBackgroundRole(QtGui.QPalette.ColorRole.Window)
        self.toggled.connect(lambda checked: self._collapse(not checked))
        if text is not None:
            self.setText(text)

    def _buttonHeight(self) -> int:
        return self.fontMetrics().height() + 10

    def _collapse(self, collapsed: bool) -> None:
        if collapsed == self._collapsed:
            return
        self._collapsed = collapsed
        self.setMaximumHeight(self._buttonHeight() + self._collapsedHeight if collapsed else _UNLIMITED)
        self._showContents()
        self.updateGeometry()
        self.update()
        self.contentsCollapsed.emit(collapsed)

    def _showContents(self) -> None:
        """Show the children, unless folded; what the module has hidden itself stays hidden."""
        explicit = QtCore.Qt.WidgetAttribute.WA_WState_ExplicitShowHide
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget) and child not in self._contents:
                self._contents[child] = not (child.isHidden() and child.testAttribute(explicit))
                child.installEventFilter(self)
                child.destroyed.connect(lambda *_, child=child: self._contents.pop(child, None))
        self._showing = True
        for child, wanted in self._contents.items():
            if child.isHidden() == (wanted and not self._collapsed):
                child.setVisible(wanted and not self._collapsed)
                child.setAttribute(explicit, not wanted)
        self._showing = False

    def eventFilter(self, child: QtCore.QObject, event: QtCore.QEvent) -> bool:
        """Note which children the module shows and hides."""
        shown = event.type() == QtCore.QEvent.Type.ShowToParent
        hidden = event.type() == QtCore.QEvent.Type.HideToParent
        if (shown or hidden) and child in self._contents and not self._showing:
            self._contents[child] = shown
            self._showContents()
        return super().eventFilter(child, event)

    def event(self, event: QtCore.QEvent) -> bool:
        """Take up children that came since; their own events come before they are complete."""
        if event.type() in (QtCore.QEvent.Type.LayoutRequest, QtCore.QEvent.Type.Show, QtCore.QEvent.Type.Polish):
            self._showContents()
        return super().event(event)

    def _setCollapsed(self, collapsed: bool) -> None:
        self.setChecked(not collapsed)

    def _setCollapsedHeight(self, height: int) -> None:
        self._collapsedHeight = height
        self.updateGeometry()

    def hitButton(self, position: QtCore.QPoint) -> bool:
        """Only the title row is clicked, not the contents."""
        return 0 <= position.y() <= self._buttonHeight() and 0 <= position.x() <= self.width()

    def sizeHint(self) -> QtCore.QSize:
        """Size of the title row and, unless folded, the contents."""
        return self._size(None if self._collapsed or self.layout() is None else self.layout().totalSizeHint())

    def minimumSizeHint(self) -> QtCore.QSize:
        """Least size of the title row and, unless folded, the contents."""
        return self._size(None if self._collapsed or self.layout() is None else self.layout().totalMinimumSize())

    def _size(self, contents: QtCore.QSize | None) -> QtCore.QSize:
        title = QtCore.QSize(
            self.fontMetrics().horizontalAdvance(self.text()) + _INDICATOR + 24,
            self._buttonHeight() + (self._collapsedHeight if self._collapsed else 0),
        )
        return title if contents is None else title.expandedTo(contents)

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        """Draw the title row: indicator and text on a raised bar."""
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        palette = self.palette()
        bar = QtCore.QRectF(0.5, 0.5, self.width() - 1, self._buttonHeight() - 4)
        painter.setPen(palette.color(QtGui.QPalette.ColorRole.Mid))
        painter.setBrush(palette.color(QtGui.QPalette.ColorRole.Button))
        painter.drawRoundedRect(bar, 2, 2)
        role = QtGui.QPalette.ColorRole.ButtonText
        group = QtGui.QPalette.ColorGroup.Active if self.isEnabled() else QtGui.QPalette.ColorGroup.Disabled
        colour = palette.color(group, role)
        painter.setPen(colour)
        centre = QtCore.QPointF(13, bar.center().y())
        corners = [(-4, -2), (4, -2), (0, 3)] if not self._collapsed else [(-2, -4), (-2, 4), (3, 0)]
        painter.setBrush(colour)
        painter.drawPolygon(QtGui.QPolygonF([centre + QtCore.QPointF(*corner) for corner in corners]))
        alignment = QtCore.Qt.AlignmentFlag.AlignLeft | QtCore.Qt.AlignmentFlag.AlignVCenter
        painter.drawText(bar.adjusted(24, 0, -4, 0), alignment, self.text())
        painter.end()

    collapsed = QtCore.Property(bool, lambda self: self._collapsed, _setCollapsed, notify=contentsCollapsed)
    collapsedHeight = QtCore.Property(int, lambda self: self._collapsedHeight, _setCollapsedHeight)
