"""Compare networks trained alike: what each reaches on held-out cases, and in how much time.

python Testing/compare_networks.py hippocampus OUT --data FOLDER trains every network of every seed, keeps what came
out in OUT, and writes a section of docs/results.md; FOLDER holds images/ and labels/ of the Medical Segmentation
Decathlon's Task04. Cases whose number ends in 0 or 5 are held out. "heads" does the same on synthetic scans of label
maps; FOLDER holds these. The same command goes on where it was interrupted. It takes one thread. Extra: train.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
from pathlib import Path

import torch

from comparison.networks import ARMS
from comparison.page import choice_table, draw_curves, quality_table
from comparison.training import trained
from results_page import PAGE, machine, write_section
from scdseg.errors import ScdsegError
from scdseg.training.data import TrainingData, label_channels, open_data
from scdseg.training.recipe import Recipe, load_recipe

HEADS = Path(__file__).with_name("comparison") / "heads.yaml"
TITLES = {"hippocampus": "Real scans: the hippocampus", "heads": "Synthetic scans of heads"}
SCANS_PER_HEAD = 4


def recipe_of(task: str, data: Path, output: Path) -> Recipe:
    """The recipe of a task, with its data."""
    if task == "heads":
        return load_recipe(HEADS, {"data.root": str(data), "validation.scans": str(SCANS_PER_HEAD)})
    output.mkdir(parents=True, exist_ok=True)
    (output / "dataset.json").write_text(json.dumps(hippocampus_list(data)), encoding="utf-8")
    return load_recipe("msd_hippocampus", {"data.root": str(output)})


def hippocampus_list(data: Path) -> dict[str, list[dict[str, str]]]:
    """Cases of a folder in the Decathlon's format; those whose number ends in 0 or 5 are for validation."""
    lists: dict[str, list[dict[str, str]]] = {"training": [], "validation": []}
    for image in sorted((data / "images").glob("hippocampus_*.nii.gz")):
        case = {"image": str(image.resolve()), "label": str((data / "labels" / image.name).resolve())}
        lists["validation" if image.name.split(".")[0][-1] in "05" else "training"].append(case)
    return lists


def opened(recipe: Recipe) -> TrainingData:
    """The recipe's data, without the bars that its reading draws."""
    x, y, z = recipe.network["img_size"]
    with contextlib.redirect_stderr(io.StringIO()):
        return open_data(recipe, (x, y, z))


def section(records: dict, recipe: Recipe, command: str, held_out: int, picture: str) -> str:
    """The text of the section."""
    seeds = sorted({record["seed"] for found in records.values() for record in found})
    labels, choices = len(label_channels(recipe)[0]), choice_table(records)
    if choices:
        choices = (
            f"Dice by the way in which tokens are chosen at inference, at the keep ratio of training:\n\n{choices}"
        )
    return f"""Every network sees the same data, augmentation, loss and optimiser; the seeds
({", ".join(map(str, seeds))}) draw weights and samples. Mean over {labels} labels and {held_out} cases
that none was trained on; ± is the standard deviation over the seeds, differences are taken seed by seed. Training
time is that of one core, drawing the samples included, with batches of {recipe.optimisation.batch_size}; a window's is
that of its forward pass.

{quality_table(records, next(iter(records)))}
{choices}
![Dice over training time]({picture})

{machine("CPU")}, bf16. Command: `{command}`
"""


def main() -> int:
    """Train what is missing, and write the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TITLES)
    parser.add_argument("output", type=Path, metavar="OUT", help="folder for what comes out")
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--networks", nargs="+", choices=ARMS, default=["dense", "scd-0.1", "fast"], metavar="NAME")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--seconds", type=float, help="of one core, for each network (default: the recipe's steps)")
    parser.add_argument("--marks", type=int, default=4, help="points of a learning curve")
    parser.add_argument("--page", type=Path, default=PAGE, help="page to write the section to")
    parser.add_argument("--title", help="of the section (default: the task's)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    budget = f"{arguments.seconds:g}s" if arguments.seconds else "steps"
    try:
        recipe = recipe_of(arguments.task, arguments.data, arguments.output)
        records: dict[str, list] = {name: [] for name in arguments.networks}
        for seed in arguments.seeds:
            for name in arguments.networks:
                arm = ARMS[name]
                changed = arm.recipe(recipe, seed)
                data = opened(changed)
                file = arguments.output / budget / f"{name}-{seed}.json"
                records[name].append(trained(arm, changed, data, file, arguments.seconds, arguments.marks))
    except ScdsegError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    title = arguments.title or TITLES[arguments.task]
    picture = f"images/{title.lower().replace(':', '').replace(',', '').replace(' ', '_')}.png"
    best = max(record["dice"] for found in records.values() for record in found)
    draw_curves(records, arguments.page.parent / picture, floor=best - 0.15)
    given = f" --seconds {arguments.seconds:g}" if arguments.seconds else ""
    command = (
        f"python Testing/compare_networks.py {arguments.task} OUT --data FOLDER{given} --networks "
        f"{' '.join(arguments.networks)} --seeds {' '.join(map(str, arguments.seeds))} --marks {arguments.marks}"
    ) + (f' --title "{title}"' if arguments.title else "")
    text = section(records, recipe, command, len(data.held_out), picture)  # type: ignore[arg-type]
    write_section(title, text, arguments.page)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
