"""The loop: what it logs, which epoch is best, what it does with bad pictures, bad losses and a full disk."""

import resource
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from convnext.data.builtin import open_digits
from convnext.data.sources import Source, Split
from convnext.errors import UserError
from convnext.network import Network
from convnext.recipe import Recipe
from convnext.tasks.classify import ClassifyMetric, ClassifyTask, ReadyBatch
from convnext.train.chance import step_seeds
from convnext.train.checkpoint import Checkpoint, read_checkpoint
from convnext.train.journal import Journal
from convnext.train.schedule import learning_rate
from convnext.train.score import score
from tests.train.tiny import BATCH_NET, LAYER_NET, Watcher, tiny_recipe, tiny_source, tiny_task, tiny_trainer


def rows(folder: Path, kind: str) -> list[dict[str, object]]:
    return [row for row in Journal(folder / "log.jsonl").rows() if row["kind"] == kind]


def test_learns_to_tell_brightness_apart(tmp_path: Path) -> None:
    recipe = tiny_recipe("schedule.epochs=12", "regularise.drop_path=0", "data.batch_size=8")
    trainer = tiny_trainer(tmp_path, recipe=recipe, task=tiny_task(recipe, tiny_source(72, 30)))
    assert trainer.run()
    first, last = trainer.progress.history[0], trainer.progress.history[-1]
    assert last["train_loss"] < first["train_loss"]
    # Chance is a third.
    assert last["raw"]["top1"] > 80


def test_overfits_a_dozen_digits(tmp_path: Path) -> None:
    digits = open_digits(seed=0, val_fraction=0.2)
    dozen = Split(store=digits.train.store, entries=digits.train.entries[:12], labels=digits.train.labels[:12])
    source = Source(name="dozen", classes=digits.classes, train=dozen, val=dozen, label_safe=digits.label_safe)
    recipe = tiny_recipe(
        "schedule.epochs=60", "data.batch_size=12", "data.size=16", "regularise.drop_path=0", "augment.crop_scale=1,1"
    )
    spec = Network(LAYER_NET).spec.to_dict() | {"num_classes": 10, "width": 16}
    task = tiny_task(recipe, source)
    trainer = tiny_trainer(tmp_path, spec=type(LAYER_NET).from_dict(spec), recipe=recipe, task=task)
    trainer.run()
    assert trainer.progress.history[-1]["raw"]["top1"] == 100
    assert trainer.progress.history[0]["raw"]["top1"] < 50


def test_log_has_every_step_and_epoch_once_with_the_schedules_rates(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path)
    assert trainer.run()
    steps = rows(tmp_path, "step")
    assert [row["step"] for row in steps] == list(range(1, 16))
    assert [row["epoch"] for row in steps] == [1] * 5 + [2] * 5 + [3] * 5
    schedule = tiny_recipe().schedule
    rates = [learning_rate(step, schedule, lr=0.01, steps_per_epoch=5) for step in range(15)]
    assert [row["lr"] for row in steps] == rates
    epochs = rows(tmp_path, "epoch")
    assert [row["epoch"] for row in epochs] == [1, 2, 3]
    for index, row in enumerate(epochs):
        losses = [step["loss"] for step in steps[5 * index : 5 * index + 5]]
        assert row["train_loss"] == pytest.approx(sum(losses) / 5, rel=1e-6)  # type: ignore[arg-type]
    assert trainer.progress.images_seen == 60


def test_first_step_of_the_warmup_changes_nothing_and_the_second_does(tmp_path: Path) -> None:
    seen: list[Tensor] = []
    trainer = tiny_trainer(tmp_path, reporter=Watcher(at_step=lambda step: seen.append(weight(trainer).clone())))
    before = weight(trainer).clone()
    trainer.run()
    assert torch.equal(seen[0], before)
    assert not torch.equal(seen[1], before)


def weight(trainer: object) -> Tensor:
    return trainer.engine.model.head.weight.detach()  # type: ignore[attr-defined, no-any-return]


def test_both_weights_are_scored_and_each_row_holds_its_own(tmp_path: Path) -> None:
    recipe = tiny_recipe("ema.decay=0.9")
    trainer = tiny_trainer(tmp_path, recipe=recipe)
    trainer.run()
    row = trainer.progress.history[-1]
    assert row["raw"]["loss"] != row["ema"]["loss"]
    checkpoint = read_checkpoint(tmp_path / "last.safetensors")
    task = tiny_task(recipe)
    for name, state in (("raw", checkpoint.raw), ("ema", checkpoint.ema)):
        network = Network(LAYER_NET)
        network.load_state_dict(state)  # type: ignore[arg-type]
        again = score(task, {name: network}, task.val_batches(), device=torch.device("cpu"))[name]
        assert again.values == row[name]


