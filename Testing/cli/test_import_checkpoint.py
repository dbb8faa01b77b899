"""``scdseg import-checkpoint`` turns an authors' file into a model that runs, or says what it needs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from scdseg.bundle import read_bundle
from scdseg.bundle.labels import check_labels
from scdseg.cli import main
from scdseg.published import PUBLISHED

REFERENCE = Path(__file__).resolve().parent.parent / "data" / "reference" / "patch8_unetr_x8.safetensors"
NETWORK = ["--img-size", "16", "32", "24", "--heads", "4", "--prune-after", "3", "6", "9", "--keep-ratio", "0.25"]
DATA = [
    "--channels",
    "CT",
    "--activation",
    "softmax",
    "--spacing",
    "1.5",
    "1.5",
    "2",
    "--clip-range",
    "-958",
    "326",
    "-1",
    "1",
]
LABEL = {
    "value": 7,
    "name": "Liver",
    "color": [221, 130, 101],
    "channel": 1,
    "category": {"scheme": "SCT", "value": "123037004", "meaning": "Anatomical Structure"},
    "type": {"scheme": "SCT", "value": "10200004", "meaning": "Liver"},
}


def tensors(prefix: str) -> dict[str, Tensor]:
    with safe_open(REFERENCE, framework="pt") as file:
        names = [key for key in file.keys() if key.startswith(prefix)]  # noqa: SIM118 - not a mapping
        return {name.removeprefix(prefix): file.get_tensor(name) for name in names}


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    path = tmp_path / "checkpoint_best.pth.tar"
    torch.save({"state_dict": tensors("state/"), "epoch": 4999, "arch": "scd"}, path)
    return str(path)


@pytest.fixture
def labels(tmp_path: Path) -> list[str]:
    path = tmp_path / "labels.json"
    path.write_text(json.dumps([LABEL]))
    return ["--labels", str(path)]


def test_an_imported_model_predicts_what_the_authors_network_does(
    checkpoint: str, labels: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "liver"
    code = main(["import-checkpoint", checkpoint, str(target), *NETWORK, *DATA, *labels, "--full-precision"])
    assert code == 0
    assert str(target) in capsys.readouterr().out
    bundle = read_bundle(target)
    assert [(label.value, label.name, label.channel) for label in bundle.labels] == [(7, "Liver", 1)]
    assert (bundle.orientation, bundle.spacing) == ("RAS", (1.5, 1.5, 2.0))
    assert bundle.intensity[0].arguments == {"a_min": -958, "a_max": 326, "b_min": -1, "b_max": 1}
    assert (bundle.keep_ratio, bundle.keep_ratio_range) == (0.25, (0.25, 0.25))
    with torch.no_grad():
        logits = bundle.load_network()(tensors("input")[""])
    torch.testing.assert_close(logits, tensors("output")[""], rtol=0, atol=1e-4)


def test_options_that_are_still_needed_are_named_together(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import-checkpoint", checkpoint, str(tmp_path / "liver"), "--heads", "4", "--zscore"]) == 2
    error = capsys.readouterr().err
    for option in (
        "--img-size",
        "--prune-after",
        "--keep-ratio",
        "--channels",
        "--activation",
        "--labels",
        "--spacing",
    ):
        assert option in error
    assert "--heads" not in error
    assert "--zscore" not in error


def test_options_override_the_preset(checkpoint: str, labels: list[str], tmp_path: Path) -> None:
    target = tmp_path / "liver"
    options = ["--preset", "btcv", *NETWORK, *labels, "--title", "My liver", "--keep-ratio-range", "0.1", "1"]
    assert main(["import-checkpoint", checkpoint, str(target), *options]) == 0
    bundle = read_bundle(target)
    assert bundle.title == "My liver"
    assert bundle.network["num_heads"] == 4
    assert bundle.keep_ratio_range == (0.1, 1.0)
    assert bundle.intensity == PUBLISHED["btcv"].intensity
    assert bundle.spacing == PUBLISHED["btcv"].spacing


def test_a_preset_that_does_not_fit_the_checkpoint_is_refused(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import-checkpoint", checkpoint, str(tmp_path / "btcv"), "--preset", "btcv"]) == 2
    assert "makes 1728 patches of 8³ voxels, but the checkpoint was trained with 24" in capsys.readouterr().err
    assert not (tmp_path / "btcv").exists()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({**LABEL, "channel": 2}, "channels without a label: [1]"),
        ({**LABEL, "value": 0}, "[0].value"),
        ({key: value for key, value in LABEL.items() if key != "color"}, "'color' is a required property"),
    ],
)
def test_a_labels_file_that_does_not_fit_is_refused(
    checkpoint: str,
    labels: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    entry: dict[str, object],
    message: str,
) -> None:
    Path(labels[1]).write_text(json.dumps([entry]))
    assert main(["import-checkpoint", checkpoint, str(tmp_path / "liver"), *NETWORK, *DATA, *labels]) == 2
    assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint_best.pth.tar", "labels.json"]


def test_an_existing_folder_is_left_alone(
    checkpoint: str, labels: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "liver").mkdir()
    assert main(["import-checkpoint", checkpoint, str(tmp_path / "liver"), *NETWORK, *DATA, *labels]) == 2
    assert "exists already" in capsys.readouterr().err
    assert list((tmp_path / "liver").iterdir()) == []


def test_a_missing_checkpoint_is_named(labels: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = str(tmp_path / "missing.pth.tar")
    assert main(["import-checkpoint", missing, str(tmp_path / "liver"), *NETWORK, *DATA, *labels]) == 2
    assert f"{missing}: no such file" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "out_channels"), [("btcv", 14), ("brats", 3)])
def test_published_labels_cover_the_published_channels(name: str, out_channels: int) -> None:
    preset = PUBLISHED[name]
    check_labels(preset.labels, out_channels, preset.activation, name)
