"""What the worker's influence request gives, and that it can be cancelled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from scdseg.bundle import Bundle


def test_influence_comes_on_the_token_grid_for_all_structures_or_one(
    worker: Any, tiny_bundle: Bundle, image: Path
) -> None:
    request = {"images": [str(image)], "model": str(tiny_bundle.path), "precision": "fp32"}
    importance = image.parent / "importance.nrrd"
    worker.close(worker.send("segment", **request, outputs={"importance": str(importance)}))
    maps = {}
    for label in (None, "hippocampus", 17):
        outputs = {"influence": str(image.parent / f"{label}.nrrd")}
        answer, before = worker.closing(worker.send("influence", **request, outputs=outputs, label=label))
        assert (answer["event"], answer["outputs"], answer["label"]) == ("result", outputs, label)
        told = [event for event in before if event.get("step") == "influence"]
        assert [event["done"] for event in told] == list(range(told[-1]["total"] + 1))
        maps[label] = sitk.ReadImage(outputs["influence"])
    tokens = sitk.ReadImage(str(importance))
    found = maps[None]
    assert (found.GetSize(), found.GetOrigin(), found.GetSpacing(), found.GetPixelID()) == (
        tokens.GetSize(), tokens.GetOrigin(), tokens.GetSpacing(), sitk.sitkFloat32,
    )  # fmt: skip
    arrays = {label: sitk.GetArrayFromImage(found) for label, found in maps.items()}
    assert arrays[None].max() == 1
    np.testing.assert_array_equal(arrays["hippocampus"], arrays[17])
    assert not np.array_equal(arrays[None], arrays[17])


def test_a_label_that_the_model_lacks_is_an_input_error_before_any_work(
    worker: Any, tiny_bundle: Bundle, image: Path
) -> None:
    outputs = {"influence": str(image.parent / "influence.nrrd")}
    request = {"images": [str(image)], "model": str(tiny_bundle.path), "outputs": outputs}
    error, before = worker.closing(worker.send("influence", **request, label="nose"))
    assert (error["code"], before) == ("input", [])
    assert "has no label 'nose'" in error["message"]


def test_influence_is_cancelled_within_a_second_and_a_run_follows(
    worker: Any, tiny_bundle: Bundle, long_image: Path, image: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    outputs = {"influence": str(folder / "influence.nrrd")}
    request = {"model": str(tiny_bundle.path), "outputs": outputs}
    running = worker.send("influence", **request, images=[str(long_image)])
    worker.step("influence", 2)
    event, seconds = worker.cancel(running)
    assert (event["code"], event["message"]) == ("cancelled", "cancelled: nothing was written")
    assert seconds < 1
    assert list(folder.iterdir()) == []
    assert worker.close(worker.send("influence", **request, images=[str(image)]))["event"] == "result"
