"""Measure how much faster sparse tokens train and predict than the dense baseline, side by side in one run.

python Testing/measure_training_throughput.py [--device D] [--precision P] [--threads N] measures the networks of the
recipes btcv (the published configuration) and brain-structures (the model that ships), dense, with MONAI's transformer
blocks and with ours, and at several keep ratios, beside btcv those of btcv-fast, and writes the section "Throughput" of
docs/results.md; "Throughput on a GPU" if it is measured on one. No data is needed: windows are random numbers. Extra:
train.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from results_page import PAGE, machine, markdown_table, write_section
from scdseg.allocator import keep_freed_memory
from scdseg.benchmark.networks import use_monai_blocks
from scdseg.benchmark.timing import Spread
from scdseg.errors import ScdsegError
from scdseg.networks import UNETR
from scdseg.training.build import build_network
from scdseg.training.data import label_channels
from scdseg.training.recipe import load_recipe
from scdseg.training.throughput import Candidate, Measurement, Throughput, measure_throughput

FAST_RECIPES = {"btcv": "btcv-fast"}


def measure(recipe_name: str, arguments: argparse.Namespace) -> Measurement:
    """The networks of a recipe: dense with MONAI's blocks and with ours, then sparse at every keep ratio."""
    recipe = load_recipe(recipe_name)
    channels = label_channels(recipe)[1]
    settings = replace(recipe.optimisation, batch_size=arguments.batch_size)
    sparse = build_network({**recipe.network, "kind": "scd"}, channels)
    dense, unfused = (build_network({**recipe.network, "kind": "dense"}, channels) for _ in range(2))
    assert isinstance(unfused, UNETR)
    candidates = [
        Candidate("dense, MONAI's blocks", use_monai_blocks(unfused), None, settings),
        Candidate("dense", dense, None, settings),
        *(Candidate(f"keep {ratio:g}", sparse, ratio, settings) for ratio in arguments.keep_ratios),
        *(_fast(FAST_RECIPES[recipe_name], channels, arguments) if recipe_name in FAST_RECIPES else ()),
    ]

    def show(done: int, total: int) -> None:
        print(f"{recipe_name}: round {done} of {total}", file=sys.stderr, flush=True)

    return measure_throughput(candidates, arguments.device, arguments.precision, arguments.rounds, show)


def _fast(recipe_name: str, channels: int, arguments: argparse.Namespace) -> list[Candidate]:
    """The fast network at every keep ratio, and dense ones with its stem and decoder: 12 and 6 blocks deep."""
    recipe = load_recipe(recipe_name)
    settings = replace(recipe.optimisation, batch_size=arguments.batch_size)
    network = build_network(recipe.network, channels)
    depths = [build_network({**recipe.network, "kind": "dense", "num_layers": n}, channels) for n in (12, 6)]
    return [
        *(Candidate(f"fast, keep {ratio:g}", network, ratio, settings) for ratio in arguments.keep_ratios),
        *(
            Candidate(f"dense, fast stem and decoder, {dense.config['num_layers']} blocks", dense, None, settings)
            for dense in depths
        ),
    ]


def table(measured: Measurement) -> str:
    """One line a candidate, with quartiles."""
    header = ["", "GMACs", "training step, s", "windows/s", "× MONAI's", "× dense"]
    header += ["inference of a window, s", "× MONAI's", "× dense", "memory, MB"]
    return markdown_table(header, [_line(row, *measured.rows[:2]) for row in measured.rows])


def _line(row: Throughput, unfused: Throughput, dense: Throughput) -> list[str]:
    return [
        row.name,
        f"{row.macs / 1e9:.1f}",
        _quartiles(row.step, 3),
        f"{row.training_rate:.3g}",
        _quartiles(row.training_speedup(unfused), 2),
        _quartiles(row.training_speedup(dense), 2),
        _quartiles(row.window, 3),
        _quartiles(row.inference_speedup(unfused), 2),
        _quartiles(row.inference_speedup(dense), 2),
        f"{row.training_bytes / 1e6:.0f}",
    ]


def _quartiles(spread: Spread, digits: int) -> str:
    return f"{spread.median:.{digits}f} ({spread.lower:.{digits}f}–{spread.upper:.{digits}f})"


def section(measured: dict[str, Measurement], arguments: argparse.Namespace) -> str:
    """The text of the section."""
    any_of = next(iter(measured.values()))
    tables = "\n".join(f"Recipe `{name}`:\n\n{table(m)}" for name, m in measured.items())
    return f"""A training step (forward pass, loss, backward pass, optimiser; batch of {arguments.batch_size})
and the forward pass of one window, networks by turns in an order drawn anew in every round: medians and
quartiles of {any_of.rounds} rounds after one to warm up; speed-ups are taken round by round. MONAI's transformer blocks
work out every attention weight, as the authors' implementation and its dense baseline do; ours use PyTorch's fused
attention, in the dense network as in the sparse one. Memory: {any_of.memory}.

{tables}
{machine(any_of.device)}, {any_of.precision}. Command: `{_command(arguments)}`
"""


def _command(arguments: argparse.Namespace) -> str:
    ratios = " ".join(f"{ratio:g}" for ratio in arguments.keep_ratios)
    plain = " --plain-allocator" if arguments.plain_allocator else ""
    plain += f' --title "{arguments.title}"' if arguments.title else ""
    return (
        f"python Testing/measure_training_throughput.py --device {arguments.device} --precision {arguments.precision} "
        f"--threads {arguments.threads} --rounds {arguments.rounds} --batch-size {arguments.batch_size} "
        f"--keep-ratios {ratios} --recipes {' '.join(arguments.recipes)}{plain}"
    )


def main(given: Sequence[str] | None = None) -> int:
    """Measure and write the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="auto, cuda, mps or cpu")
    parser.add_argument("--precision", default="auto", choices=("auto", "bf16", "fp32"))
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of the CPU (default: all)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=1, help="windows of a training step")
    parser.add_argument("--keep-ratios", type=float, nargs="+", default=[0.5, 0.25, 0.1])
    parser.add_argument("--recipes", nargs="+", default=["btcv", "brain-structures"])
    parser.add_argument("--page", type=Path, default=PAGE, help="page to write the section to")
    parser.add_argument("--title", help="of the section (default: Throughput, and what is other than usual)")
    parser.add_argument("--plain-allocator", action="store_true", help="do not keep freed memory, as scdseg train does")
    arguments = parser.parse_args(given)
    if not arguments.plain_allocator:
        keep_freed_memory()
    torch.set_num_threads(arguments.threads)
    try:
        measured = {name: measure(name, arguments) for name in arguments.recipes}
    except ScdsegError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    on_cpu = "CPU" in measured[arguments.recipes[0]].device
    text = section(measured, arguments)
    title = "Throughput" if on_cpu else "Throughput on a GPU"
    if arguments.plain_allocator:
        title += ", allocator as it comes"
    write_section(arguments.title or title, text, arguments.page)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
