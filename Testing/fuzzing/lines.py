"""Requests and recipes that were made to harm."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from fuzzing.mutations import spoiled, spoiled_document
from scdseg.training.recipe import load_recipe
from scdseg.worker.requests import parse_request

_REQUESTS: tuple[dict[str, Any], ...] = (
    {"id": 1, "request": "probe"},
    {"id": 2, "request": "cancel", "target": 1},
    {
        "id": 3,
        "request": "segment",
        "images": ["a.nrrd", "b.nrrd"],
        "model": "brain-structures",
        "keep_ratio": 0.25,
        "overlap": 0.5,
        "device": "auto",
        "precision": "auto",
        "compress": False,
        "scratch": "/tmp/x",
        "outputs": {"labels": "labels.nrrd", "report": "report.json"},
    },
    {
        "id": 4,
        "request": "sweep",
        "images": ["a.nrrd"],
        "model": "m",
        "keep_ratios": [1.0, 0.5],
        "tolerance": 0.98,
        "outputs": {"folder": "/tmp/x"},
    },
)


class Lines:
    """Requests to the worker, and recipes.

    Args:
        folder: may be written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        recipes = Path(load_recipe.__code__.co_filename).parent / "recipes"
        self._recipes = [path.read_bytes() for path in sorted(recipes.glob("*.yaml"))]

    def requests(self, rng: random.Random) -> None:
        """A line to the worker."""
        line = json.dumps(spoiled_document(rng.choice(_REQUESTS), rng)).encode()
        if rng.random() < 0.3:
            line = spoiled(line, rng)
        parse_request(line)

    def recipes(self, rng: random.Random) -> None:
        """A recipe from somebody else."""
        content = rng.choice(self._recipes)
        if rng.random() < 0.1:
            levels = rng.choice((3, 9, 40))
            bomb = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]" for n in range(1, levels)]
            content += "\n".join(["", *bomb, ""]).encode()
        elif rng.random() < 0.1:
            content += rng.choice((b"\nx: !!python/object/apply:os.system ['true']\n", b"\nx: " + b"[" * 5000 + b"\n"))
        else:
            content = spoiled(content, rng)
        path = self.folder / "recipe.yaml"
        path.write_bytes(content)
        load_recipe(path)
