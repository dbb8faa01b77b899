"""Measure what a lighter decoder costs in quality: train the same small network with each decoder.

python Testing/measure_decoders.py OUT --label-maps FOLDER trains every decoder of every seed into its own folder of
OUT, segments fixed synthetic scans of people that none was trained on, and writes the section "Decoders" of
docs/performance.md. The same command goes on where it was interrupted. It takes one thread. Extra: train.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import torch

from measure_performance import PAGE
from measure_quality_kept import SEED_OF_SCANS, finished_run, measured_quality, recipe_of, summary
from results_page import machine, write_section
from scdseg.errors import ScdsegError
from scdseg.networks.decoders import DECODERS
from scdseg.training.runs import Run
from scdseg.training.synthetic import HeldOutScans, read_heads, whole_head_synthesiser
from scdseg.training.throughput import Candidate, Measurement, measure_throughput

KEEP_RATIO = 0.25


def section(
    quality: dict[str, list[float]], speed: Measurement, people: list[str], arguments: argparse.Namespace
) -> str:
    """The text of the section; ``quality`` has the mean Dice of every seed for every decoder."""
    return f"""The small network of the comparison in [results](results.md#quality-kept) at keep ratio {KEEP_RATIO:g}
with each decoder: {arguments.steps} steps of one synthetic scan, seeds {", ".join(map(str, arguments.seeds))};
Dice over 10 structures on synthetic scans of people that no network was trained on ({", ".join(people)}; scans of each:
{arguments.scans}). Mean ± standard deviation over the seeds; differences are taken seed by seed.

{summary(quality, speed)}
Throughput: {machine(speed.device)}, {speed.precision}, networks by turns, medians of {speed.rounds} rounds. Command:
`python Testing/measure_decoders.py OUT --label-maps FOLDER --steps {arguments.steps}
--seeds {" ".join(map(str, arguments.seeds))} --scans {arguments.scans} --rounds {arguments.rounds}`
"""


def main() -> int:
    """Train what is missing, measure, and write the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, metavar="OUT", help="folder for the runs")
    parser.add_argument("--label-maps", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--steps", type=int, default=700, help="training steps of each network")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--scans", type=int, default=4, help="scans of each held-out person")
    parser.add_argument("--rounds", type=int, default=15, help="how often throughput is timed")
    parser.add_argument("--page", type=Path, default=PAGE, help="page to write the section to")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    quality: dict[str, list[float]] = {decoder: [] for decoder in DECODERS}
    runs: dict[str, Run] = {}
    try:
        recipe = recipe_of(KEEP_RATIO, 0, arguments.label_maps, arguments.steps)
        scheme, _, held_out = read_heads(recipe)
        names = [entry["name"] for entry in scheme.entries]
        scans = HeldOutScans(held_out, whole_head_synthesiser(recipe, scheme), arguments.scans, SEED_OF_SCANS)
        for seed in arguments.seeds:
            for decoder in DECODERS:
                recipe = recipe_of(KEEP_RATIO, seed, arguments.label_maps, arguments.steps)
                recipe = replace(recipe, network={**recipe.network, "decoder": decoder})
                runs[decoder] = finished_run(arguments.output / f"seed_{seed}" / decoder, recipe)
                quality[decoder].append(fmean(measured_quality(runs[decoder], scans, names).values()))
                print(f"seed {seed}, {decoder}: mean Dice {quality[decoder][-1]:.4f}", flush=True)
        candidates = [
            Candidate(decoder, run.network, run.keep_ratio, run.recipe.optimisation) for decoder, run in runs.items()
        ]
        speed = measure_throughput(candidates, "cpu", "bf16", arguments.rounds)
    except ScdsegError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    text = section(quality, speed, [head.name for head in held_out], arguments)
    write_section("Decoders", text, arguments.page)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