@pytest.mark.parametrize(("decay", "kept"), [("auto", 1 / 3), ("0.7", 0.7)])
def test_the_average_follows_every_step_and_auto_follows_the_length_of_the_run(
    tmp_path: Path, decay: str, kept: float
) -> None:
    # 3 epochs of 5 steps: a tenth of the run is 1.5 steps.
    states: list[Tensor] = []
    watcher = Watcher(at_step=lambda step: states.append(weight(trainer).clone()))
    trainer = tiny_trainer(tmp_path, recipe=tiny_recipe(f"ema.decay={decay}"), reporter=watcher)
    expected = weight(trainer).double()
    trainer.run()
    assert len(states) == 15
    for state in states:
        expected = kept * expected + (1 - kept) * state
    average = read_checkpoint(tmp_path / "last.safetensors").ema
    assert average is not None
    torch.testing.assert_close(average["head.weight"].double(), expected, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(average["head.weight"], states[-1], rtol=1e-4, atol=1e-6)


def test_without_an_average_none_is_kept(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, recipe=tiny_recipe("ema.decay=none", "schedule.epochs=1"))
    trainer.run()
    assert trainer.progress.history[0]["ema"] is None
    assert trainer.progress.best is not None and trainer.progress.best.weights == "raw"
    assert read_checkpoint(tmp_path / "best.safetensors").ema is None


class Scripted(ClassifyMetric):
    """Gives the target that the script has for this call."""

    script: ClassVar[list[float]] = []

    def compute(self) -> dict[str, float | int | None]:
        return {**super().compute(), "top1": self.script.pop(0)}


class ScriptedTask(ClassifyTask):
    def metric(self) -> ClassifyMetric:
        return Scripted(self.num_classes)


@pytest.mark.parametrize(
    ("weights", "script", "best"),
    # raw, EMA of epochs 1 to 4; the raw ones of the first script would choose the last epoch.
    [
        ("auto", [10, 50, 20, 80, 30, 80, 90, 60], (2, "ema", 80)),
        ("ema", [10, 50, 20, 80, 30, 80, 90, 60], (2, "ema", 80)),
        ("raw", [10, 50, 70, 40, 70, 80, 60, 90], (2, "raw", 70)),
    ],
)
def test_best_is_the_earliest_of_the_best_by_the_right_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: str, script: list[float], best: tuple[int, str, float]
) -> None:
    monkeypatch.setattr(Scripted, "script", list(script))
    recipe = tiny_recipe("schedule.epochs=4", f"evaluate.weights={weights}")
    states: list[dict[str, Tensor]] = []
    task = tiny_task(recipe, kind=ScriptedTask)
    watcher = Watcher(
        at_step=lambda step: states.append({k: v.clone() for k, v in trainer.engine.model.state_dict().items()})
    )
    trainer = tiny_trainer(tmp_path, recipe=recipe, task=task, reporter=watcher)
    trainer.run()
    found = trainer.progress.best
    assert found is not None and (found.epoch, found.weights, found.value) == best
    assert [row["best"] for row in trainer.progress.history] == [True, True, False, False]
    checkpoint = read_checkpoint(tmp_path / "best.safetensors")
    assert checkpoint.description["weights"] == best[1]
    assert checkpoint.description["metrics"]["top1"] == best[2]
    assert all(torch.equal(value, states[9][name]) for name, value in checkpoint.raw.items())
    assert read_checkpoint(tmp_path / "last.safetensors").progress.best == found


def test_unreadable_pictures_are_named_once_and_the_steps_stay_aligned(tmp_path: Path) -> None:
    # One picture a batch: a spoilt one leaves its batch empty.
    recipe = tiny_recipe("data.batch_size=1", "schedule.epochs=2")
    task = tiny_task(recipe, tiny_source(train=7, val=3, spoilt=frozenset({2, 5, 8})))
    trainer = tiny_trainer(tmp_path, recipe=recipe, task=task)
    assert trainer.run()
    assert sorted(trainer.progress.unreadable) == ["squares/2", "squares/5", "squares/8"]
    assert len(trainer.reporter.warnings) == 3 and all("cannot be read" in text for text in trainer.reporter.warnings)
    steps = rows(tmp_path, "step")
    assert [row["step"] for row in steps] == list(range(1, 15))
    assert sum(row["loss"] is None for row in steps) == 4
    assert trainer.progress.images_seen == 10
    assert trainer.progress.history[-1]["raw"]["images"] == 2
    # Skipped steps did not move the optimizer.
    assert {int(state["step"]) for state in trainer.engine.optimizer.state.values()} == {10}


def test_a_lone_readable_picture_does_not_break_batch_norm(tmp_path: Path) -> None:
    recipe = tiny_recipe("data.batch_size=2", "schedule.epochs=1", "data.size=8")
    task = tiny_task(recipe, tiny_source(train=4, val=3, spoilt=frozenset({0})))
    trainer = tiny_trainer(tmp_path, spec=BATCH_NET, recipe=recipe, task=task)
    assert trainer.run()
    assert trainer.progress.step == 2 and trainer.progress.images_seen == 2


