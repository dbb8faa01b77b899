"""Measure what the model card of ``brain-structures`` says: takes minutes, so it is run by hand.

``python Testing/evaluate_brain_structures.py DATA_FOLDER -o quality.json [--label-maps FOLDER]`` fetches the public
data into DATA_FOLDER, writes ``quality.json`` and ``quality.md``, and ends with exit code 1 if a requirement is missed.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from pathlib import Path
from statistics import fmean
from typing import Any

import nibabel as nib
import numpy as np

from scdseg.bundle import find_bundle
from scdseg.errors import ScdsegError
from scdseg.evaluation import compare_label_maps, dice, evaluate
from scdseg.evaluation.contrasts import contrast_scans
from scdseg.evaluation.reference_data import AAL_TO_FREESURFER, fetch
from scdseg.evaluation.variants import variants
from scdseg.inference import Segmenter
from scdseg.training.label_entries import read_label_entries
from scdseg.training.recipe import RECIPES, load_recipe
from scdseg.training.synthetic import HeldOutScans, read_heads, whole_head_synthesiser
from scdseg.volumes import check_outputs, staged

CSF = 24
MIRROR = {
    entry["value"]: entry["mirror"]
    for entry in read_label_entries(RECIPES / "brain-structures.labels.json")
    if entry["mirror"] is not None
}
TOKEN_CHOICES = ("learned", "random", "inverted")
CHOICE_RATIOS = (0.25, 0.1)
STRUCTURES = {10: "thalamus", 11: "caudate", 12: "putamen", 13: "pallidum", 17: "hippocampus", 18: "amygdala"}
# Dice against AAL of another atlas's labels carried over to Colin27 by registration: AAL's borders are AAL's.
BASELINE = {
    "affine": {10: 0.76, 11: 0.66, 12: 0.73, 13: 0.64, 17: 0.44, 18: 0.35},
    "affine + deformable": {10: 0.76, 11: 0.68, 12: 0.77, 13: 0.72, 17: 0.65, 18: 0.63},
}
REQUIRED = {
    "mean subcortical Dice, Colin27 against AAL": 0.70,
    "brain Dice, MNI152 against GM + WM > 0.5": 0.93,
    "mean Dice, synthetic scans of held-out people": 0.82,
    "mean Dice of the worst contrast, less that of the listed one": -0.10,
    "lowest mean Dice of a changed copy with the first result": 0.85,
}


def colin27(folder: Path, model: str, ratios: list[float], device: str) -> dict[str, Any]:
    """Dice and HD95 per structure (mean of left and right) by keep ratio."""
    result = evaluate(
        [folder / "colin27_t1.nii.gz"], model, folder / "colin27_aal.nii.gz", AAL_TO_FREESURFER, ratios, device
    )
    structures: dict[str, Any] = {}
    for left, name in STRUCTURES.items():
        of_structure = [row for row in result.rows if row.value in (left, MIRROR[left])]
        structures[name] = {
            metric: {
                str(r): _mean([getattr(row, metric) for row in of_structure if row.keep_ratio == r]) for r in ratios
            }
            for metric in ("dice", "hd95_mm")
        }
    details = result.to_json()
    return {
        "mean_dice": details["mean_dice"]["learned"],
        "seconds": details["seconds"]["learned"],
        "device": details["device"],
        "structures": structures,
        "registration_baseline": {
            method: {**{STRUCTURES[v]: d for v, d in values.items()}, "mean": round(fmean(values.values()), 3)}
            for method, values in BASELINE.items()
        },
    }


def token_choice(folder: Path, model: str, device: str) -> dict[str, Any]:
    """Mean Dice against AAL by the way in which tokens are chosen, as a bundle's metadata has it."""
    result = evaluate(
        [folder / "colin27_t1.nii.gz"],
        model,
        folder / "colin27_aal.nii.gz",
        AAL_TO_FREESURFER,
        CHOICE_RATIOS,
        device,
        token_choices=TOKEN_CHOICES,
    )
    return {
        "subject": "Colin27 against AAL",
        "labels": list(dict.fromkeys(row.name for row in result.rows)),
        "rows": [
            {"keep_ratio": ratio, **{choice: round(result.mean_dice(ratio, choice), 4) for choice in TOKEN_CHOICES}}
            for ratio in CHOICE_RATIOS
        ],
    }


