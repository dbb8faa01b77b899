"""Weights to start from: every kind of source gives the features that it gave before, and what does not fit is said."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import monai.networks.nets as monai_nets
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from scdseg.bundle import Bundle
from scdseg.errors import InputError
from scdseg.networks import SCDUNETR, UNETR
from scdseg.training.recipe import load_recipe
from scdseg.training.start import load_start

REFERENCE = Path(__file__).resolve().parents[1] / "data" / "reference" / "patch8_unetr_x8.safetensors"
SIZES: dict[str, Any] = {"hidden_size": 24, "mlp_dim": 36, "num_layers": 3, "num_heads": 4}
WINDOW = (16, 24, 16)


def make_network(kind: type[SCDUNETR] | type[UNETR] = UNETR, **arguments: Any) -> Any:
    torch.manual_seed(1)
    sizes = {"in_channels": 1, "out_channels": 3, "img_size": WINDOW, "feature_size": 4, "decoder": "light", **SIZES}
    if kind is SCDUNETR:
        sizes |= {"prune_after": (2,), "assembly_size": 24, "assembly_heads": 4}
    return kind(**(sizes | arguments)).eval()


def make_monai(kind: type[nn.Module] = monai_nets.ViT, **arguments: Any) -> nn.Module:
    torch.manual_seed(2)
    network = kind(**({"in_channels": 1, "img_size": WINDOW} | arguments)).eval()
    for parameter in network.parameters():  # biases and norms that tell whether they were taken
        parameter.data += 0.1 * torch.randn_like(parameter)
    return network


def vit(network: SCDUNETR | UNETR) -> Any:
    return network.encoder if isinstance(network, SCDUNETR) else network


def block_outputs(network: SCDUNETR | UNETR, tokens: Tensor) -> list[Tensor]:
    outputs = []
    for block in vit(network).blocks:
        tokens = block(tokens)
        outputs.append(tokens)
    return outputs


def image(channels: int = 1, window: tuple[int, ...] = WINDOW) -> Tensor:
    return torch.rand(2, channels, *window, generator=torch.Generator().manual_seed(0))


def save(network: nn.Module, path: Path) -> Path:
    torch.save(network.state_dict(), path)
    return path


@pytest.mark.parametrize("kind", [UNETR, SCDUNETR])
@pytest.mark.parametrize("projection", ["conv", "perceptron"])
@pytest.mark.parametrize("qkv_bias", [False, True])
def test_a_monai_vit_gives_the_features_that_it_gave(
    tmp_path: Path, kind: type[SCDUNETR] | type[UNETR], projection: str, qkv_bias: bool
) -> None:
    source: Any = make_monai(
        **SIZES, patch_size=8, classification=True, in_channels=2, proj_type=projection, qkv_bias=qkv_bias
    )
    network = make_network(kind, in_channels=2)
    report = load_start(network, save(source, tmp_path / "vit.pth"))
    assert not [name for name in report.random if name.startswith(("embedding.", "blocks.", "norm."))]
    assert {name.split(".")[0] for name in report.ignored} <= {"classification_head", "blocks"}
    assert not [name for name in report.ignored if ".norm_cross_attn." not in name and not name.startswith("class")]
    with torch.no_grad():
        expected = source(image(2))[1]
        found = block_outputs(network, vit(network).embedding(image(2)))
        # MONAI's norms have another epsilon.
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(vit(network).norm(found[-1]), source.norm(expected[-1]), atol=1e-3, rtol=1e-3)
    assert float((found[-1][0] - found[-1][1]).abs().max()) > 0.1


def test_a_monai_masked_autoencoder_is_known(tmp_path: Path) -> None:
    source: Any = make_monai(
        monai_nets.MaskedAutoEncoderViT, **SIZES, patch_size=8, decoder_num_heads=4, decoder_hidden_size=24
    )
    network = make_network()
    report = load_start(network, save(source, tmp_path / "mae.pt"))
    assert not [name for name in report.random if name.startswith(("embedding.", "blocks.", "norm."))]
    with torch.no_grad():
        tokens = torch.cat((source.cls_token.expand(2, -1, -1), source.patch_embedding(image())), dim=1)
        ours = network.norm(block_outputs(network, network.embedding(image()))[-1])
        torch.testing.assert_close(ours, source.blocks(tokens), atol=1e-3, rtol=1e-3)


def test_a_monai_autoencoder_is_known(tmp_path: Path) -> None:
    sizes = {"patch_size": 16, "img_size": (32, 32, 32)}
    source: Any = make_monai(monai_nets.ViTAutoEnc, **SIZES, **sizes)
    network = make_network(SCDUNETR, decoder="full", **sizes)
    report = load_start(network, save(source, tmp_path / "autoencoder.pt"))
    assert [name for name in report.random if name.startswith(("embedding.", "blocks.", "norm."))] == [
        "embedding.cls_token"
    ]
    voxels = image(1, (32, 32, 32))
    with torch.no_grad():
        tokens = network.encoder.embedding(voxels)[:, 1:]
        torch.testing.assert_close(tokens, source.patch_embedding(voxels))
        for block in source.blocks:
            tokens = block(tokens)
        expected = source.norm(tokens)
        found = block_outputs(network, network.encoder.embedding(voxels)[:, 1:])[-1]
        torch.testing.assert_close(network.encoder.norm(found), expected, atol=1e-3, rtol=1e-3)


def test_a_monai_unetr_segments_as_before_but_for_cls(tmp_path: Path) -> None:
    sizes = {key: value for key, value in SIZES.items() if key != "num_layers"}  # MONAI's has 12
    source: Any = make_monai(monai_nets.UNETR, img_size=(32, 32, 48), out_channels=3, feature_size=4, **sizes)
    network = make_network(img_size=(32, 32, 48), patch_size=16, decoder="full", num_layers=12)
    report = load_start(network, save(source, tmp_path / "unetr.pth"))
    assert report.random == ["embedding.cls_token"]
    with torch.no_grad():
        torch.testing.assert_close(
            network.embedding(image(1, (32, 32, 48)))[:, 1:], source.vit.patch_embedding(image(1, (32, 32, 48)))
        )
        hidden = [torch.randn(1, 12, 24) for _ in range(4)]
        expected = source.decoder5(source.proj_feat(hidden[3]), source.encoder4(source.proj_feat(hidden[2])))
        expected = source.decoder4(expected, source.encoder3(source.proj_feat(hidden[1])))
        expected = source.decoder3(expected, source.encoder2(source.proj_feat(hidden[0])))
        detail = image(1, (32, 32, 48))[:1]
        expected = source.out(source.decoder2(expected, source.encoder1(detail)))
        torch.testing.assert_close(network.decode(detail, hidden), expected)


def test_an_authors_checkpoint_is_taken_whole_or_its_encoder_alone(tmp_path: Path) -> None:
    with safe_open(REFERENCE, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
        config = json.loads(file.metadata()["config"])
    state = {f"module.{key.removeprefix('state/')}": tensors[key] for key in tensors if key.startswith("state/")}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "model.pth.tar")
    arguments = {
        "in_channels": config["in_chans"],
        "img_size": (config["roi_x"], config["roi_y"], config["roi_z"]),
        "feature_size": config["feature_size"],
        "hidden_size": config["encoder_embed_dim"],
        "mlp_dim": 4 * config["encoder_embed_dim"],
        "num_layers": config["encoder_depth"],
        "num_heads": config["encoder_num_heads"],
        "decoder": "shallow",
    }
    sparse = SCDUNETR(
        **arguments,
        out_channels=config["num_classes"],
        prune_after=[int(block) + 1 for block in config["tp_loc"].split("-")],
        keep_ratio=1 - config["tp_ratio"],
        assembly_size=config["compl_embed_dim"],
        assembly_layers=config["compl_depth"],
        assembly_heads=config["compl_num_heads"],
    ).eval()
    report = load_start(sparse, tmp_path / "model.pth.tar")
    assert (report.random, report.adapted) == ([], {})
    with torch.no_grad():
        torch.testing.assert_close(sparse(tensors["input"]), tensors["output"], rtol=0, atol=1e-4)
    dense = UNETR(**arguments, out_channels=config["num_classes"] + 1)
    report = load_start(dense, tmp_path / "model.pth.tar")
    assert report.random == ["decoder.output.conv.conv.weight", "decoder.output.conv.conv.bias"]
    assert torch.equal(dense.blocks[1].mlp[2].weight, sparse.encoder.blocks[1].mlp[2].weight)
    assert any(name.startswith("completion_net.") for name in report.ignored)


def test_a_training_run_and_its_checkpoint_are_known(tiny_run: Path, tiny_recipe: Path, tmp_path: Path) -> None:
    recipe = load_recipe(tiny_recipe)
    state = torch.load(tiny_run, weights_only=True)["state_dict"]
    for source in (tiny_run, tiny_run.parent):
        network = SCDUNETR(**recipe.network, out_channels=6)
        report = load_start(network, source)
        assert (report.random, report.adapted, report.ignored) == ([], {}, [])
        for name, weight in network.state_dict().items():
            assert torch.equal(weight, state[f"network.{name}"]), name
    other = SCDUNETR(**(recipe.network | {"num_heads": 2}), out_channels=6)
    with pytest.raises(InputError, match=r"num_heads 4, the network 2; set network\.num_heads to 4"):
        load_start(other, tiny_run)
    load_start(other, Path(shutil.copy(tiny_run, tmp_path)))  # without its recipe a checkpoint does not tell


def test_a_bundle_is_known_and_other_labels_start_at_random(tiny_bundle: Bundle) -> None:
    network = SCDUNETR(**(tiny_bundle.network | {"out_channels": 7}))
    report = load_start(network, tiny_bundle.path)
    assert report.random == ["decoder.output.conv.conv.weight", "decoder.output.conv.conv.bias"]
    stored = tiny_bundle.load_network()
    for name, weight in network.state_dict().items():
        assert name.startswith("decoder.output.") or torch.equal(weight, stored.state_dict()[name]), name
    text = str(report)
    assert f"start from {tiny_bundle.path}: {len(report.taken)} weights taken as they are: embedding" in text
    assert "2 left at random: decoder.output 2" in text


@pytest.mark.parametrize("kind", [UNETR, SCDUNETR])
def test_positions_of_another_grid_are_interpolated(tmp_path: Path, kind: type[SCDUNETR] | type[UNETR]) -> None:
    source = make_network(img_size=(32, 32, 32))
    ramp = torch.stack(torch.meshgrid(*[torch.arange(4.0) + 0.5] * 3, indexing="ij"), dim=-1).reshape(-1, 3)
    with torch.no_grad():
        source.embedding.position_embedding[0, 1:, :3] = ramp
    network = make_network(kind, img_size=(64, 32, 16))
    report = load_start(network, save(source, tmp_path / "weights.pth"))
    assert report.adapted == {"embedding.position_embedding": "interpolated, 4×4×4 → 8×4×2 tokens"}
    found = vit(network).embedding.position_embedding.detach()
    assert torch.equal(found[:, 0], source.embedding.position_embedding[:, 0])
    table = found[0, 1:, :3].view(8, 4, 2, 3)
    # A ramp stays one over the same field of view, but for half an old token at its ends.
    expected = torch.tensor([0.5, 0.75, 1.25, 1.75, 2.25, 2.75, 3.25, 3.5])
    torch.testing.assert_close(table[:, 0, 0, 0], expected)
    torch.testing.assert_close(table[0, :, 1, 1], torch.tensor([0.5, 1.5, 2.5, 3.5]))
    torch.testing.assert_close(table[3, 2, :, 2], torch.tensor([1.0, 3.0]))


def test_a_grid_that_is_recorded_need_be_no_cube(tmp_path: Path) -> None:
    source = make_network()
    metadata = {"network": json.dumps(source.config)}
    save_file(source.state_dict(), tmp_path / "encoder.safetensors", metadata=metadata)
    network = make_network(img_size=(24, 16, 16))  # as many tokens, in another order
    report = load_start(network, tmp_path)
    assert report.adapted == {"embedding.position_embedding": "interpolated, 2×3×2 → 3×2×2 tokens"}
    corner = network.embedding.position_embedding[0, 1].detach()
    expected = source.embedding.position_embedding[0, 1:].detach().view(2, 3, 2, 24)
    # Along the second axis the first of two tokens lies a quarter of an old token behind the first of three.
    torch.testing.assert_close(corner, 0.75 * expected[0, 0, 0] + 0.25 * expected[0, 1, 0])


def test_positions_whose_grid_cannot_be_told_stay_at_random(tmp_path: Path) -> None:
    source = make_network(img_size=(16, 24, 24))
    network = make_network()
    before = network.embedding.position_embedding.clone()
    report = load_start(network, save(source, tmp_path / "weights.pth"))
    assert report.random == ["embedding.position_embedding"]
    assert torch.equal(network.embedding.position_embedding, before)


@pytest.mark.parametrize("stem", ["linear", "convolutional"])
def test_equal_channels_are_embedded_as_one_was(tmp_path: Path, stem: str) -> None:
    source = make_network(stem=stem)
    network = make_network(in_channels=4, stem=stem)
    report = load_start(network, save(source, tmp_path / "weights.pth"))
    name = "embedding.projection.weight" if stem == "linear" else "embedding.projection.0.weight"
    assert report.adapted == {name: "averaged, 1 → 4 image channels"}
    with torch.no_grad():
        expected = source.embedding(image())
        torch.testing.assert_close(network.embedding(image().expand(-1, 4, -1, -1, -1)), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("hidden_size", 48, "has hidden_size 24, the network 48; set network.hidden_size to 24"),
        ("num_layers", 4, "has num_layers 3, the network 4"),
        ("mlp_dim", 48, "has mlp_dim 36, the network 48"),
    ],
)
def test_an_encoder_of_another_size_is_refused_with_both_numbers(
    tmp_path: Path, key: str, value: int, message: str
) -> None:
    network = make_network(**{key: value})
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    save_file(make_network().state_dict(), tmp_path / "vit.safetensors")
    with pytest.raises(InputError, match=rf"vit\.safetensors: its vision transformer {message}"):
        load_start(network, tmp_path / "vit.safetensors")
    assert all(torch.equal(weight, before[name]) for name, weight in network.state_dict().items())


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> Any:
        return Path.touch, (self.victim,)


@pytest.mark.parametrize("protocol", ["torch", "pickle"])
def test_a_pickle_that_runs_something_is_refused(tmp_path: Path, protocol: str) -> None:
    content = {"state_dict": make_network().state_dict(), "epoch": Malicious(tmp_path / "executed")}
    file = tmp_path / "weights.pth"
    if protocol == "torch":
        torch.save(content, file)
    else:
        file.write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match=r"weights\.pth: cannot be read safely"):
        load_start(make_network(), file)
    assert not (tmp_path / "executed").exists()
    torch.load(file, weights_only=False) if protocol == "torch" else pickle.loads(file.read_bytes())
    assert (tmp_path / "executed").exists()  # it would have run


def test_what_holds_no_vision_transformer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("text")
    (tmp_path / "text.safetensors").write_text("text")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "linear.pth")
    for path, message in (
        (tmp_path / "absent.pth", "no such file"),
        (tmp_path, r"has neither encoder\.safetensors, last\.ckpt nor configs/metadata\.json"),
        (tmp_path / "text.pth", "cannot be read safely"),
        (tmp_path / "text.safetensors", "cannot be read as weights"),
        (tmp_path / "list.pth", "holds no state dictionary"),
        (tmp_path / "linear.pth", "holds no vision transformer to start from, but 2 tensors such as weight, bias"),
    ):
        with pytest.raises(InputError, match=message):
            load_start(make_network(), path)
