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

    def setDontShowAgainVisible(self, visible: bool) -> None:
        """Show or hide the check box."""
        if visible and self.checkBox() is None:
            self.setCheckBox(QtWidgets.QCheckBox("Don't show this message again"))
        if self.checkBox() is not None:
            self.checkBox().setVisible(visible)

    def setDontShowAgain(self, dontShow: bool) -> None:
        """Set the check box."""
        self.setDontShowAgainVisible(True)
        self.checkBox().setChecked(dontShow)

    def setDontShowAgainSettingsKey(self, key: str) -> None:
        """Keep the check box's state, and the answer given with it, under this key of the application's settings."""
        self._settingsKey = key
        self.setDontShowAgain(int(QtCore.QSettings().value(key, 0) or 0) != 0)

    def exec(self) -> int:
        """Ask, unless the user has answered for good."""
        stored = int(QtCore.QSettings().value(self._settingsKey, 0) or 0) if self._settingsKey else 0
        if stored:
            return stored
        answer = super().exec()
        if self._settingsKey and self.checkBox().isChecked():
            QtCore.QSettings().setValue(self._settingsKey, int(answer))
        return answer

    dontShowAgain = QtCore.Property(
        bool, lambda self: self.checkBox() is not None and self.checkBox().isChecked(), setDontShowAgain
    )
    dontShowAgainSettingsKey = QtCore.Property(str, lambda self: self._settingsKey, setDontShowAgainSettingsKey)
    dontShowAgainVisible = QtCore.Property(bool, lambda self: self.checkBox() is not None, setDontShowAgainVisible)
