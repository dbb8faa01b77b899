"""Measure what token pruning costs in quality: train the same small network dense and at several keep ratios.

python Testing/measure_quality_kept.py OUT --label-maps FOLDER trains every network of every seed into its own folder
of OUT (about five minutes each on one core), segments fixed synthetic scans of people that none was trained on, each
network at the keep ratio that it was trained at, and writes the section "Quality kept" of docs/results.md. The same
command goes on where it was interrupted. It takes one thread. Extra: train.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from monai.inferers import sliding_window_inference
from torch import Tensor
from torch.utils.data import Dataset

from results_page import PAGE, machine, markdown_table, write_section
from scdseg.errors import Cancelled, InputError, ScdsegError
from scdseg.training.module import overlap_counts
from scdseg.training.recipe import Recipe, load_recipe
from scdseg.training.runs import Run, read_run
from scdseg.training.synthetic import HeldOutScans, read_heads, whole_head_synthesiser
from scdseg.training.throughput import Candidate, Measurement, measure_throughput
from scdseg.training.train import train

RECIPE = Path(__file__).with_name("quality_kept.yaml")
# Training scans are drawn from the runs' small seeds.
SEED_OF_SCANS = 20_000_000


def recipe_of(keep_ratio: float | None, seed: int, label_maps: Path, steps: int | None) -> Recipe:
    """The recipe of one network; None is the dense one."""
    overrides = {"seed": str(seed), "data.root": str(label_maps)}
    if steps is not None:
        overrides["optimisation.steps"] = str(steps)
    if keep_ratio is None:
        overrides["network.kind"] = "dense"
    else:
        overrides |= {
            "network.keep_ratio": str(keep_ratio),
            "optimisation.keep_ratio": f"[{keep_ratio}, {keep_ratio}]",
            "validation.keep_ratio": str(keep_ratio),
        }
    return load_recipe(RECIPE, overrides)


def name_of(keep_ratio: float | None) -> str:
    return "dense" if keep_ratio is None else f"keep {keep_ratio:g}"


def finished_run(folder: Path, recipe: Recipe) -> Run:
    """The run of a recipe in its folder: as it is if it is finished, else begun or gone on with."""
    resume = (folder / "last.ckpt").is_file()
    if resume:
        run = read_run(folder)
        if _settings(run.recipe) != _settings(recipe):
            raise InputError(f"{folder}: holds a run with other settings; give another OUT, or the --steps of before")
        if run.step == recipe.optimisation.steps:
            return run
    train(recipe, folder, resume, "cpu")
    return read_run(folder)


def _settings(recipe: Recipe) -> dict[str, Any]:
    """All that a run depends on, but where its files lie."""
    settings = asdict(replace(recipe, directory=Path()))
    settings["data"] |= {"root": "", "labels": ""}
    return settings


def dice_on(run: Run, scans: Dataset[tuple[Tensor, Tensor]], count: int, names: Sequence[str]) -> dict[str, float]:
    """Dice of every label: mean over the scans."""
    network, keep_ratio = run.network.eval(), run.keep_ratio

    def predict(windows: Tensor) -> Tensor:
        logits: Tensor = network(windows) if keep_ratio is None else network(windows, keep_ratio)
        return logits

    found = []
    for index in range(count):
        image, target = scans[index]
        with torch.inference_mode():
            logits = sliding_window_inference(
                image[None], network.img_size, 1, predict, overlap=run.recipe.validation.overlap, mode="gaussian"
            )
        hit, predicted, present = overlap_counts(logits, target[None], "softmax").double()
        found.append(2 * hit / (predicted + present))
    return dict(zip(names, torch.stack(found).mean(0).tolist(), strict=True))


def measured_quality(run: Run, scans: HeldOutScans, names: Sequence[str]) -> dict[str, float]:
    """Dice of a run, kept beside its checkpoint, so that it is computed once."""
    path = run.folder / "quality.json"
    asked = {"step": run.step, "people": [head.name for head in scans.heads], "scans": scans.scans}
    if path.is_file():
        content = json.loads(path.read_text(encoding="utf-8"))
        if {key: content[key] for key in asked} == asked:
            return dict(content["dice"])
    dice = dice_on(run, scans, len(scans), names)
    path.write_text(json.dumps({**asked, "dice": dice}, indent=2) + "\n", encoding="utf-8")
    return dice


def section(
    quality: dict[str, list[dict[str, float]]],
    speed: Measurement,
    people: Sequence[str],
    arguments: argparse.Namespace,
    recipe: Recipe,
) -> str:
    """The text of the section; ``quality`` has the Dice by label of every seed for every network, dense first."""
    labels = [
        [label, *(f"{fmean(dice[label] for dice in by_seed):.3f}" for by_seed in quality.values())]
        for label in quality["dense"][0]
    ]
    seeds = ", ".join(map(str, arguments.seeds))
    return f"""The same small network ([`quality_kept.yaml`](../Testing/quality_kept.yaml): width 192, 252 tokens)
