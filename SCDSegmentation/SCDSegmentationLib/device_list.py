"""The choice of devices in the panel, as the worker found them."""

from __future__ import annotations

from typing import Any

from SCDSegmentationLib.plain_text import plain
from SCDSegmentationLib.signal import Signal


class DeviceList:
    """Fills the device combo box; why a device does not work is said in its tool tip.

    Signals:
        selected(str): the user chose a device, by its name.

    Args:
        comboBox: a ``QComboBox``.
    """

    def __init__(self, comboBox: Any) -> None:
        self.selected = Signal()
        self.known = False  # whether a probe has answered
        self._comboBox = comboBox
        self._name = "auto"
        self.show([])
        self._comboBox.currentIndexChanged.connect(self._onIndexChanged)

    def show(self, devices: list[dict[str, Any]]) -> None:
        """List what a probe found: dictionaries with name, title, free_bytes, works and problem."""
        self.known = bool(devices)
        wasBlocked = self._comboBox.blockSignals(True)
        self._comboBox.clear()
        self._comboBox.addItem("Automatic: the fastest that works", "auto")
        for device in devices:
            if device.get("works"):
                free = device.get("free_bytes")
                memory = f", {free / 1e9:.1f} GB free" if free is not None else ""
                self._comboBox.addItem(f"{device['title']} ({device['name']}{memory})", device["name"])
        self._comboBox.setToolTip(plain("\n".join(self._problems(devices))) or "What the network runs on.")
        self._comboBox.blockSignals(wasBlocked)
        self.select(self._name)

    def select(self, name: str) -> None:
        """Select a device by name; one that was not found is listed as not available."""
        self._name = name
        wasBlocked = self._comboBox.blockSignals(True)
        index = self._comboBox.findData(name)
        if index < 0:
            self._comboBox.addItem(f"{name} (not found on this computer)", name)
            index = self._comboBox.findData(name)
        self._comboBox.setCurrentIndex(index)
        self._comboBox.blockSignals(wasBlocked)

    def _onIndexChanged(self, index: int) -> None:
        name = self._comboBox.itemData(index)
        if name is not None and name != self._name:
            self._name = name
            self.selected.emit(name)

    @staticmethod
    def _problems(devices: list[dict[str, Any]]) -> list[str]:
        return [f"{d['title']} does not work: {d.get('problem')}" for d in devices if not d.get("works")]