def mni152_brain(folder: Path, segmenter: Segmenter, ratios: list[float]) -> dict[str, float]:
    """Dice of all labels but CSF together with grey + white matter probability above 0.5, by keep ratio."""
    matter = sum(np.asarray(nib.load(folder / f"mni152_{m}.nii.gz").dataobj, np.float32) / 255 for m in ("gm", "wm"))
    prepared = segmenter.prepare(folder / "mni152_t1.nii.gz")
    return {str(r): round(dice(is_brain(segmenter.run(prepared, r).labels.array), matter > 0.5), 4) for r in ratios}


def is_brain(labels: np.ndarray) -> np.ndarray:
    return (labels > 0) & (labels != CSF)


def consistency(folder: Path, segmenter: Segmenter) -> list[dict[str, Any]]:
    """Dice of changed copies of Colin27 with the result of the unchanged scan, at the model's own keep ratio."""
    image = nib.load(folder / "colin27_t1.nii.gz")
    array, affine = np.asarray(image.dataobj), image.affine
    names = {label.value: label.name for label in segmenter.bundle.labels}
    first = segment_array(segmenter, array, affine)
    rows = []
    for copy in variants(array, affine):
        found = segment_array(segmenter, copy.array, copy.affine)
        labels = copy.labels_on_first_grid(found, array.shape, affine, MIRROR)
        reach = copy.reach(array.shape, affine)
        expected = np.where(reach, first, 0)
        present = sorted(set(np.unique(expected).tolist()) - {0})
        scores = {value: dice(labels == value, expected == value) for value in present}
        worst = min(scores, key=scores.__getitem__)
        rows.append(
            {
                "copy": copy.name,
                "mirrored": copy.mirrored,
                "mean_dice": round(fmean(scores.values()), 3),
                "brain_dice": round(dice(is_brain(labels), is_brain(expected)), 3),
                "lowest_dice": round(scores[worst], 3),
                "lowest_label": names[worst],
            }
        )
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def held_out(
    label_maps: Path, recipe_name: str, scans: int, segmenter: Segmenter, ratios: list[float]
) -> dict[str, Any]:
    """Mean Dice by keep ratio, and by label at the model's own ratio, on synthetic scans of people never trained on."""
    recipe = load_recipe(recipe_name, {"data.root": str(label_maps)})
    scheme, _, heads = read_heads(recipe)
    synthesiser = whole_head_synthesiser(recipe, scheme)
    values = np.array([0, *(entry["value"] for entry in scheme.entries)], np.uint8)
    affine = np.diag([*recipe.data.spacing, 1.0])
    names = {label.value: label.name for label in segmenter.bundle.labels}
    scores: dict[float, dict[int, list[float]]] = {ratio: {value: [] for value in names} for ratio in ratios}
    data = HeldOutScans(heads, synthesiser, scans, recipe.seed)
    for index in range(len(data)):
        image, target = data[index]
        for ratio in ratios:
            labels = segment_array(segmenter, image[0].numpy(), affine, ratio)
            metrics = compare_label_maps(labels, values[target.numpy()], list(names), affine)
            for value, of_label in metrics.items():
                if of_label.reference_ml > 0:
                    scores[ratio][value].append(of_label.dice)
    means = {ratio: {v: fmean(found) for v, found in by_label.items() if found} for ratio, by_label in scores.items()}
    return {
        "people": [head.name for head in heads],
        "scans_per_person": scans,
        "mean_dice": {str(ratio): round(fmean(by_label.values()), 3) for ratio, by_label in means.items()},
        "labels": {
            names[value]: {str(ratio): round(means[ratio][value], 3) for ratio in ratios} for value in means[ratios[0]]
        },
    }


