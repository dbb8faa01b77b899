"""The Lightning module: keep ratios, learning rate, and what the first phase trains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from scdseg.training.devices import Devices
from scdseg.training.module import KEEP_RATIOS, SegmentationModule
from scdseg.training.recipe import load_recipe
from scdseg.training.seeds import seed_of


def make_module(recipe_file: Path, **optimisation: Any) -> SegmentationModule:
    torch.manual_seed(0)
    recipe = load_recipe(recipe_file)
    recipe = replace(recipe, optimisation=replace(recipe.optimisation, **optimisation))
    return SegmentationModule(recipe, ["a", "b", "c", "d", "e"], 6)


def make_batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(1, 1, 16, 16, 16, generator=generator), torch.randint(6, (1, 16, 16, 16), generator=generator)


def test_keep_ratios_come_from_the_whole_ladder(tiny_recipe: Path) -> None:
    module = make_module(tiny_recipe)
    assert {module.keep_ratio(step) for step in range(200)} == set(KEEP_RATIOS)


def test_keep_ratios_stay_in_the_recipes_range(tiny_recipe: Path) -> None:
    module = make_module(tiny_recipe, keep_ratio=(0.3, 0.8))
    assert {module.keep_ratio(step) for step in range(100)} == {0.35, 0.5, 0.7}
    between = make_module(tiny_recipe, keep_ratio=(0.28, 0.3))
    assert {between.keep_ratio(step) for step in range(10)} == {0.3}


def test_pruning_grows_with_the_curriculum(tiny_recipe: Path) -> None:
    module = make_module(tiny_recipe, curriculum_steps=400)
    lowest = [min(module.keep_ratio(step) for step in range(first, first + 100)) for first in (0, 100, 200, 400)]
    assert module.keep_ratio(0) == 1.0
    assert lowest == sorted(lowest, reverse=True)
    assert lowest[0] > 0.5
    assert lowest[-1] == 0.1


def test_a_steps_keep_ratio_is_always_the_same(tiny_recipe: Path) -> None:
    ratios = [make_module(tiny_recipe).keep_ratio(step) for step in range(20)]
    torch.manual_seed(5)
    assert [make_module(tiny_recipe).keep_ratio(step) for step in reversed(range(20))] == ratios[::-1]


def test_the_rate_warms_up_stays_and_cools_down(tiny_recipe: Path) -> None:
    module = make_module(tiny_recipe, steps=100, learning_rate=2.0, warmup_steps=10, cooldown=0.2)
    settings: Any = module.configure_optimizers()
    optimiser, schedule = settings["optimizer"], settings["lr_scheduler"]["scheduler"]
    assert settings["lr_scheduler"]["interval"] == "step"
    rates = []
    for _ in range(100):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    assert rates[:10] == pytest.approx([0.2 * n for n in range(1, 11)])
    assert rates[10:81] == pytest.approx([2.0] * 71)
    assert rates[80:] == pytest.approx([0.1 * n for n in range(20, 0, -1)])
    assert optimiser.param_groups[0]["lr"] == 0


def test_weight_decay_spares_biases_norms_and_learnt_tokens(tiny_recipe: Path) -> None:
    module = make_module(tiny_recipe, weight_decay=0.3)
    settings: Any = module.configure_optimizers()
    groups = settings["optimizer"].param_groups
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert set(decay) == {id(p) for p in module.parameters()}
    for name, parameter in module.named_parameters():
        spared = parameter.ndim == 1 or any(word in name for word in ("cls_token", "position_embedding", "layer_token"))
        assert decay[id(parameter)] == (0.0 if spared else 0.3), name


def test_early_blocks_learn_slower_with_layer_decay(tiny_recipe: Path) -> None:
    module = make_module(tiny_recipe, learning_rate=1.0, layer_decay=0.5, warmup_steps=0)
    settings: Any = module.configure_optimizers()
    rate = {id(p): group["initial_lr"] for group in settings["optimizer"].param_groups for p in group["params"]}
    rates = {name: rate[id(p)] for name, p in module.network.named_parameters()}
    assert rates["encoder.embedding.position_embedding"] == 0.5**4
    assert [rates[f"encoder.blocks.{n}.attention.qkv.weight"] for n in range(3)] == [0.125, 0.25, 0.5]
    assert rates["encoder.norm.weight"] == rates["decoder.output.conv.conv.weight"] == 1.0


def test_the_rate_follows_the_batch_of_all_devices(tiny_recipe: Path) -> None:
    recipe = load_recipe(tiny_recipe)
    settings = replace(recipe.optimisation, learning_rate=0.256, learning_rate_batch=256, batch_size=2, accumulate=3)
    module = SegmentationModule(replace(recipe, optimisation=settings), list("abcde"), 6, Devices("cpu", 2, 2))
    configured: Any = module.configure_optimizers()
    assert configured["optimizer"].param_groups[0]["initial_lr"] == pytest.approx(0.001 * 2 * 3 * 4)


def test_a_seed_of_any_size_trains(tiny_recipe: Path) -> None:
    assert 0 <= seed_of(20251125, 10**6, 3, 511) < 2**63
    assert seed_of(1, 2) != seed_of(2, 1)


def changed_parts(module: SegmentationModule) -> set[str]:
    """Parts of the module that one training step changes."""
    before = {name: parameter.clone() for name, parameter in module.named_parameters()}
    settings: Any = module.configure_optimizers()
    module.training_step(make_batch(), 0).backward()
    settings["optimizer"].step()
    changed = (name for name, parameter in module.named_parameters() if not torch.equal(parameter, before[name]))
    return {".".join(name.split(".")[: 2 if name.startswith("network") else 1]) for name in changed}


@pytest.mark.filterwarnings("ignore:You are trying to `self.log")
def test_the_first_phase_leaves_the_decoder_alone(tiny_recipe: Path) -> None:
    encoder = {"network.encoder", "network.assembly", "network.token_head"}
    assert changed_parts(make_module(tiny_recipe, token_steps=1)) == encoder
    assert changed_parts(make_module(tiny_recipe, token_steps=0)) == encoder | {"network.decoder"}


@pytest.mark.filterwarnings("ignore:You are trying to `self.log")
def test_the_token_loss_has_its_weight(tiny_recipe: Path) -> None:
    total = [
        make_module(tiny_recipe, token_loss=weight).training_step(make_batch(), 0).detach()
        for weight in (0.0, 1.0, 3.0)
    ]
    alone = make_module(tiny_recipe, token_steps=1).training_step(make_batch(), 0).detach()
    torch.testing.assert_close(total[1] - total[0], alone)
    torch.testing.assert_close(total[2] - total[0], 3 * alone)


def test_token_steps_need_a_token_head(tiny_recipe: Path) -> None:
    recipe = load_recipe(tiny_recipe, {"network.token_head": "false", "optimisation.token_steps": "5"})
    with pytest.raises(ValueError, match="token_head: true"):
        SegmentationModule(recipe, ["a", "b", "c"], 4)
