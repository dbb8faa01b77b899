"""A model that scores a token by how bright its patch is, and a volume in which one token is by far the brightest.

python Testing/brightness_model.py FOLDER [VOLUME.nrrd]

The model sees windows of 32×24×24 voxels of 2 mm (4×3×3 tokens) and prunes twice; at its own keep ratio it keeps 7 and
then 1 of the 36 tokens of a window. The volume is oblique and anisotropic, its axes run superior, left and posterior.
Beside it, VOLUME.json says where its cube lies: the token's index on the token grid, the grid's shape, the token's
centre and its eight corners in RAS mm, and the label that the model gives to the cube.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from torch import nn

from scdseg.bundle import Bundle, Code, Intensity, Label, write_bundle
from scdseg.inference.preprocess import to_network_grid
from scdseg.networks import SCDUNETR
from scdseg.volumes import Volume, write_volume

PATCH = 8
BRIGHT, DIM = 7, 3  # label values
# Every window of a grid of 6×4×4 tokens sees this one, so that nowhere another token can be the brightest of them all.
TOKEN = (3, 1, 2)
SHAPE = (24, 60, 30)
_ROTATION = nib.quaternions.angle_axis2mat(np.deg2rad(20), [1, 2, 3])
# Columns: axes of the volume (superior, left, posterior) and their spacing in mm; then the first voxel's place.
AFFINE = np.block(
    [[_ROTATION @ [[0, -1.5, 0], [0, 0, -2.0], [2.5, 0, 0]], np.array([[31.0], [27.0], [-44.0]])], [np.eye(4)[3:]]]
)

_WIDTH = 48
# Far larger than any brightness, so that LayerNorm divides all tokens by nearly the same.
_STEADY = 10.0
# Far larger than the positions that the assembly adds.
_LOUD = 1000.0


def write_brightness_model(folder: Path) -> Bundle:
    """Write the model's bundle into a new folder."""
    network = SCDUNETR(
        in_channels=1,
        out_channels=3,
        img_size=(32, 24, 24),
        patch_size=PATCH,
        feature_size=4,
        hidden_size=_WIDTH,
        mlp_dim=_WIDTH,
        num_layers=3,
        num_heads=4,
        prune_after=(1, 2),
        keep_ratio=0.2,
        assembly_size=_WIDTH,
        assembly_heads=4,
        decoder="shallow",
        token_head=True,
    )
    set_weights(network)
    tissue = Code("SCT", "85756007", "Tissue")
    return write_bundle(
        folder,
        network,
        name="Brightness",
        description="Scores tokens by their brightness, for tests",
        channels=["T1"],
        labels=[
            Label(BRIGHT, "bright", (240, 228, 66), tissue, tissue, None, None, 1),
            Label(DIM, "dim", (86, 180, 233), tissue, tissue, None, None, 2),
        ],
        activation="softmax",
        orientation="RAS",
        spacing=(2.0, 2.0, 2.0),
        # From the darkest to the brightest voxel: the order of all stays.
        intensity=[
            Intensity("percentiles", {"lower": 0.0, "upper": 100.0, "b_min": 0.0, "b_max": 1.0, "nonzero": False})
        ],
        overlap=0.5,
        keep_ratio=0.2,
        keep_ratio_range=(0.1, 1.0),
        half=False,
    )


