"""ctkMessageBox: the message box of slicer.util's dialogs."""

from __future__ import annotations

from PySide6 import QtCore, QtWidgets


class MessageBox(QtWidgets.QMessageBox):
    """Message box that can offer "Don't show this message again".

    Checked against CTK's Libs/Widgets/ctkMessageBox.h and .cpp.
    """

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._settingsKey = ""
        self._checkBox = QtWidgets.QCheckBox("Don't show this message again")

    def _setDontShowAgainVisible(self, visible: bool) -> None:
        if visible and self.checkBox() is None:
            self.setCheckBox(self._checkBox)
        self._checkBox.setVisible(visible)

    def setDontShowAgain(self, dontShow: bool) -> None:
        """Set the check box."""
        self._setDontShowAgainVisible(True)
        self._checkBox.setChecked(dontShow)

    def _setDontShowAgainSettingsKey(self, key: str) -> None:
        self._settingsKey = key
        self.setDontShowAgain(int(QtCore.QSettings().value(key, 0) or 0) != 0)

    def exec(self) -> int:
        """Ask, unless the user has answered for good."""
        stored = int(QtCore.QSettings().value(self._settingsKey, 0) or 0) if self._settingsKey else 0
        if stored:
            return stored
        answer = super().exec()
        if self._settingsKey and self._checkBox.isChecked():
            QtCore.QSettings().setValue(self._settingsKey, int(answer))
        return answer

    dontShowAgain = QtCore.Property(bool, lambda self: self._checkBox.isChecked(), setDontShowAgain)
    dontShowAgainSettingsKey = QtCore.Property(str, lambda self: self._settingsKey, _setDontShowAgainSettingsKey)
    dontShowAgainVisible = QtCore.Property(bool, lambda self: self.checkBox() is not None, _setDontShowAgainVisible)