def contrasts(label_maps: Path, recipe_name: str, segmenter: Segmenter) -> dict[str, float]:
    """Mean Dice over labels and held-out people by contrast of a synthetic scan, at the model's own keep ratio."""
    recipe = load_recipe(recipe_name, {"data.root": str(label_maps)})
    scheme, _, heads = read_heads(recipe)
    values = np.array([0, *(entry["value"] for entry in scheme.entries)], np.uint8)
    scores: dict[str, list[float]] = {}
    for seed, head in enumerate(heads, start=100):
        for scan in contrast_scans(recipe, scheme, head, seed):
            labels, truth = segment_array(segmenter, scan.image, scan.affine), values[scan.target]
            present = sorted(set(np.unique(truth).tolist()) - {0})
            scores.setdefault(scan.contrast, []).append(fmean(dice(labels == v, truth == v) for v in present))
    return {name: round(fmean(found), 3) for name, found in scores.items()}


def segment_array(
    segmenter: Segmenter, array: np.ndarray, affine: np.ndarray, keep_ratio: float | None = None
) -> np.ndarray:
    """Labels of voxels, through a file as a user would give them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.nii"
        nib.save(nib.Nifti1Image(array, affine), path)
        return segmenter.run(segmenter.prepare(path), keep_ratio).labels.array


def required_values(quality: dict[str, Any], ratio: str) -> dict[str, float]:
    """What the requirements are about, at the model's own keep ratio."""
    found = {
        "mean subcortical Dice, Colin27 against AAL": quality["colin27_aal"]["mean_dice"][ratio],
        "brain Dice, MNI152 against GM + WM > 0.5": quality["mni152_brain_dice"][ratio],
        "lowest mean Dice of a changed copy with the first result": min(
            row["mean_dice"] for row in quality["consistency"] if not row["mirrored"]
        ),
    }
    if "held_out" in quality:
        found["mean Dice, synthetic scans of held-out people"] = quality["held_out"]["mean_dice"][ratio]
        found["mean Dice of the worst contrast, less that of the listed one"] = (
            min(quality["contrasts"].values()) - quality["contrasts"]["listed"]
        )
    return found


def to_markdown(quality: dict[str, Any], ratios: list[str], own_ratio: str) -> str:
    """The tables of the model card."""
    colin = quality["colin27_aal"]
    baseline = colin["registration_baseline"]
    header = ["Dice against AAL on Colin27", *(f"keep {r}" for r in ratios), *(f"registration, {m}" for m in baseline)]
    body = [
        [name, *(f"{values['dice'][r]:.2f}" for r in ratios), *(f"{b[name]:.2f}" for b in baseline.values())]
        for name, values in colin["structures"].items()
    ]
    mean = ["**mean**", *(f"{colin['mean_dice'][r]:.2f}" for r in ratios)]
    body.append([*mean, *(f"{b['mean']:.2f}" for b in baseline.values())])
    distances = [_mean([values["hd95_mm"][r] for values in colin["structures"].values()]) for r in ratios]
    body.append(["HD95, mean, mm", *("–" if d is None else f"{d:.1f}" for d in distances), *("" for _ in baseline)])
    body.append(
        [
            f"seconds ({colin['device']['name']})",
            *(f"{colin['seconds'][r]:.1f}" for r in ratios),
            *("" for _ in baseline),
        ]
    )
    choices = [[choice, *(f"{row[choice]:.4f}" for row in quality["token_choice"]["rows"])] for choice in TOKEN_CHOICES]
    parts = [_table(header, body), _table(["Tokens chosen by", *(f"keep {r:g}" for r in CHOICE_RATIOS)], choices)]
    brain = quality["mni152_brain_dice"]
    parts.append(
        _table(["MNI152", *(f"keep {r}" for r in ratios)], [["brain Dice", *(f"{brain[r]:.3f}" for r in ratios)]])
    )
    copies = [
        [
            row["copy"],
            f"{row['mean_dice']:.3f}",
            f"{row['brain_dice']:.3f}",
            f"{row['lowest_dice']:.2f} ({row['lowest_label']})",
        ]
        for row in quality["consistency"]
    ]
    parts.append(
        _table([f"Copy of Colin27 (keep {own_ratio})", "mean Dice with the first result", "brain", "lowest"], copies)
    )
    if "held_out" in quality:
        people = quality["held_out"]
        rows = [[name, *(f"{values[r]:.2f}" for r in ratios)] for name, values in people["labels"].items()]
        rows.append(["**mean**", *(f"{people['mean_dice'][r]:.2f}" for r in ratios)])
        by_contrast = [[name, f"{value:.3f}"] for name, value in quality["contrasts"].items()]
        parts.append(_table([f"Contrast, scans of the held-out people (keep {own_ratio})", "mean Dice"], by_contrast))
        title = f"Synthetic scans of {len(people['people'])} held-out people"
        parts.append(_table([title, *(f"keep {r}" for r in ratios)], rows))
    return "\n".join(parts)


