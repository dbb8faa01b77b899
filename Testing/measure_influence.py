"""Measure by deletion whether influence tells which tokens move the labels.

``python Testing/measure_influence.py`` sets shares of the tokens of the sample volume to the mean of their window's
tokens, in several orders, counts the labels that change, and writes the section "Influence" of ``docs/results.md`` and
the plot ``docs/images/influence_deletion.png``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean, pstdev

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from results_page import PAGE, machine, markdown_table, write_section
from scdseg.bundle import find_bundle
from scdseg.inference import Prepared, Segmenter
from scdseg.inference.influence import gradient_norm, labels_asked_for, raw_influence
from scdseg.inference.shared import SharedWork
from scdseg.inference.windows import Start
from scdseg.networks.scd_unetr import SharedFeatures
from scdseg.resources import resource_dir

SHARES = (0.02, 0.05, 0.1, 0.2, 0.3)
RANDOM_ORDERS = 3
# Of Okabe and Ito's palette, which colour-blind people can tell apart.
COLORS = {
    "most influential": "#D55E00",
    "most important": "#0072B2",
    "random, of those with labels": "#CC79A7",
    "random": "#000000",
    "least influential": "#009E73",
}


def towards_mean(gradient: Tensor, tokens: Tensor) -> Tensor:
    """First-order change of the margins when a token becomes the mean of all, whatever its sign."""
    return (gradient * (tokens - tokens.mean(0))).sum(-1).abs()


def norm_times_distance(gradient: Tensor, tokens: Tensor) -> Tensor:
    """The most that such a change could be."""
    return gradient.norm(dim=-1) * (tokens - tokens.mean(0)).norm(dim=-1)


MEASURES = {
    "length of the gradient": gradient_norm,
    "gradient · (token − mean token), its size": towards_mean,
    "length of the gradient × length of (token − mean token)": norm_times_distance,
}


class Deletion(SharedWork):
    """Sets tokens to the mean of their window's tokens.

    Args:
        segmenter: whose windows these are.
        deleted: (X', Y', Z') on the token grid of the volume.
    """

    def __init__(self, segmenter: Segmenter, deleted: Tensor) -> None:
        super().__init__(segmenter.device)
        self._deleted = deleted
        self._patch = segmenter.bundle.network["patch_size"]
        self._embedding = segmenter.network.encoder.embedding
        self._here = torch.zeros(0)

    def features(self, starts: Sequence[Start], compute: Callable[[], SharedFeatures]) -> SharedFeatures:
        """The shared features of windows without the tokens."""
        self._here = torch.stack([self._deleted[self._grid(start)].flatten() for start in starts])[..., None]
        with self._hooked():
            return compute()

    def _grid(self, start: Start) -> tuple[slice, ...]:
        """Where a window's tokens are in the volume."""
        first = [voxel // self._patch for voxel in start]
        return tuple(slice(f, f + n) for f, n in zip(first, self._embedding.grid, strict=True))

    @contextmanager
    def _hooked(self) -> Iterator[None]:
        def delete(module: object, images: object, tokens: Tensor) -> Tensor:
            patches = tokens[:, 1:]
            mean = patches.mean(dim=1, keepdim=True)
            return torch.cat((tokens[:, :1], torch.where(self._here.to(tokens.device), mean, patches)), dim=1)

        hook = self._embedding.register_forward_hook(delete)
        try:
            yield
        finally:
            hook.remove()


class DeletionTest:
    """Labels of a prepared image with and without some of its tokens."""

    def __init__(self, segmenter: Segmenter, prepared: Prepared, keep_ratio: float) -> None:
        self._segmenter, self._prepared, self._keep_ratio = segmenter, prepared, keep_ratio
        result = segmenter.run(prepared, keep_ratio)
        self.labels, self.importance = result.labels.array, result.importance.array
        self.labelled = np.zeros(self.importance.size, dtype=bool)  # tokens that hold a labelled voxel
        to_token = np.linalg.inv(result.importance.affine) @ result.labels.affine
        place = np.argwhere(self.labels > 0) @ to_token[:3, :3].T + to_token[:3, 3]
        token = np.clip(np.floor(place + 0.5).astype(int), 0, np.array(self.importance.shape) - 1)
        self.labelled[np.ravel_multi_index(tuple(token.T), self.importance.shape)] = True

    def changed(self, order: np.ndarray, share: float, value: int | None = None) -> float:
        """Voxels with another label once the first tokens of an order are deleted, over the voxels labelled before.

        Args:
            order: indices of all tokens.
            share: of them that is deleted.
            value: of a label that alone is looked at; None: all.
        """
        deleted = torch.zeros(order.size, dtype=torch.bool)
        deleted[order[: round(share * order.size)].tolist()] = True
        work = Deletion(self._segmenter, deleted.reshape(self.importance.shape))
        labels = self._segmenter.run(self._prepared, self._keep_ratio, shared=work).labels.array
        if value is None:
            return float((labels != self.labels).sum() / (self.labels > 0).sum())
        return float(((labels == value) != (self.labels == value)).sum() / (self.labels == value).sum())

    def influence(self, channels: Sequence[int], measure: Callable[[Tensor, Tensor], Tensor]) -> np.ndarray:
        """Influence of the tokens by a measure of their gradients."""
        return raw_influence(self._segmenter, self._prepared, channels, self._keep_ratio, measure=measure).numpy()


def descending(values: np.ndarray) -> np.ndarray:
    """Indices of tokens from the highest value to the lowest."""
    return np.argsort(-values, axis=None, kind="stable")


def random_orders(count: int) -> list[np.ndarray]:
    """Orders of tokens that chance makes."""
    return [np.random.default_rng(seed).permutation(count) for seed in range(RANDOM_ORDERS)]


def curves(test: DeletionTest, channels: Sequence[int]) -> dict[str, list[list[float]]]:
    """Share of labels changed by order and share of tokens deleted, one or several figures each."""
    by_influence = descending(test.influence(channels, gradient_norm))
    orders = {
        "most influential": [by_influence],
        "most important": [descending(test.importance)],
        "random, of those with labels": [
            np.concatenate((order[test.labelled[order]], order[~test.labelled[order]]))
            for order in random_orders(by_influence.size)
        ],
        "random": random_orders(by_influence.size),
        "least influential": [by_influence[::-1]],
    }
    return {name: [[test.changed(order, s) for order in of_name] for s in SHARES] for name, of_name in orders.items()}


def plot(found: dict[str, list[list[float]]], path: Path) -> None:
    """Draw the curves."""
    figure = Figure(figsize=(5.6, 3.8), layout="constrained")
    axes = figure.add_subplot()
    for name, color in COLORS.items():
        axes.plot([100 * s for s in SHARES], [100 * fmean(v) for v in found[name]], "o-", color=color, ms=3, label=name)
    axes.set_xlabel("tokens deleted [%]")
    axes.set_ylabel("labels changed [% of the labelled voxels]")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


def percent(values: Sequence[float]) -> str:
    """Mean, with the standard deviation of several."""
    return f"{100 * fmean(values):.2f} %" + (f" ± {100 * pstdev(values):.2f}" if len(values) > 1 else "")


def section(test: DeletionTest, segmenter: Segmenter, label: str, plot_path: Path) -> str:
    """Measure everything, and tell it."""
    bundle = segmenter.bundle
    everything = [each.channel for each in bundle.labels]
    found = curves(test, everything)
    plot(found, plot_path)
    chance = fmean(found["random"][SHARES.index(0.1)])
    rows = [[name, *(percent(values) for values in of_name)] for name, of_name in found.items()]
    measures = []
    for name, measure in MEASURES.items():
        order = descending(test.influence(everything, measure))
        most, least = test.changed(order, 0.1), test.changed(order[::-1], 0.1)
        measures.append([name, percent([most]), f"{most / chance:.1f}×", percent([least])])
        print(measures[-1], flush=True)
    (one,) = labels_asked_for(bundle, label)
    order = descending(test.influence([one.channel], gradient_norm))
    of_label = [test.changed(order, 0.01, one.value), test.changed(order[::-1], 0.01, one.value)]
    of_chance = [test.changed(other, 0.01, one.value) for other in random_orders(order.size)]
    times = {name: fmean(found[name][SHARES.index(0.1)]) / chance for name in found}
    labelled = int(test.labelled.sum())
    most, important = (times[name] for name in ("most influential", "most important"))
    fair = times["random, of those with labels"]
    return f"""Tokens of the sample volume (Colin27, {order.size} of them) deleted: set to the mean token of their
window as they leave the patch embedding, in every window that sees them. Counted are voxels of the input that get
another label, over those labelled before. Model `{bundle.name}` {bundle.version} at keep ratio {bundle.keep_ratio:g};
random: mean and standard deviation of {RANDOM_ORDERS} orders. {labelled} tokens hold labelled voxels; random ones of
those are the fairer comparison. The decoder sees the image itself, so that deleting a token never deletes all that is
known of its patch.

{markdown_table(["Tokens deleted", *(f"{s:.0%}" for s in SHARES)], rows)}
The 10 % most influential change {most:.1f} times as many labels as random ones and {most / fair:.1f} times as many as
random ones of those with labels, the most important {important:.1f} and {important / fair:.1f} times.

<img src="images/{plot_path.name}" width="480" alt="Labels changed against tokens deleted, by order of deletion">

Measures of the gradient that were compared, 10 % of the tokens deleted:

{markdown_table(["Measure", "most", "over random", "least"], measures)}
Influence on one structure, {one.name}, 1 % of the tokens deleted; voxels that it gains or loses over those that it had:
most influential {percent(of_label[:1])}, random {percent(of_chance)}, least influential {percent(of_label[1:])}.

{machine(str(segmenter.device).upper())}, {"bf16" if segmenter.dtype == torch.bfloat16 else "fp32"}.
Command: `python Testing/measure_influence.py`"""


def main() -> None:
    """Measure, and write the section and the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default="brain-structures")
    parser.add_argument("--label", default="Left hippocampus", help="structure that is also asked about by itself")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--page", type=Path, default=PAGE)
    arguments = parser.parse_args()
    segmenter = Segmenter(find_bundle(arguments.model), arguments.device)
    prepared = segmenter.prepare(resource_dir() / "SampleData" / "colin27_t1.nii.gz")
    test = DeletionTest(segmenter, prepared, segmenter.bundle.keep_ratio)
    images = arguments.page.parent / "images"
    images.mkdir(exist_ok=True)
    text = section(test, segmenter, arguments.label, images / "influence_deletion.png")
    write_section("Influence", text, arguments.page)


if __name__ == "__main__":
    main()
