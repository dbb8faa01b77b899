"""What requests give: results, one clear error, and a model that stays loaded as long as it is the same."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch

from scdseg import segment
from scdseg.bundle import Bundle
from scdseg.inference.device import available_devices, resolve_precision
from scdseg.worker.probe import describe_device

ALL_OUTPUTS = {
    "labels": "labels é.nrrd",
    "importance": "importance.nii.gz",
    "survival": "survival.mha",
    "stage": "stage.nrrd",
    "scores": "scores.nrrd",
    "report": "report.json",
}


def outputs(folder: Path, *names: str) -> dict[str, str]:
    return {name: str(folder / ALL_OUTPUTS[name]) for name in names or ALL_OUTPUTS}


def steps(events: list[dict[str, Any]]) -> list[str]:
    """Steps that were told of, each once for a stretch of events."""
    told = [event["step"] for event in events if event["event"] == "progress"]
    return [step for number, step in enumerate(told) if number == 0 or told[number - 1] != step]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def array(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def test_a_probe_tells_devices_that_were_tried_precisions_and_versions(worker: Any) -> None:
    answer = worker.close(worker.send("probe"))
    assert [device["name"] for device in answer["devices"]] == available_devices()
    cpu = answer["devices"][-1]
    assert cpu["works"]
    assert cpu["problem"] is None
    assert 0 < cpu["free_bytes"] <= cpu["total_bytes"]
    assert answer["precision"]["cpu"] == ["auto", "bf16", "fp32"]
    assert {"scdseg", "torch", "monai", "python"} <= set(answer["versions"])


def test_a_device_that_does_not_work_is_described_with_the_reason() -> None:
    device = describe_device("cuda:63")
    assert not device["works"]
    assert "update its driver and PyTorch, or use another device" in device["problem"]
    assert "\n" not in device["problem"]


def test_a_segmentation_tells_its_steps_and_gives_the_results_of_the_engine(
    worker: Any, tiny_bundle: Bundle, image: Path
) -> None:
    paths = outputs(image.parent)
    request = {
        "images": [str(image)],
        "model": str(tiny_bundle.path),
        "keep_ratio": 0.25,
        "precision": "fp32",
        "threads": 1,
    }
    answer, before = worker.closing(worker.send("segment", **request, outputs=paths))
    assert answer["event"] == "result"
    assert answer["outputs"] == paths
    assert steps(before) == ["load model", "read", "preprocess", "windows", "write"]
    windows = [event for event in before if event.get("step") == "windows"]
    assert [event["done"] for event in windows] == list(range(windows[-1]["total"] + 1))
    assert windows[0]["seconds_left"] is None
    assert windows[-1]["seconds_left"] == 0
    expected = segment(image, tiny_bundle.path, keep_ratio=0.25, precision="fp32", threads=1)
    np.testing.assert_array_equal(array(Path(paths["labels"])).T, expected.labels.array)
    np.testing.assert_array_equal(nib.load(paths["importance"]).get_fdata(), expected.importance.array)
    np.testing.assert_array_equal(array(Path(paths["survival"])).T, expected.survival.array)
    np.testing.assert_array_equal(array(Path(paths["stage"])).T, expected.stage.array)
    np.testing.assert_array_equal(array(Path(paths["scores"])).transpose(2, 1, 0, 3), expected.scores.array)
    assert answer["report"]["tokens"] == expected.report["tokens"]
    assert answer["report"] == json.loads(Path(paths["report"]).read_text(encoding="utf-8"))
    assert answer["report"]["keep_ratio"] == 0.25
    assert answer["report"]["threads"] == {"least": 1, "most": 1, "automatic": False}
    assert names(image.parent) == sorted([image.name, *ALL_OUTPUTS.values()])


def test_only_the_outputs_asked_for_are_written_without_compression_if_wanted(
    worker: Any, tiny_bundle: Bundle, image: Path
) -> None:
    request = {"images": [str(image)], "model": str(tiny_bundle.path), "outputs": outputs(image.parent, "labels")}
    packed = worker.close(worker.send("segment", **request))
    assert packed["report"]["keep_ratio"] == tiny_bundle.keep_ratio
    labels = image.parent / ALL_OUTPUTS["labels"]
    header, voxels = labels.read_bytes()[:400], array(labels)
    assert b"encoding: gzip" in header
    worker.close(worker.send("segment", **request, compress=False))
    assert b"encoding: raw" in labels.read_bytes()[:400]
    np.testing.assert_array_equal(array(labels), voxels)
    assert names(image.parent) == sorted([image.name, labels.name])


def test_a_model_is_loaded_once_and_anew_when_it_or_the_precision_has_changed(
    worker: Any, tiny_bundle: Bundle, image: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_bundle.path, model)
    request = {"images": [str(image)], "model": str(model), "outputs": outputs(image.parent, "labels")}

    def loads(**changes: Any) -> bool:
        answer, before = worker.closing(worker.send("segment", **{**request, **changes}))
        assert answer["event"] == "result"
        loaded = "load model" in steps(before)
        assert ("load model" in answer["report"]["seconds"]) == loaded
        assert any(event["event"] == "log" and "loaded on" in event["text"] for event in before) == loaded
        return loaded

    assert loads()
    assert not loads()
    assert not loads(keep_ratio=0.3)
    automatic = resolve_precision("auto", torch.device("cpu"))
    assert loads(precision="fp32" if automatic == torch.bfloat16 else "bf16")
    assert loads()
    metadata = model / "configs" / "metadata.json"
    text = metadata.read_text(encoding="utf-8")
    metadata.write_text(text.replace('"version": "0.1.0"', '"version": "0.2.0"', 1), encoding="utf-8")
    assert loads()
    assert not loads()
    assert loads(model=str(tiny_bundle.path))
    assert loads()


def test_a_model_that_was_changed_or_deleted_is_a_model_error(
    worker: Any, tiny_bundle: Bundle, image: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_bundle.path, model)
    request = {"images": [str(image)], "model": str(model), "outputs": outputs(image.parent, "labels")}
    assert worker.close(worker.send("segment", **request))["event"] == "result"
    weights = model / "models" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    changed = worker.close(worker.send("segment", **request))
    assert changed["code"] == "model"
    assert "SHA-256" in changed["message"]
    shutil.rmtree(model)
    deleted = worker.close(worker.send("segment", **request))
    assert deleted["code"] == "model"
    assert "no such folder" in deleted["message"]


def test_each_kind_of_error_is_told_once_and_the_next_run_works(
    worker: Any, tiny_bundle: Bundle, image: Path, tmp_path: Path
) -> None:
    header = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 10000 10000 10000\nspace: left-posterior-superior\n"
    huge = tmp_path / "huge.nrrd"
    huge.write_text(f"{header}space directions: (1,0,0) (0,1,0) (0,0,1)\nencoding: raw\n\n", encoding="ascii")
    os.truncate(huge, huge.stat().st_size + 10**12)  # a terabyte of nothing
    request = {"images": [str(image)], "model": str(tiny_bundle.path), "outputs": outputs(image.parent, "labels")}
    bad = (
        ({"images": [str(tmp_path / "absent.nrrd")]}, "input", "absent.nrrd does not exist"),
        ({"images": [str(image)] * 2}, "input", "takes 1 image"),
        ({"keep_ratio": 1.5}, "input", "keep ratio 1.5 is out of range"),
        ({"threads": 9999}, "input", "9999 threads cannot be used"),
        ({"overlap": 0.95}, "input", "overlap 0.95 is out of range"),
        ({"outputs": {"labels": str(image)}}, "input", "would overwrite an input"),
        ({"outputs": {"labels": str(tmp_path / "absent" / "o.nrrd")}}, "input", "does not exist"),
        ({"model": "no-such-model"}, "model", "unknown model 'no-such-model'"),
        ({"device": "cuda:63"}, "device", "device 'cuda:63' is not available"),
        ({"precision": "fp8"}, "device", "precision 'fp8' is unknown"),
        ({"images": [str(huge)]}, "resource", "of memory"),
    )
    for changes, code, message in bad:
        error, before = worker.closing(worker.send("segment", **{**request, **changes}))
        assert (error["event"], error["code"]) == ("error", code)
        assert message in error["message"]
        assert "windows" not in steps(before)
        assert names(image.parent) == [image.name]
    assert worker.close(worker.send("segment", **request))["event"] == "result"


def test_what_is_odd_about_an_image_is_logged(worker: Any, tiny_bundle: Bundle, tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).random((20, 20, 20)).astype(np.float32)
    voxels[0, 0, 0] = np.nan
    nib.save(nib.Nifti1Image(voxels, np.diag([2.0, 2.0, 2.0, 1.0])), tmp_path / "in.nii")
    request = {"images": [str(tmp_path / "in.nii")], "model": str(tiny_bundle.path), "outputs": outputs(tmp_path)}
    _, before = worker.closing(worker.send("segment", **request))
    texts = [event["text"] for event in before if event.get("level") == "warning"]
    assert texts == ["T1: 1 voxel was NaN or infinite, replaced by the smallest finite value"]


def test_a_sweep_prepares_once_and_hands_on_each_ratio_when_it_is_complete(
    worker: Any, tiny_bundle: Bundle, image: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "sweep"
    folder.mkdir()
    request = {"images": [str(image)], "model": str(tiny_bundle.path), "precision": "fp32"}
    sweep = worker.send("sweep", **request, keep_ratios=[0.5, 1.0, 0.25], outputs={"folder": str(folder)})
    answer, before = worker.closing(sweep)
    assert answer["partial"] is False
    partial = [event for event in before if event["event"] == "result"]
    assert [event["partial"] for event in partial] == [True] * 3
    assert [{name: event[name] for name in ("outputs", "report")} for event in partial] == answer["runs"]
    assert [run["report"]["keep_ratio"] for run in answer["runs"]] == [1.0, 0.5, 0.25]
    assert [step for step in steps(before) if step == "preprocess"] == ["preprocess"]
    windows = [event for event in before if event.get("step") == "windows"]
    total = sum(run["report"]["windows"]["count"] for run in answer["runs"])
    assert {event["total"] for event in windows} == {total}
    assert windows[-1]["done"] == total
    written = names(folder)
    files = ("labels.nrrd", "importance.nrrd", "survival.nrrd", "stage.nrrd", "scores.nrrd", "report.json")
    assert written == sorted(f"keep_{ratio}_{file}" for ratio in ("1", "0.5", "0.25") for file in files)
    alone = worker.close(worker.send("segment", **request, keep_ratio=0.25, outputs=outputs(image.parent)))
    for name in ("labels", "importance", "stage", "scores"):
        swept = sitk.ReadImage(str(folder / f"keep_0.25_{name}.nrrd"))
        single = sitk.ReadImage(alone["outputs"][name])
        np.testing.assert_array_equal(sitk.GetArrayFromImage(swept), sitk.GetArrayFromImage(single))


def test_a_sweep_tells_what_each_ratio_costs_how_well_it_agrees_and_which_one_it_suggests(
    worker: Any, tiny_bundle: Bundle, image: Path, tmp_path: Path
) -> None:
    request = {"images": [str(image)], "model": str(tiny_bundle.path), "outputs": {"folder": str(tmp_path)}}

    def run_sweep(**tolerance: float) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        answer, before = worker.closing(worker.send("sweep", **request, keep_ratios=[1, 0.25, 0.5], **tolerance))
        return answer, [event for event in before if event["event"] == "result"]

    answer, partial = run_sweep()
    assert [row["keep_ratio"] for row in answer["table"]] == [1.0, 0.5, 0.25]
    assert [{name: event[name] for name in answer["table"][0]} for event in partial] == answer["table"]
    densest = array(Path(partial[0]["outputs"]["labels"]))
    for event in partial:
        labels = array(Path(event["outputs"]["labels"]))
        dice = {
            str(value): 2 * ((labels == value) & (densest == value)).sum()
            / ((labels == value).sum() + (densest == value).sum())
            for value in (2, 17)
        }  # fmt: skip
        assert event["agreement"]["labels"] == dice
        assert event["agreement"]["mean"] == pytest.approx(sum(dice.values()) / 2)
        assert event["tokens_kept"] == event["report"]["tokens_per_stage"]["kept"]
        assert event["seconds_windows"] >= event["report"]["seconds"]["windows"]
    assert answer["tolerance"] == 0.98
    assert answer["seconds"]["ratio"] == pytest.approx(
        answer["seconds"]["sweep"] / answer["seconds"]["separate_runs"], abs=0.01
    )
    means = [row["agreement"]["mean"] for row in answer["table"]]
    assert means[0] == 1 > max(means[1:])
    assert run_sweep(tolerance=1)[0]["suggested_keep_ratio"] == 1
    assert run_sweep(tolerance=means[1])[0]["suggested_keep_ratio"] == (0.5 if means[2] < means[1] else 0.25)
    assert run_sweep(tolerance=0)[0]["suggested_keep_ratio"] == 0.25


def test_a_sweep_with_a_bad_ratio_or_tolerance_is_refused_before_it_runs(
    worker: Any, tiny_bundle: Bundle, image: Path, tmp_path: Path
) -> None:
    bad = (
        ({"keep_ratios": [1.0, 0.0]}, "keep ratio 0.0 is out of range"),
        ({"keep_ratios": [0.5, 0.5]}, "give each once"),
        ({"keep_ratios": [1, 0.5], "tolerance": 98}, "tolerance 98 is out of range"),
    )
    for fields, message in bad:
        request = {"images": [str(image)], "model": str(tiny_bundle.path), "outputs": {"folder": str(tmp_path)}}
        before = names(tmp_path)
        error = worker.close(worker.send("sweep", **request, **fields))
        assert error["code"] == "input"
        assert message in error["message"]
        assert names(tmp_path) == before


def test_a_second_segmentation_is_refused_while_one_runs_and_a_probe_waits(
    worker: Any, tiny_bundle: Bundle, long_image: Path, tmp_path: Path
) -> None:
    request = {"images": [str(long_image)], "model": str(tiny_bundle.path), "outputs": outputs(tmp_path)}
    running = worker.send("segment", **request)
    worker.step("windows", 1)
    second = worker.close(worker.send("segment", **request))
    assert (second["event"], second["code"]) == ("error", "busy")
    worker.send_line(json.dumps({"id": running, "request": "probe"}).encode())
    same_id, _ = worker.wait_for(lambda event: event["event"] == "error")
    assert (same_id["code"], same_id["id"]) == ("protocol", None)
    nothing = worker.close(worker.send("cancel", target=10**6))
    assert (nothing["target"], nothing["found"]) == (10**6, False)
    waiting, cancelled_in_time = worker.send("probe"), worker.send("probe")
    assert worker.cancel(cancelled_in_time)[0]["code"] == "cancelled"
    assert worker.cancel(running)[0]["code"] == "cancelled"
    assert worker.close(waiting)["event"] == "result"
    assert worker.close(worker.send("cancel", target=running))["found"] is False


@pytest.mark.parametrize("loaded", [True, False])
def test_events_begin_with_ready_then_loaded(start: Callable[..., Any], loaded: bool) -> None:
    client = start(loaded=False)
    ready = client.wait_for(lambda event: True)[0]
    assert ready["event"] == "ready"
    assert ready["pid"] == client.process.pid
    assert ready["protocol"] == 1
    if loaded:
        event = client.wait_for(lambda event: True)[0]
        assert event["event"] == "loaded"
        assert event["seconds"] > 0
    else:
        # A request may come before; cancelled while it waits, it is answered at once.
        probe = client.send("probe")
        event, seconds = client.cancel(probe)
        assert event["code"] == "cancelled"
        assert seconds < 1