def _mean(values: list[Any]) -> float | None:
    """Mean; None if there is no value for one of them, as for the distance of a structure that was not found."""
    return None if any(value is None or math.isnan(value) for value in values) else round(fmean(values), 3)


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---", *("---:" for _ in header[1:])], *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the tables of the brain model's card.")
    parser.add_argument("data", type=Path, help="folder for the evaluation data")
    parser.add_argument("--package", type=Path, action="append", default=[], help="a package file (.deb, .whl) at hand")
    parser.add_argument("-m", "--model", default="brain-structures")
    parser.add_argument("--label-maps", type=Path, help="folder of the training label maps, for the held-out people")
    parser.add_argument("--recipe", default="brain-structures", help="recipe that says who was held out")
    parser.add_argument("--scans", type=int, default=3, help="synthetic scans of each held-out person")
    parser.add_argument("--keep-ratios", nargs="+", type=float, default=[1.0, 0.5, 0.25, 0.1])
    parser.add_argument("--device", default="auto")
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON file; the tables go beside it as .md")
    arguments = parser.parse_args()
    tables_path = arguments.output.with_suffix(".md")
    try:
        check_outputs([(arguments.output, (".json",)), (tables_path, (".md",))], arguments.package)
        fetch(arguments.data, arguments.package)
        bundle = find_bundle(arguments.model)
        ratios = sorted({*arguments.keep_ratios, bundle.keep_ratio}, reverse=True)
        segmenter = Segmenter(bundle, arguments.device)
        quality: dict[str, Any] = {
            "colin27_aal": colin27(arguments.data, arguments.model, ratios, arguments.device),
            "token_choice": token_choice(arguments.data, arguments.model, arguments.device),
            "mni152_brain_dice": mni152_brain(arguments.data, segmenter, ratios),
            "consistency": consistency(arguments.data, segmenter),
        }
        if arguments.label_maps is not None:
            quality["held_out"] = held_out(arguments.label_maps, arguments.recipe, arguments.scans, segmenter, ratios)
            quality["contrasts"] = contrasts(arguments.label_maps, arguments.recipe, segmenter)
        tables = to_markdown(quality, [str(r) for r in ratios], str(bundle.keep_ratio))
        with staged([arguments.output, tables_path]) as temporary:
            temporary[arguments.output].write_text(json.dumps(quality, indent=2) + "\n", encoding="utf-8")
            temporary[tables_path].write_text(tables, encoding="utf-8")
    except ScdsegError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(tables)
    found = required_values(quality, str(bundle.keep_ratio))
    for what, value in found.items():
        print(f"{'reached' if value >= REQUIRED[what] else 'MISSED'}: {what}: {value:.3f} (at least {REQUIRED[what]})")
    return int(any(value < REQUIRED[what] for what, value in found.items()))


if __name__ == "__main__":
    sys.exit(main())