@torch.no_grad()
def set_weights(network: SCDUNETR) -> None:
    """Let channel 0 carry the mean brightness of a patch, 0…1, through all layers.

    Residual branches and decoder are zero, so that a token stays as it was embedded: (brightness, −brightness, steady,
    −steady, 0, …). Every layer on its way is monotone in the brightness as long as that is not negative.
    """
    for parameter in network.parameters():
        parameter.zero_()
    for module in network.modules():
        if isinstance(module, nn.LayerNorm):
            module.weight.fill_(1.0)
    encoder, assembly, head = network.encoder, network.assembly, network.token_head
    embedding = encoder.embedding.projection
    embedding.weight[0], embedding.weight[1] = 1 / PATCH**3, -1 / PATCH**3
    embedding.bias[2], embedding.bias[3] = _STEADY, -_STEADY
    for pruning in encoder.pruning:
        pruning.predictor.input_mlp[1].weight[0, 0] = _STEADY
        for layer in pruning.predictor.output_mlp[::2]:
            layer.weight[0, 0] = 1.0
    for projection in assembly.projections:
        projection.weight[0, 0] = projection.weight[1, 1] = _LOUD
        # As large as it takes for the completed token to have the brightness in channel 0 again.
        projection.bias[2], projection.bias[3] = _LOUD * _WIDTH / _STEADY, -_LOUD * _WIDTH / _STEADY
    assembly.output.weight[0, 0], assembly.output.weight[0, 1] = 1.0, -1.0
    # Background up to a brightness of 0.1, dim up to 0.5, bright above.
    for channel, slope, zero in ((1, 5.0, 0.42), (2, 1.0, 0.1)):
        head.linear.weight[channel::3, 0] = slope
        head.linear.bias[channel::3] = -slope * zero


def cube_in_token(shape: Sequence[int], affine: np.ndarray, bundle: Bundle, token: Sequence[int]) -> np.ndarray:
    """A dark volume, brighter towards the end of every axis, with a bright cube that fills a token of the network.

    Args:
        shape: of the volume in voxels.
        affine: (4, 4), voxel index → RAS+ in mm.
        bundle: the model; one that does not crop.
        token: index on its token grid.

    Returns:
        float32: 20 to 160, and 1000 in the voxels whose centres lie in the token's patch.
    """
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    array = 20 + 140 * (index / (np.array(shape) - 1) @ [0.2, 0.3, 0.5])
    _, network_affine = network_grid(shape, affine, bundle)
    to_network = np.linalg.inv(network_affine) @ affine
    voxel = index @ to_network[:3, :3].T + to_network[:3, 3]
    # A voxel of the network reaches half a voxel to both sides of its centre.
    first = PATCH * np.array(token) - 0.5
    array[((voxel >= first) & (voxel < first + PATCH)).all(axis=-1)] = 1000
    return array.astype(np.float32)


def network_grid(shape: Sequence[int], affine: np.ndarray, bundle: Bundle) -> tuple[tuple[int, int, int], np.ndarray]:
    """Shape in voxels and affine of the network's image of a volume: turned, resampled and padded by the engine."""
    image = to_network_grid(np.zeros((1, *shape), np.float32), affine, replace(bundle, intensity=()))
    x, y, z = image.shape[1:]
    return (x, y, z), image.affine.numpy()


def describe_token(shape: Sequence[int], affine: np.ndarray, bundle: Bundle, token: Sequence[int]) -> dict[str, object]:
    """Where a token lies, from the places of the network's voxels that it was cut from; ready for JSON."""
    network_shape, network_affine = network_grid(shape, affine, bundle)
    first = PATCH * np.array(token) - 0.5
    corners = np.array([first + PATCH * np.array(corner) for corner in np.ndindex(2, 2, 2)])
    voxels = np.array([PATCH * np.array(token) + voxel for voxel in np.ndindex(PATCH, PATCH, PATCH)])

    def place(points: np.ndarray) -> np.ndarray:
        return points @ network_affine[:3, :3].T + network_affine[:3, 3]

    return {
        "token": list(token),
        "grid": [n // PATCH for n in network_shape],
        "center_ras_mm": place(voxels).mean(axis=0).tolist(),
        "corners_ras_mm": place(corners).tolist(),
        "label": BRIGHT,
    }


def write_cube(path: Path, bundle: Bundle) -> None:
    """Write the volume, and what is known of its cube under the same name as JSON."""
    write_volume(Volume(cube_in_token(SHAPE, AFFINE, bundle, TOKEN), AFFINE), path)
    text = json.dumps(describe_token(SHAPE, AFFINE, bundle, TOKEN), indent=2)
    path.with_suffix(".json").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    model = write_brightness_model(Path(sys.argv[1]))
    for argument in sys.argv[2:]:
        write_cube(Path(argument), model)