trained dense and at each keep ratio: {recipe.optimisation.steps} steps of one synthetic scan.
The seeds ({seeds}) draw weights and scans, so that all networks of a seed see the same scans.
Dice over {len(labels)} structures on synthetic scans of people that no network was trained on ({", ".join(people)};
scans of each: {arguments.scans}),
every network at the keep ratio that it was trained at. Mean ± standard deviation over the seeds; differences are taken
seed by seed.

{summary({name: [fmean(dice.values()) for dice in by_seed] for name, by_seed in quality.items()}, speed)}
Dice by structure, mean over the seeds:

{markdown_table(["", *quality], labels)}
Throughput: {machine(speed.device)}, {speed.precision}, batch of {speed.rows[0].batch_size},
networks by turns, medians of {speed.rounds} rounds; speed-ups are taken round by round.
This network is small; the section on throughput has the published size.
Command: `{_command(arguments)}`
"""


def summary(means: dict[str, list[float]], speed: Measurement) -> str:
    """A line a network: its mean Dice of every seed, the difference to the first network's, cost and throughput."""
    first = speed.rows[0]
    rows = []
    for row in speed.rows:
        differences = [ours - theirs for ours, theirs in zip(means[row.name], means[first.name], strict=True)]
        rows.append(
            [
                row.name,
                _spread(means[row.name], "{:.4f}"),
                "–" if row is first else _spread(differences, "{:+.4f}"),
                f"{row.macs / 1e9:.2f}",
                f"{row.training_rate:.2f} ({row.training_speedup(first).median:.2f}×)",
                f"{row.inference_rate:.1f} ({row.inference_speedup(first).median:.2f}×)",
            ]
        )
    header = ["", "mean Dice", f"difference to {first.name}", "GMACs a window"]
    return markdown_table([*header, "training, windows/s", "inference, windows/s"], rows)


def _spread(values: Sequence[float], form: str) -> str:
    return form.format(fmean(values)) + (f" ± {stdev(values):.4f}" if len(values) > 1 else "")


def _command(arguments: argparse.Namespace) -> str:
    steps = f" --steps {arguments.steps}" if arguments.steps is not None else ""
    seeds, ratios = (" ".join(map(str, values)) for values in (arguments.seeds, arguments.keep_ratios))
    return (
        f"python Testing/measure_quality_kept.py OUT --label-maps FOLDER{steps} --seeds {seeds} --keep-ratios {ratios} "
        f"--scans {arguments.scans} --rounds {arguments.rounds}"
    )


def main() -> int:
    """Train what is missing, measure, and write the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, metavar="OUT", help="folder for the runs")
    parser.add_argument("--label-maps", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--steps", type=int, help="training steps of each network (default: the recipe's)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--keep-ratios", type=float, nargs="+", default=[0.5, 0.25, 0.1])
    parser.add_argument("--scans", type=int, default=4, help="scans of each held-out person")
    parser.add_argument("--rounds", type=int, default=15, help="how often throughput is timed")
    parser.add_argument("--page", type=Path, default=PAGE, help="page to write the section to")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arms = [None, *arguments.keep_ratios]
    quality: dict[str, list[dict[str, float]]] = {name_of(ratio): [] for ratio in arms}
    try:
        recipe = recipe_of(None, 0, arguments.label_maps, arguments.steps)
        scheme, _, held_out = read_heads(recipe)
        names = [entry["name"] for entry in scheme.entries]
        scans = HeldOutScans(held_out, whole_head_synthesiser(recipe, scheme), arguments.scans, SEED_OF_SCANS)
        runs: list[Run] = []
        for seed in arguments.seeds:
            for ratio in arms:
                folder = arguments.output / f"seed_{seed}" / name_of(ratio).replace(" ", "_")
                runs.append(finished_run(folder, recipe_of(ratio, seed, arguments.label_maps, arguments.steps)))
                quality[name_of(ratio)].append(measured_quality(runs[-1], scans, names))
                print(f"{folder}: mean Dice {fmean(quality[name_of(ratio)][-1].values()):.4f}", flush=True)
        candidates = [
            Candidate(name_of(run.keep_ratio), run.network, run.keep_ratio, run.recipe.optimisation)
            for run in runs[: len(arms)]
        ]
        speed = measure_throughput(candidates, "cpu", "bf16", arguments.rounds)
    except (Cancelled, KeyboardInterrupt):
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except ScdsegError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    text = section(quality, speed, [head.name for head in held_out], arguments, recipe)
    _save(arguments.output / "quality_kept.json", quality, arguments)
    write_section("Quality kept", text, arguments.page)
    print(text)
    return 0


def _save(path: Path, quality: dict[str, Any], arguments: argparse.Namespace) -> None:
    document = {"seeds": arguments.seeds, "scans_per_person": arguments.scans, "dice": quality}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
