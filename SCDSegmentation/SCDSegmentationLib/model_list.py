"""The gallery of models: a list with a sentence on each, and a search."""

from __future__ import annotations

from typing import Any

import qt

from SCDSegmentationLib.models import Model, findModels
from SCDSegmentationLib.plain_text import plain
from SCDSegmentationLib.signal import Signal

_SHOWN_LABELS = 6


class ModelList:
    """Fills the list, filters it and says which model is selected.

    Signals:
        selected(Model | None): the user chose a model.

    Args:
        ui: with ``modelListWidget``, ``modelSearchLineEdit`` and ``modelDescriptionLabel``.
    """

    def __init__(self, ui: Any) -> None:
        self.selected = Signal()
        self.problems: list[str] = []
        self._list, self._search = ui.modelListWidget, ui.modelSearchLineEdit
        self._description = ui.modelDescriptionLabel
        self._models: list[Model] = []
        self._list.currentRowChanged.connect(self._onRowChanged)
        self._search.textChanged.connect(self._onSearch)
        self.refresh()

    @property
    def model(self) -> Model | None:
        """The selected model."""
        row = self._list.currentRow
        return self._models[row] if 0 <= row < len(self._models) else None

    def refresh(self) -> None:
        """Read the folders again, keeping the selection."""
        name = self.model.name if self.model else None
        self._models, self.problems = findModels()
        wasBlocked = self._list.blockSignals(True)
        self._list.clear()
        for model in self._models:
            item = qt.QListWidgetItem(f"{model.title}\n{model.description}", self._list)
            item.setToolTip(plain(str(model.path)))
        self._list.blockSignals(wasBlocked)
        self._onSearch(self._search.text)
        self.select(name or "")

    def choose(self, name: str) -> None:
        """Select a model by name as the user does."""
        self.select(name)
        self.selected.emit(self.model)

    def select(self, name: str) -> None:
        """Show a model as selected, or none if there is none of that name; nothing is emitted."""
        names = [model.name for model in self._models]
        wasBlocked = self._list.blockSignals(True)
        self._list.setCurrentRow(names.index(name) if name in names else -1)
        self._list.blockSignals(wasBlocked)
        self._showDescription()

    def _onSearch(self, words: str) -> None:
        for row, model in enumerate(self._models):
            self._list.item(row).setHidden(not model.matches(words))

    def _onRowChanged(self, row: int) -> None:
        self._showDescription()
        self.selected.emit(self.model)

    def _showDescription(self) -> None:
        model = self.model
        if model is None:
            self._description.setText("" if self._models else "No models were found.")
            return
        names = [label.name for label in model.labels]
        others = f" and {len(names) - _SHOWN_LABELS} more" if len(names) > _SHOWN_LABELS else ""
        finds = f"{', '.join(names[:_SHOWN_LABELS])}{others}"
        self._description.setText(f"Input: {', '.join(model.channels)}. Finds {finds}.")
        self._description.setToolTip(plain("\n".join(names)))
