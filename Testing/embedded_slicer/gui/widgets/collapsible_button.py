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
        self._collapsed, self._collapsedHeight, self._hiddenByUs = False, 14, set()
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
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                self._showChild(child)
        self.updateGeometry()
        self.update()
        self.contentsCollapsed.emit(collapsed)

    def _showChild(self, child: QtWidgets.QWidget) -> None:
        # What the module has hidden itself stays hidden when the section opens.
        if self._collapsed and not child.isHidden():
            self._hiddenByUs.add(child)
            child.hide()
        elif not self._collapsed and child in self._hiddenByUs:
            self._hiddenByUs.discard(child)
            child.show()

    def setCollapsed(self, collapsed: bool) -> None:
        """Hide or show the contents."""
        self.setChecked(not collapsed)

    def setCollapsedHeight(self, height: int) -> None:
        """Set the height in pixels that a folded section takes below its button."""
        self._collapsedHeight = height
        self.updateGeometry()

    def childEvent(self, event: QtCore.QChildEvent) -> None:
        """Hide children that are added to a folded section."""
        super().childEvent(event)
        # Not when it is added: it is still under construction then, and Qt for Python would take it for a plain widget.
        if event.polished() and self._collapsed and isinstance(event.child(), QtWidgets.QWidget):
            self._showChild(event.child())

    def hitButton(self, position: QtCore.QPoint) -> bool:
        """Only the title row is clicked, not the contents."""
        return 0 <= position.y() <= self._buttonHeight() and 0 <= position.x() <= self.width()

    def sizeHint(self) -> QtCore.QSize:
        """Size of the title row and, unless folded, the contents."""
        return self._size(None if self._collapsed or self.layout() is None else self.layout().sizeHint())

    def minimumSizeHint(self) -> QtCore.QSize:
        """Least size of the title row and, unless folded, the contents."""
        return self._size(None if self._collapsed or self.layout() is None else self.layout().minimumSize())

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

    collapsed = QtCore.Property(bool, lambda self: self._collapsed, setCollapsed, notify=contentsCollapsed)
    collapsedHeight = QtCore.Property(int, lambda self: self._collapsedHeight, setCollapsedHeight)
