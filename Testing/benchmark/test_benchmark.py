"""``scdseg benchmark`` runs, and what it writes is well formed; nothing is said about how fast anything is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from scdseg.benchmark import PEERS, scaling
from scdseg.benchmark.machine import Machine
from scdseg.benchmark.memory import peak_bytes
from scdseg.benchmark.networks import DENSE, Subject, own_subjects, peer_subjects, tuned_subjects
from scdseg.benchmark.stages import measure_stages
from scdseg.benchmark.timing import spread, time_by_turns
from scdseg.benchmark.windows import WindowFigures, measure_windows
from scdseg.bundle import Bundle
from scdseg.cli import main
from scdseg.networks import SCDUNETR, macs
from scdseg.threads import usable_cores

CPU = torch.device("cpu")
DEEP: dict[str, Any] = {
    "in_channels": 1, "out_channels": 3, "img_size": (32, 32, 32), "feature_size": 4, "hidden_size": 48, "mlp_dim": 96,
    "num_layers": 10, "num_heads": 4, "prune_after": (3, 6), "assembly_size": 48, "assembly_heads": 4,
    "token_head": True,
}  # fmt: skip


@pytest.fixture
def image(tmp_path: Path) -> Path:
    array = np.zeros((100, 40, 40), dtype=np.float32)
    array[:40] = np.random.default_rng(0).uniform(50, 300, (40, 40, 40))
    nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / "image.nii.gz")
    return tmp_path / "image.nii.gz"


def test_everything_is_measured_and_written(
    tiny_bundle: Bundle,
    image: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(scaling, "KEEP_RATIOS", (1.0, 0.25))
    monkeypatch.setattr(scaling, "CLASSES", (2, 4))
    monkeypatch.setattr(scaling, "SIZES", (1.0, 2.0))
    files = [tmp_path / f"benchmark.{kind}" for kind in ("json", "md", "png")]
    options = [f"--{name}={file}" for name, file in zip(("json", "markdown", "plot"), files, strict=True)]
    parts = ["--parts", "windows", "volume", "stages", "growth", "--peers", "unetr", "--keep-ratios", "1", "0.25"]
    fixed = ["--device", "cpu", "--precision", "fp32", "--rounds", "1", "--training", f"--image={image}"]
    assert main(["benchmark", str(tiny_bundle.path), *parts, *fixed, *options]) == 0
    printed = capsys.readouterr().out
    for expected in ("SCD-UNETR, keep 0.25", "UNETR, patch 16", "token assembly", "Seconds by voxels"):
        assert expected in printed
        assert expected in files[1].read_text(encoding="utf-8")
    assert files[2].read_bytes().startswith(b"\x89PNG")

    document = json.loads(files[0].read_text(encoding="utf-8"))
    assert document["model"] == "tiny 0.1.0"
    assert document["machine"]["precision"] == "fp32"
    names = [row["name"] for row in document["windows"]]
    assert names == ["SCD-UNETR, keep 1", "SCD-UNETR, keep 0.25", "UNETR, patch 16"]
    network = tiny_bundle.load_network()
    for row in document["windows"][:2]:
        assert row["macs"] == macs(network, row["keep_ratio"])
        assert row["parameters"] == sum(weight.numel() for weight in network.parameters())
    for row in document["windows"]:
        for part in (row["inference"], row["training"]):
            assert part["seconds"]["lower"] <= part["seconds"]["median"] <= part["seconds"]["upper"]
            assert part["windows_per_second"] == pytest.approx(1 / part["seconds"]["median"])
        assert row["training"]["peak_bytes"] > row["inference"]["peak_bytes"] > 4 * 3 * 16**3
    assert document["windows"][0]["inference"]["speedup"]["median"] == 1
    assert [row["keep_ratio"] for row in document["volume"]] == [1, 0.25]
    for row in document["volume"]:
        assert row["windows_skipped"] > 0
        assert set(row["steps"]) == {"read", "preprocess", "windows", "restore", "stitch", "tokens", "write"}
        assert 0 < sum(row["steps"].values()) < 1.1 * row["seconds"]["median"] + 0.05
    stages = document["stages"]
    assert stages["keep_ratio"] == 0.25
    assert sum(stages["seconds"].values()) == pytest.approx(stages["total"], rel=0.05)
    ratios, classes, volumes = document["growth"]
    assert (ratios["x"], classes["x"], volumes["window_count"]) == ([1, 0.25], [2, 4], [1, 27])
    assert ratios["macs"][0] > ratios["macs"][1]
    assert all(seconds > 0 for seconds in volumes["seconds"]["total"])


def test_the_dense_baseline_is_there_twice_and_every_ratio_shares_one_network() -> None:
    subjects = own_subjects(DEEP, [0.5, 0.1])
    assert [subject.name for subject in subjects] == [
        DENSE, f"{DENSE}, MONAI's blocks", "SCD-UNETR, keep 0.5", "SCD-UNETR, keep 0.1",
    ]  # fmt: skip
    dense, unfused, half, tenth = subjects
    assert half.network is tenth.network
    assert dense.macs() == pytest.approx(unfused.macs(), rel=0.01)
    assert dense.macs() > half.macs() > tenth.macs()


def test_peers_get_the_smallest_window_that_they_take() -> None:
    like = Subject("ours", torch.nn.Identity(), (40, 32, 24), (2, 5))
    subjects = peer_subjects(PEERS, like)
    assert [subject.window for subject in subjects] == [(64, 32, 32), (40, 32, 24), (64, 32, 32), (48, 32, 32)]
    for subject in subjects:
        if "Swin" not in subject.name:  # that one takes seconds
            with torch.inference_mode():
                assert subject.network(torch.zeros(1, 2, *subject.window)).shape == (1, 5, *subject.window)


def test_peers_are_measured_with_weights_as_ours_have_them_too() -> None:
    plain = peer_subjects(["unetr", "segresnet"], Subject("ours", torch.nn.Identity(), (32, 32, 32), (1, 2)))
    tuned = tuned_subjects(plain, torch.bfloat16)
    figures = measure_windows([*plain, *tuned], Machine(CPU, torch.bfloat16), 1)
    assert [found.subject.name for found in figures[2:]] == [f"{p.name}, channels-last" for p in plain]
    assert [found.macs for found in figures[2:]] == [found.macs for found in figures[:2]]
    weights = [weight for weight in tuned[1].network.parameters() if weight.ndim == 5]
    assert {weight.dtype for weight in weights} == {torch.bfloat16}
    assert {weight.dtype for weight in plain[1].network.parameters()} == {torch.float32}


def test_speed_is_by_voxel() -> None:
    small, large = (
        WindowFigures(subject, 1, 1, seconds, (), 0, None)
        for subject, seconds in zip(
            (
                Subject("small", torch.nn.Identity(), (32, 32, 32), (1, 2)),
                Subject("large", torch.nn.Identity(), (64, 32, 32), (1, 2)),
            ),
            ((1.0, 1.0), (4.0, 1.0)),
            strict=True,
        )
    )
    assert small.speedup(large) == spread([2.0, 0.5])
    assert large.speedup(small) == spread([0.5, 2.0])


def test_a_network_of_one_region_trains_by_its_own_loss() -> None:
    subjects = own_subjects({**DEEP, "out_channels": 1, "token_head": False}, [0.5], sigmoid=True)
    figures = measure_windows(subjects, Machine(CPU, torch.float32), 1, training=True)
    assert all(len(found.step_seconds) == 1 for found in figures)


def test_tasks_take_turns_after_a_round_that_does_not_count() -> None:
    order: list[str] = []
    told: list[tuple[int, int]] = []
    seconds = time_by_turns(
        [lambda: order.append("a"), lambda: order.append("b")], CPU, 4, lambda done, total: told.append((done, total))
    )
    assert [len(found) for found in seconds] == [4, 4]
    assert [sorted(order[i : i + 2]) for i in range(0, 10, 2)] == [["a", "b"]] * 5
    assert told == [(n, 4) for n in range(5)]


def test_the_peak_is_of_tensors_that_live_at_the_same_time() -> None:
    def work() -> torch.Tensor:
        first = torch.zeros(1000, 1000)
        second = first + 1
        del first
        third = second.view(-1) * 2
        return third.relu_()

    with torch.inference_mode():
        assert peak_bytes(work, CPU) == 8_000_000


def test_whole_volumes_run_with_the_threads_that_their_heading_tells(tiny_bundle: Bundle) -> None:
    machine = Machine(CPU, torch.float32)
    before = torch.get_num_threads()
    for threads in range(1, usable_cores() + 1):
        torch.set_num_threads(threads)
        assert machine.segmenter(tiny_bundle).threads.wanted == machine.to_json()["threads"]
    torch.set_num_threads(before)


@pytest.mark.parametrize("decoder", ["full", "shallow", "light"])
def test_every_stage_is_timed_and_no_hook_stays_behind(decoder: str) -> None:
    network = SCDUNETR(**DEEP, decoder=decoder).eval()
    seconds, total = measure_stages(network, 0.5, Machine(CPU, torch.float32), 1)
    assert {"blocks 1–3, all tokens", "blocks 7–10, after stage 2 tokens", "token head"} <= set(seconds)
    assert {f"decoder, {name}" for name, _ in network.decoder.named_children()} <= set(seconds)
    assert total > 0
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing-like-it"], "nothing-like-it"),
        (["btcv", "--image", "IMAGE"], "btcv has no preprocessing for a volume"),
        (["btcv", "--keep-ratios", "1.5"], "a keep ratio must be above 0 and at most 1, not 1.5"),
        (["btcv", "--plot", "growth.png"], "only the part 'growth' is drawn"),
        (["btcv", "--parts", "volume"], "btcv has no preprocessing for a volume: leave the part"),
        (["btcv", "--parts", "stages", "--training"], "--training times steps of the part 'windows'"),
        (["btcv", "--json", "there.txt"], "there.txt"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_runs(
    arguments: list[str],
    message: str,
    image: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for part in ("windows", "volume", "stages"):
        monkeypatch.delattr(f"scdseg.benchmark.run.measure_{part}")
    assert main(["benchmark", *(str(image) if a == "IMAGE" else a for a in arguments)]) == 2
    assert message in capsys.readouterr().err
