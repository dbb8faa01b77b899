"""Synthetic scans from label maps: domain randomisation after Billot et al., *SynthSeg*, Medical Image Analysis 2023.

One head becomes a scan of random contrast, shape, resolution and artefacts, cut to the training window straight away:
the label map is sampled once through an affine and a coarse random displacement field, means and deviations come from
look-up tables. That costs milliseconds, where deforming the full volume first costs seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from monai.networks.layers import GaussianFilter
from torch import Tensor
from torch.nn import functional as F

from scdseg.training.label_maps import LabelMap, LabelScheme


@dataclass(frozen=True)
class SynthesisSettings:
    """Ranges of what is drawn for every scan. Intensities: 0 is air and about 1 the brightest tissue; lengths in mm,
    angles in degrees.

    ``contrast`` maps a raw label value to the mean of its tissue and that mean's standard deviation between scans; with
    probability ``random_contrast`` (and for values not listed) the mean is uniform in [0, 1] instead. With probability
    ``inverted`` the brain's means, fluid included, are turned round (1 − mean), which is T2-like where the listed means
    are those of T1; what lies around the brain is then uniform. ``fluid`` lists the raw values of the fluid around the
    brain, which brain extraction removes half of the time.
    """

    contrast: dict[int, tuple[float, float]] = field(default_factory=dict)
    random_contrast: float = 0.1
    inverted: float = 0.0
    tissue_deviation: tuple[float, float] = (0.01, 0.07)
    rotation: float = 20.0
    scaling: float = 0.15
    shear: float = 0.08
    offset: float = 30.0
    displacement: float = 4.0
    mirror: float = 0.5
    bias_field: float = 0.35
    blur: tuple[float, float] = (0.0, 1.6)
    noise: tuple[float, float] = (0.0, 0.05)
    thick_slices: float = 0.2
    slice_thickness: float = 6.0
    gamma: float = 0.25
    brain_extracted: float = 0.3
    fluid: tuple[int, ...] = ()


class ScanSynthesiser:
    """Makes (scan, labels) pairs of one window from label maps.

    Args:
        scheme: tissues and targets of the label maps.
        window: size in voxels.
        spacing: voxel size of the window in mm.
        settings: what is drawn.
    """

    def __init__(
        self,
        scheme: LabelScheme,
        window: tuple[int, int, int],
        spacing: tuple[float, float, float],
        settings: SynthesisSettings,
    ) -> None:
        self.window = window
        self.settings = settings
        self.targets = (scheme.targets(), scheme.targets(mirrored=True))
        self.twins = scheme.sides_together()
        self.tissues = scheme.tissues
        listed = [settings.contrast.get(raw) for raw in scheme.tissues]
        self.prior = torch.tensor([pair or (0.5, 0.3) for pair in listed])
        self.unlisted = torch.tensor([pair is None for pair in listed])
        self.air = torch.tensor([raw == 0 for raw in scheme.tissues])
        self.fluid = torch.tensor([raw in settings.fluid for raw in scheme.tissues])
        self.brain = (self.targets[0] > 0) & ~self.fluid
        axes = [(torch.arange(n) - (n - 1) / 2) * mm for n, mm in zip(window, spacing, strict=True)]
        self.points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)  # mm from the window's centre
        self.spacing = spacing

    def __call__(self, head: LabelMap, generator: torch.Generator, strength: float = 1.0) -> tuple[Tensor, Tensor]:
        """One scan: image (1, *window) float32 in [0, 1] and channel indices (*window) int64.

        ``strength`` in [0, 1] scales rotation, scaling, shear, offset and displacement, for training that starts easy.
        """
        mirrored = self._chance(self.settings.mirror, generator)
        coordinates = self._coordinates(head, mirrored, strength, generator)
        means, deviations, visible = self._contrast(generator)
        image, tissue = _sample(head.tissues, coordinates, means)
        image = image + deviations[tissue] * torch.randn(self.window, generator=generator)
        targets = torch.where(visible, self.targets[int(mirrored)], 0)
        return self._acquire(image, generator).unsqueeze(0), targets[tissue]

    def _coordinates(self, head: LabelMap, mirrored: bool, strength: float, generator: torch.Generator) -> Tensor:
        """Voxel coordinates (*window, 3) in the head for every voxel of the window."""
        s = self.settings
        matrix = _random_affine(s.rotation * strength, s.scaling * strength, s.shear * strength, generator)
        if mirrored:
            matrix = torch.diag(torch.tensor([-1.0, 1.0, 1.0])) @ matrix
        offset = s.offset * strength * (2 * torch.rand(3, generator=generator) - 1)
        nodes = [int(torch.randint(4, 9, (1,), generator=generator)) for _ in range(3)]
        size = s.displacement * strength * torch.rand(1, generator=generator)
        coarse = size * torch.randn(1, 3, *nodes, generator=generator)
        displacement = F.interpolate(coarse, size=self.window, mode="trilinear", align_corners=True)[0]
        world = (self.points + offset) @ matrix.T + displacement.permute(1, 2, 3, 0)
        return world / head.spacing + head.centre

    def _contrast(self, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and deviation of every tissue, and whether it is in the image at all (T,)."""
        s = self.settings
        count = len(self.tissues)
        uniform = torch.rand(count, generator=generator)
        means = self.prior[:, 0] + self.prior[:, 1] * torch.randn(count, generator=generator)
        use_random = self.unlisted | self._chance(s.random_contrast, generator)
        if s.inverted and self._chance(s.inverted, generator):
            means = 1 - means
            use_random = use_random | ~(self.brain | self.fluid)
        means = torch.where(use_random, uniform, means).clamp(min=0.0)[self.twins]
        low, high = s.tissue_deviation
        deviations = (low + (high - low) * torch.rand(count, generator=generator))[self.twins]
        visible = torch.ones(count, dtype=torch.bool)
        if self._chance(s.brain_extracted, generator):
            visible = self.brain | (self.fluid & self._chance(0.5, generator))
        painted = visible & ~self.air
        return torch.where(painted, means, 0.0), torch.where(painted, deviations, 0.0), visible

    def _acquire(self, image: Tensor, generator: torch.Generator) -> Tensor:
        """What scanner and preprocessing do to the ideal image: blur, bias, thick slices, noise, scale, gamma."""
        s = self.settings
        voxel = sum(self.spacing) / 3
        if self._chance(0.5, generator):
            image = _blur(image, self._between(s.blur, generator) / voxel)
        coarse = s.bias_field * torch.rand(1, generator=generator) * torch.randn(1, 1, 4, 4, 4, generator=generator)
        image = image * F.interpolate(coarse, size=self.window, mode="trilinear", align_corners=True)[0, 0].exp()
        if self._chance(s.thick_slices, generator):
            image = self._thicken(image, generator)
        image = image + self._between(s.noise, generator) * torch.randn(self.window, generator=generator)
        image = image.clamp(min=0)
        # The bundle scales by percentiles of the whole volume; a window of it sees other tails, hence the random
        # factor.
        bright = image[::3, ::3, ::3][image[::3, ::3, ::3] > 0.02]
        top = torch.quantile(bright, 0.99) if len(bright) else 1.0
        factor = self._between((0.75, 1.1), generator)
        image = (image / top * factor).clamp(0, 1)
        return image ** math.exp(s.gamma * float(torch.randn(1, generator=generator)))

    def _thicken(self, image: Tensor, generator: torch.Generator) -> Tensor:
        axis = int(torch.randint(3, (1,), generator=generator))
        shape = list(self.window)
        thickness = self._between((self.spacing[axis], self.settings.slice_thickness), generator)
        shape[axis] = max(4, round(shape[axis] * self.spacing[axis] / thickness))
        low = F.interpolate(image[None, None], size=shape, mode="area")
        return F.interpolate(low, size=self.window, mode="trilinear", align_corners=False)[0, 0]

    @staticmethod
    def _chance(probability: float, generator: torch.Generator) -> bool:
        return bool(torch.rand(1, generator=generator) < probability)

    @staticmethod
    def _between(bounds: tuple[float, float], generator: torch.Generator) -> float:
        return bounds[0] + (bounds[1] - bounds[0]) * float(torch.rand(1, generator=generator))