class NotANumber(ClassifyTask):
    """Its loss breaks at the eighth step."""

    value = float("nan")
    calls = 0

    def loss(self, model: nn.Module, batch: ReadyBatch) -> Mapping[str, Tensor]:
        self.calls += 1
        total = super().loss(model, batch)["total"]
        return {"total": total * self.value if self.calls == 8 else total}


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_bad_loss_stops_the_run_and_keeps_the_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setattr(NotANumber, "value", float(value))
    last = tmp_path / "last.safetensors"
    kept: list[bytes] = []
    recipe = tiny_recipe()
    watcher = Watcher(at_step=lambda step: kept.append(last.read_bytes()))
    trainer = tiny_trainer(tmp_path, recipe=recipe, task=tiny_task(recipe, kind=NotANumber), reporter=watcher)
    with pytest.raises(UserError) as error:
        trainer.run()
    rate = learning_rate(7, recipe.schedule, lr=0.01, steps_per_epoch=5)
    for word in (value, "epoch 2", "step 8 of 15", f"{rate:.3g}", str(last), "optim.lr"):
        assert word in str(error.value)
    assert last.read_bytes() == kept[-1]
    assert read_checkpoint(last).progress.step == 5
    assert all(torch.isfinite(value).all() for value in trainer.engine.model.state_dict().values())


def test_broken_weights_never_replace_a_good_checkpoint(tmp_path: Path) -> None:
    last = tmp_path / "last.safetensors"

    def poison(step: int) -> None:
        if step == 10:
            with torch.no_grad():
                trainer.engine.model.get_parameter("head.bias")[0] = float("nan")

    trainer = tiny_trainer(tmp_path, reporter=Watcher(at_step=poison))
    with pytest.raises(UserError, match=r"was not overwritten"):
        trainer.run()
    assert read_checkpoint(last).progress.step == 5
    assert not torch.isnan(read_checkpoint(tmp_path / "best.safetensors").raw["head.bias"]).any()


def test_full_disk_keeps_the_checkpoint_before(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(step: int) -> None:
        if step == 9:
            # Files may not grow beyond what the log has by now, as on a full disk.
            resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))

    trainer = tiny_trainer(tmp_path, reporter=Watcher(at_step=fill))
    try:
        with pytest.raises(UserError, match=r"cannot write .*safetensors"):
            trainer.run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert read_checkpoint(tmp_path / "last.safetensors").progress.step == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best.safetensors",
        "last.safetensors",
        "log.jsonl",
        "previous.safetensors",
    ]


def test_the_callers_random_state_is_left_alone(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, recipe=tiny_recipe("schedule.epochs=1"), reporter=None)
    trainer.reporter = Watcher(at_step=lambda step: None)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    trainer.run()
    assert torch.equal(torch.rand(3), expected)


def test_a_model_given_in_evaluation_mode_is_trained_in_training_mode(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, spec=BATCH_NET, recipe=tiny_recipe("schedule.epochs=1"))
    before = trainer.engine.model.get_buffer("bn1.running_mean").clone()
    trainer.engine.model.eval()
    trainer.run()
    assert not torch.equal(trainer.engine.model.get_buffer("bn1.running_mean"), before)


def test_the_two_generators_of_a_step_draw_different_numbers() -> None:
    seeds = [step_seeds(seed, step) for seed in range(3) for step in range(3)]
    assert len({one for pair in seeds for one in pair}) == 18
    assert step_seeds(1, 2) == step_seeds(1, 2)


def test_a_run_that_learns_nothing_is_told_once_and_not_again_when_it_goes_on(tmp_path: Path) -> None:
    # A learning rate at which nothing moves, 24 epochs of 5 steps; fewer held-out pictures would not tell.
    stuck = tiny_recipe("schedule.epochs=24", "optim.lr=1e-9", "schedule.min_lr=0")

    def run(folder: Path, recipe: Recipe, watcher: Watcher, checkpoint: Checkpoint | None = None) -> bool:
        task = tiny_task(recipe, tiny_source(val=60))
        return tiny_trainer(folder, recipe=recipe, task=task, reporter=watcher, checkpoint=checkpoint).run()

    watcher = Watcher(signal_after=118)
    assert not run(tmp_path / "run", stuck, watcher)
    (warning,) = watcher.warnings
    assert "no better than chance" in warning and "optim.lr" in warning
    again = Watcher()
    assert run(tmp_path / "run", stuck, again, read_checkpoint(tmp_path / "run" / "last.safetensors"))
    assert again.warnings == []
    learning = Watcher()
    run(tmp_path / "learning", tiny_recipe("schedule.epochs=24"), learning)
    assert learning.warnings == []
