"""ctkSliderWidget: a slider and a spin box in one row."""

from __future__ import annotations

import math

from PySide6 import QtCore, QtWidgets

_STEPS = 1_000_000  # positions of the inner slider, which counts in integers


class SliderWidget(QtWidgets.QWidget):
    """Slider and spin box that show one value.

    As in Slicer, most setters are properties only: `slider.minimum = 0`, not `slider.setMinimum(0)`.

    Checked against CTK's Libs/Widgets/ctkSliderWidget.h and .cpp.
    """

    valueChanged = QtCore.Signal(float)
    valueIsChanging = QtCore.Signal(float)
    decimalsChanged = QtCore.Signal(int)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal)
        self._spin = QtWidgets.QDoubleSpinBox()
        self._tracking, self._dragging, self._page = True, False, 10.0
        self._minimum, self._maximum, self._value = 0.0, 99.0, 0.0
        self._spin.setRange(0, 99)
        self._slider.setRange(0, _STEPS)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._slider, 1)
        row.addWidget(self._spin)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Minimum, QtWidgets.QSizePolicy.Policy.Fixed)
        self._slider.sliderPressed.connect(self._startDragging)
        self._slider.sliderReleased.connect(self._stopDragging)
        self._slider.valueChanged.connect(self._sliderMoved)
        self._spin.valueChanged.connect(self.setValue)
        self._updateSteps()

    def _startDragging(self) -> None:
        self._dragging = True

    def _stopDragging(self) -> None:
        self._dragging = False
        if not self._tracking:
            self.setValue(self._spin.value())

    def _sliderMoved(self, position: int) -> None:
        moved = self._minimum + (self._maximum - self._minimum) * position / _STEPS
        step = self._spin.singleStep()
        if step > 0:
            moved = self._minimum + round((moved - self._minimum) / step) * step
        moved = min(round(moved, self._spin.decimals()), self._maximum)
        if self._dragging and not self._tracking:
            with QtCore.QSignalBlocker(self._spin):
                self._spin.setValue(moved)
            self.valueIsChanging.emit(moved)
        else:
            self.setValue(moved)

    def _updateSteps(self) -> None:
        width = self._maximum - self._minimum
        if width > 0 and math.isfinite(width):
            self._slider.setSingleStep(max(1, round(self._spin.singleStep() / width * _STEPS)))
            self._slider.setPageStep(max(1, round(self._page / width * _STEPS)))

    def _showValue(self) -> None:
        width = self._maximum - self._minimum
        with QtCore.QSignalBlocker(self._slider), QtCore.QSignalBlocker(self._spin):
            self._spin.setValue(self._value)
            if width > 0 and math.isfinite(width):
                self._slider.setValue(round((self._value - self._minimum) / width * _STEPS))

    def setValue(self, value: float) -> None:
        """Set the value, limited to the range and rounded to the decimals."""
        value = round(min(max(value, self._minimum), self._maximum), self._spin.decimals())
        changed = value != self._value
        self._value = value
        self._showValue()
        if changed:
            self.valueChanged.emit(value)

    def _setRange(self, minimum: float, maximum: float) -> None:
        self._minimum, self._maximum = minimum, max(minimum, maximum)
        with QtCore.QSignalBlocker(self._spin):
            self._spin.setRange(self._minimum, self._maximum)
        self._updateSteps()
        self.setValue(self._value)

    def _setMinimum(self, minimum: float) -> None:
        self._setRange(minimum, max(minimum, self._maximum))

    def _setMaximum(self, maximum: float) -> None:
        self._setRange(min(self._minimum, maximum), maximum)

    def _setSingleStep(self, step: float) -> None:
        self._spin.setSingleStep(step)
        self._updateSteps()

    def _setPageStep(self, step: float) -> None:
        self._page = step
        self._updateSteps()

    def setDecimals(self, decimals: int) -> None:
        """Set the number of decimals."""
        if decimals == self._spin.decimals():
            return
        with QtCore.QSignalBlocker(self._spin):
            self._spin.setDecimals(decimals)
        self.decimalsChanged.emit(decimals)
        self.setValue(self._value)

    def _setPrefix(self, prefix: str) -> None:
        self._spin.setPrefix(prefix)

    def _setSuffix(self, suffix: str) -> None:
        self._spin.setSuffix(suffix)

    def _setTracking(self, enable: bool) -> None:
        self._tracking = enable

    def _hasTracking(self) -> bool:
        return self._tracking

    value = QtCore.Property(float, lambda self: self._value, setValue)
    minimum = QtCore.Property(float, lambda self: self._minimum, _setMinimum)
    maximum = QtCore.Property(float, lambda self: self._maximum, _setMaximum)
    singleStep = QtCore.Property(float, lambda self: self._spin.singleStep(), _setSingleStep)
    pageStep = QtCore.Property(float, lambda self: self._page, _setPageStep)
    decimals = QtCore.Property(int, lambda self: self._spin.decimals(), setDecimals)
    prefix = QtCore.Property(str, lambda self: self._spin.prefix(), _setPrefix)
    suffix = QtCore.Property(str, lambda self: self._spin.suffix(), _setSuffix)
    tracking = QtCore.Property(bool, _hasTracking, _setTracking)