def _random_affine(rotation: float, scaling: float, shear: float, generator: torch.Generator) -> Tensor:
    """(3, 3) matrix of random rotations (degrees) about the three axes, scalings and shears, all uniform."""
    draw = 2 * torch.rand(9, generator=generator) - 1
    matrix = torch.diag(1 + scaling * draw[3:6])
    matrix[0, 1], matrix[0, 2], matrix[1, 2] = (shear * draw[6:9]).tolist()
    for axis, angle in enumerate((math.radians(rotation) * draw[:3]).tolist()):
        i, j = [k for k in range(3) if k != axis]
        turn = torch.eye(3)
        turn[i, i] = turn[j, j] = math.cos(angle)
        turn[i, j], turn[j, i] = -math.sin(angle), math.sin(angle)
        matrix = turn @ matrix
    return matrix


def _sample(tissues: Tensor, coordinates: Tensor, means: Tensor) -> tuple[Tensor, Tensor]:
    """Mean intensity (trilinear) and tissue index (nearest) at voxel coordinates (*window, 3); air outside."""
    size = torch.tensor(tissues.shape)
    low = coordinates.amin((0, 1, 2)).floor().long().clamp(min=0).minimum(size - 2)
    high = (coordinates.amax((0, 1, 2)).ceil().long() + 1).maximum(low + 2).minimum(size)
    crop = tissues[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    local = coordinates - low
    scaled = 2 * local / (high - low - 1) - 1
    volume = means[crop.long()][None, None]
    image = F.grid_sample(volume, scaled.flip(-1)[None], mode="bilinear", padding_mode="zeros", align_corners=True)[
        0, 0
    ]
    nearest = local.round().long()
    inside = ((nearest >= 0) & (nearest < high - low)).all(-1)
    nearest = nearest.clamp(min=0).minimum(high - low - 1)
    shape = crop.shape
    flat = (nearest[..., 0] * shape[1] + nearest[..., 1]) * shape[2] + nearest[..., 2]
    tissue = crop.reshape(-1)[flat].long()
    return image, torch.where(inside, tissue, 0)


def _blur(image: Tensor, sigma: float) -> Tensor:
    return GaussianFilter(3, max(sigma, 1e-3))(image[None, None])[0, 0]
