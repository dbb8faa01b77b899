"""The whole engine in one call, and its parts for a caller that keeps model and image between runs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from torch import Tensor

from scdseg.bundle import Bundle, find_bundle
from scdseg.errors import Cancelled, DeviceError, ResourceError
from scdseg.inference.arguments import check_keep_ratio, check_overlap, keep_ratio_warnings
from scdseg.inference.device import device_name, resolve_device, resolve_precision
from scdseg.inference.images import network_shape, read_headers, size_warnings
from scdseg.inference.maps import TokenMaps, token_affine
from scdseg.inference.memory import (
    MemoryPlan,
    machine_errors,
    peak_memory,
    plan_windows,
    preparation_bytes,
    require_memory,
    spare_bytes,
)
from scdseg.inference.preprocess import to_network_grid
from scdseg.inference.report import Stopwatch, label_volumes, tokens_per_stage, versions
from scdseg.inference.restore import LabelRestorer
from scdseg.inference.result import Result
from scdseg.inference.shared import SharedWork, WindowNetwork
from scdseg.inference.token_report import token_report
from scdseg.inference.windows import Start, sliding_windows, window_starts, worth_computing
from scdseg.networks.inference_format import prepare_for_inference
from scdseg.networks.scd_unetr import SharedFeatures
from scdseg.threads import Threads, check_threads
from scdseg.volumes import Volume, VolumeHeader, read_volume
from scdseg.volumes.volume import spacing_of

Progress = Callable[[str, int, int, float | None], None]
"""Called with the step (``"read"``, ``"preprocess"``, ``"windows"``), done, total, and the seconds left if known."""


@dataclass(frozen=True)
class Prepared:
    """Images as a model wants them, with the way back.

    Args:
        image: (C, X', Y', Z') float32 on the network's grid, with its affine.
        header: of the first image: the grid that labels return to.
        inputs: paths of all images and DICOM files.
        warnings: what was noticed about the images.
        seconds: by step.
    """

    image: MetaTensor
    header: VolumeHeader
    inputs: tuple[Path, ...]
    warnings: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)


class Segmenter:
    """A model on a device, ready for any number of images and keep ratios.

    Args:
        bundle: the model.
        device: ``"auto"``, ``"cuda"``, ``"cuda:1"``, ``"mps"`` or ``"cpu"``.
        precision: ``"auto"`` (bfloat16 where the hardware computes in it), ``"bf16"`` or ``"fp32"``.
        threads: that compute on the CPU; None: as many as there are free cores, chosen anew between windows.

    Raises:
        DeviceError: the device or precision is not available.
        InputError: threads that this machine does not have.
        ModelError: the weights are damaged or not the bundle's.
    """

    def __init__(
        self, bundle: Bundle, device: str = "auto", precision: str = "auto", threads: int | None = None
    ) -> None:
        self.bundle = bundle
        self.threads = Threads(threads)
        self.device = resolve_device(device)
        self.dtype = resolve_precision(precision, self.device)
        self._load_time = Stopwatch()
        with self._load_time("load model"), machine_errors(self.device):
            network = bundle.load_network().to(self.device)
            prepare_for_inference(network, self.device, self.dtype)
            self.network: WindowNetwork = network

    @property
    def _window(self) -> tuple[int, int, int]:
        x, y, z = self.bundle.network["img_size"]
        return x, y, z

    def prepare(
        self,
        images: str | Path | Sequence[str | Path],
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Prepared:
        """Read images and bring them to the network's grid; headers and memory are checked before voxels are read.

        Args:
            images: one path for each channel of the model, in its order.
            progress: see :data:`Progress`.
            cancelled: polled between steps.

        Raises:
            InputError: an image cannot be used, or they do not lie on one grid.
            ResourceError: too little memory for a volume of this size.
            Cancelled: ``cancelled`` returned True.
        """
        headers = read_headers(images, self.bundle)
        self._require_memory(headers[0])
        watch = Stopwatch()
        channels = np.empty((len(headers), *headers[0].shape), dtype=np.float32)
        warnings: list[str] = []
        for number, (header, name) in enumerate(zip(headers, self.bundle.channels, strict=True)):
            _tell(progress, cancelled, "read", number, len(headers))
            with watch("read"), machine_errors(torch.device("cpu")):
                volume = read_volume(header)
                channels[number] = volume.array
            warnings += [f"{name}: {warning}" for warning in volume.warnings]
        _tell(progress, cancelled, "preprocess", 0, 1)
        with watch("preprocess"), machine_errors(torch.device("cpu")), self.threads:
            image = to_network_grid(channels, headers[0].affine, self.bundle)
        _tell(progress, cancelled, "preprocess", 1, 1)
        warnings += size_warnings(headers[0], self.bundle)
        inputs = [header.path for header in headers] + [Path(file) for header in headers for file in header.files]
        return Prepared(image, headers[0], tuple(inputs), tuple(warnings), watch.seconds)

    def run(
        self,
        prepared: Prepared,
        keep_ratio: float | Sequence[float] | None = None,
        overlap: float | None = None,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
        shared: SharedWork | None = None,
    ) -> Result:
        """Segment prepared images.

        Args:
            prepared: from :meth:`prepare`.
            keep_ratio: share of tokens kept at each pruning stage, in (0, 1], or one for each; None: the model's own.
            overlap: share of a window that the next one covers again, 0…0.9; None: the model's own.
            progress: see :data:`Progress`.
            cancelled: polled between windows.
            shared: what other runs of these images left and this one leaves, for runs that differ in their keep ratio
                alone.

        Raises:
            InputError: keep ratio or overlap out of range.
            ResourceError: too little memory.
            DeviceError: the network computed scores that are not numbers.
            Cancelled: ``cancelled`` returned True.
        """
        ratio = check_keep_ratio(self.bundle.keep_ratio if keep_ratio is None else keep_ratio, self.bundle)
        share = check_overlap(self.bundle.overlap if overlap is None else overlap)
        grid = tuple(prepared.image.shape[1:])
        affine = prepared.image.affine.numpy()
        patch = self.bundle.network["patch_size"]
        image = prepared.image.as_tensor()
        starts = window_starts(grid, self._window, patch, share)
        computed = worth_computing(image, starts, self._window)
        plan = self._plan(grid, math.prod(prepared.header.shape))
        maps = TokenMaps(grid, patch, len(self.bundle.network["prune_after"]))
        labels = LabelRestorer(
            prepared.header.shape, prepared.header.affine,
            tuple(grid[axis] for axis in plan.order), affine[:, [*plan.order, 3]],
            self.bundle.labels, self.bundle.activation, self.bundle.network["out_channels"],
        )  # fmt: skip
        if shared is not None:
            shared.begin(spare_bytes(self.device, plan))
        watch = Stopwatch()
        tokens: dict[str, list[int]] = {}
        done = 0
        began = time.perf_counter()

        def predict(windows: Tensor, at: Sequence[Start]) -> Tensor:
            nonlocal done

            def compute() -> SharedFeatures:
                return self.network.share(windows.to(self.device))

            with watch("windows"):
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16):
                    features = compute() if shared is None else shared.features(at, compute)
                    logits, trace = self.network.finish(features, ratio)
                maps.add(at, trace)
            tokens.update(tokens or tokens_per_stage(trace))
            self.threads.choose_again()
            done += len(at)
            left = (time.perf_counter() - began) / done * (len(computed) - done)
            _tell(progress, cancelled, "windows", done, len(computed), left)
            return logits

        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        _tell(progress, cancelled, "windows", 0, len(computed))
        with machine_errors(self.device), torch.inference_mode(), self.threads:
            for rows in sliding_windows(
                image, starts, set(computed), self._window, self.bundle.network["out_channels"], plan.batch_size,
                plan.stitch_device, predict, plan.order, plan.stitch_dtype,
            ):  # fmt: skip
                with watch("restore"):
                    labels.add(rows)
            described = self._describe(plan)
        watch.seconds["stitch"] = max(0.0, time.perf_counter() - began - sum(watch.seconds.values()))
        watch.seconds = {**self._load_time.seconds, **prepared.seconds, **watch.seconds}
        # A model that is used again was there already.
        self._load_time = Stopwatch()
        token_grid = token_affine(affine, patch)
        importance, stage = maps.importance(), maps.stage()
        with watch("tokens"), machine_errors(torch.device("cpu")):
            fate = token_report(
                labels.array, prepared.header.affine, importance, stage, token_grid,
                self.bundle.labels, self.bundle.network["prune_after"],
            )  # fmt: skip
        report = {
            **described,
            "keep_ratio": ratio,
            "windows": {
                "count": len(computed),
                "skipped": len(starts) - len(computed),
                "size": list(self._window),
                "overlap": share,
                "batch": plan.batch_size,
            },
            "tokens_per_stage": tokens,
            "tokens": fate,
            "image": _grid(prepared.header.shape, prepared.header.affine),
            "network_grid": _grid(grid, affine),
            "labels": label_volumes(labels.array, prepared.header.affine, self.bundle.labels),
            "warnings": [*prepared.warnings, *keep_ratio_warnings(ratio, self.bundle)],
            "seconds": watch.rounded(),
            "peak_memory_bytes": peak_memory(self.device),
        }
        return Result(
            Volume(labels.array, prepared.header.affine, prepared.header.stored),
            Volume(importance, token_grid),
            Volume(maps.survival(), token_grid),
            Volume(stage, token_grid),
            Volume(maps.scores(), token_grid),
            report,
            prepared.inputs,
        )

    def _describe(self, plan: MemoryPlan) -> dict[str, Any]:
        """The part of the report that says what ran on what."""
        return {
            "model": {"name": self.bundle.name, "version": self.bundle.version, "sha256": self.bundle.weights_sha256},
            "device": {
                "type": str(self.device),
                "name": device_name(self.device),
                "stitching": str(plan.stitch_device),
                "stitching_precision": str(plan.stitch_dtype).removeprefix("torch."),
            },
            "threads": self.threads.to_json(),
            "precision": "bf16" if self.dtype == torch.bfloat16 else "fp32",
            "versions": versions(),
        }

    def _plan(self, grid: Sequence[int], input_voxels: int, reserved: int = 0) -> MemoryPlan:
        network = self.bundle.network
        return plan_windows(
            self.device, grid, self._window, network["in_channels"], network["out_channels"], network["feature_size"],
            input_voxels, reserved,
        )  # fmt: skip

    def _require_memory(self, header: VolumeHeader) -> None:
        """Check what the header tells about the memory that the whole segmentation takes."""
        channels, voxels = len(self.bundle.channels), math.prod(header.shape)
        grid = network_shape(header, self.bundle)
        require_memory(preparation_bytes(channels, voxels, math.prod(grid)), f"{header.path} at the model's spacing")
        if not self.bundle.crop_foreground:
            # A cropped volume's size is known only after reading; it is checked before the windows run.
            self._plan(grid, voxels, reserved=4 * channels * (voxels + math.prod(grid)))


def segment(
    images: str | Path | Sequence[str | Path],
    model: str | Path,
    keep_ratio: float | Sequence[float] | None = None,
    device: str = "auto",
    overlap: float | None = None,
    precision: str = "auto",
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    cpu_fallback: bool = False,
    threads: int | None = None,
    then: Callable[[Segmenter, Prepared, Result], Result] | None = None,
) -> Result:
    """Segment an image, or the channels of one, with a model.

    Args:
        images: NIfTI, NRRD or MetaImage file or folder of a DICOM series; one for each channel of the model.
        model: name of a model, or the folder of a bundle.
        keep_ratio: share of tokens kept at each pruning stage, in (0, 1]; None: the model's own.
        device: ``"auto"``, ``"cuda"``, ``"mps"`` or ``"cpu"``.
        overlap: share of a window that the next one covers again, 0…0.9; None: the model's own.
        precision: ``"auto"``, ``"bf16"`` or ``"fp32"``.
        progress: called with step, done, total and seconds left (None while unknown).
        cancelled: polled between windows.
        cpu_fallback: whether to begin again on the CPU, with a warning in the report, when another device fails or has
            too little memory.
        threads: that compute on the CPU; None: as many as there are free cores, chosen anew between windows.
        then: called with what made the result, while the model is there, to add to it.

    Raises:
        ScdsegError: with one sentence that says what is wrong with the input or the machine.

    Example:
        >>> result = segment("t1.nii.gz", model="brain-structures", keep_ratio=0.25)  # doctest: +SKIP
        >>> result.save(labels="labels.nii.gz", report="report.json")  # doctest: +SKIP
    """
    bundle = find_bundle(model)
    if keep_ratio is not None:
        check_keep_ratio(keep_ratio, bundle)
    if overlap is not None:
        check_overlap(overlap)
    check_threads(threads)
    chosen = resolve_device(device)
    resolve_precision(precision, chosen)
    read_headers(images, bundle)

    def run_on(name: str) -> Result:
        segmenter = Segmenter(bundle, name, precision, threads)
        prepared = segmenter.prepare(images, progress, cancelled)
        result = segmenter.run(prepared, keep_ratio, overlap, progress, cancelled)
        return result if then is None else then(segmenter, prepared, result)

    try:
        return run_on(str(chosen))
    except (DeviceError, ResourceError) as error:
        if not cpu_fallback or chosen.type == "cpu":
            raise
        failure = str(error)
    # Only here the error, and what it holds of the device's memory, is gone.
    result = run_on("cpu")
    result.report["warnings"].append(f"the CPU was used, as allowed, because {chosen} failed: {failure}")
    return result


def _tell(
    progress: Progress | None,
    cancelled: Callable[[], bool] | None,
    step: str,
    done: int,
    total: int,
    seconds_left: float | None = None,
) -> None:
    """Report progress, and stop if the caller has been asked to."""
    if cancelled is not None and cancelled():
        raise Cancelled("cancelled: nothing was written")
    if progress is not None:
        progress(step, done, total, seconds_left)


def _grid(shape: Sequence[int], affine: np.ndarray) -> dict[str, Any]:
    return {"shape": list(shape), "spacing_mm": [round(s, 6) for s in spacing_of(affine)]}
