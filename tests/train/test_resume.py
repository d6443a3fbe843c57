"""Stop and go on equals never having stopped, bit for bit."""

import signal
from pathlib import Path

import pytest
import torch

from convnext.data.loader import Batch
from convnext.errors import UserError
from convnext.spec import NetSpec
from convnext.tasks.classify import ClassifyTask, ReadyBatch
from convnext.train.chance import Chance
from convnext.train.checkpoint import read_checkpoint
from tests.torture import require_equal_runs
from tests.train.tiny import BATCH_NET, LAYER_NET, Watcher, tiny_recipe, tiny_task, tiny_trainer


@pytest.mark.parametrize("spec", [LAYER_NET, BATCH_NET], ids=["layer", "batch"])
@pytest.mark.parametrize("stops", [(7,), (1,), (5,), (3, 4, 11), (15,)], ids=str)
def test_stopped_by_signals_and_resumed_equals_never_stopped(
    tmp_path: Path, spec: NetSpec, stops: tuple[int, ...]
) -> None:
    whole = tiny_trainer(tmp_path / "whole", spec=spec)
    assert whole.run()
    folder, checkpoint, before = tmp_path / "parts", None, 0
    for stop in stops:
        watcher = Watcher(signal_after=stop)
        assert not tiny_trainer(folder, spec=spec, reporter=watcher, checkpoint=checkpoint).run()
        checkpoint = read_checkpoint(folder / "last.safetensors")
        assert checkpoint.progress.step == stop
        assert [report.step for report in watcher.steps] == list(range(before + 1, stop + 1))
        before = stop
    watcher = Watcher()
    assert tiny_trainer(folder, spec=spec, reporter=watcher, checkpoint=checkpoint).run()
    # A program that began again from zero would end with the same bits: these are the steps it really did.
    assert watcher.first_step == before
    assert [report.step for report in watcher.steps] == list(range(before + 1, 16))
    require_equal_runs(tmp_path / "whole", folder)


def test_the_equality_above_can_fail(tmp_path: Path) -> None:
    tiny_trainer(tmp_path / "one").run()
    tiny_trainer(tmp_path / "other", recipe=tiny_recipe("optim.lr=0.0100001")).run()
    with pytest.raises(AssertionError):
        require_equal_runs(tmp_path / "one", tmp_path / "other")


def test_stochastic_depth_is_at_work(tmp_path: Path) -> None:
    losses = []
    for name, drop in (("none", 0), ("some", 0.5)):
        watcher = Watcher()
        tiny_trainer(tmp_path / name, recipe=tiny_recipe(f"regularise.drop_path={drop}"), reporter=watcher).run()
        losses.append([report.loss for report in watcher.steps])
    assert losses[0] != losses[1]


def test_every_step_draws_anew_and_by_the_seed(tmp_path: Path) -> None:
    drawn: list[tuple[float, float, float]] = []

    class Drawing(ClassifyTask):
        def prepare(self, batch: Batch, device: torch.device, chance: Chance | None) -> ReadyBatch:
            if chance is not None:
                host, device_ = chance.numbers.random(), torch.rand((), generator=chance.tensors).item()
                drawn.append((torch.rand(()).item(), device_, host))
            return super().prepare(batch, device, chance)

    for seed in (3, 4):
        recipe = tiny_recipe("engine.micro_batch=2")
        trainer = tiny_trainer(tmp_path / str(seed), task=tiny_task(recipe, kind=Drawing), recipe=recipe)
        trainer.engine.seed = seed
        trainer.run()
    # 15 steps of two micro-batches of two runs; the task's own draws do not repeat those of stochastic depth.
    numbers = [number for three in drawn for number in three]
    assert len(set(numbers)) == len(numbers) == 180


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_either_signal_saves_in_mid_epoch_and_handlers_return(tmp_path: Path, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    assert not tiny_trainer(tmp_path, reporter=Watcher(signal_after=7, number=number)).run()
    assert signal.getsignal(number) is before
    progress = read_checkpoint(tmp_path / "last.safetensors").progress
    assert (progress.step, progress.epoch) == (7, 1)
    assert progress.images == 8 and progress.loss_sum > 0


def test_going_on_with_another_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    tiny_trainer(tmp_path / "whole").run()
    folder = tmp_path / "parts"
    tiny_trainer(folder, reporter=Watcher(signal_after=8)).run()
    checkpoint = read_checkpoint(folder / "last.safetensors")
    assert tiny_trainer(folder, recipe=tiny_recipe("data.workers=2"), checkpoint=checkpoint).run()
    require_equal_runs(tmp_path / "whole", folder)


def test_killed_between_checkpoints_the_log_is_cut_back(tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    def kill(step: int) -> None:
        if step == 8:
            raise KilledError

    tiny_trainer(tmp_path / "whole").run()
    folder = tmp_path / "parts"
    with pytest.raises(KilledError):
        tiny_trainer(folder, reporter=Watcher(at_step=kill)).run()
    # The log is ahead of the checkpoint, and the kill tore its last line.
    with (folder / "log.jsonl").open("a") as file:
        file.write('{"kind": "step", "st')
    checkpoint = read_checkpoint(folder / "last.safetensors")
    assert checkpoint.progress.step == 5
    tiny_trainer(folder, checkpoint=checkpoint).run()
    require_equal_runs(tmp_path / "whole", folder)


def test_there_is_a_checkpoint_before_the_first_step(tmp_path: Path) -> None:
    steps: list[int] = []
    last = tmp_path / "last.safetensors"
    trainer = tiny_trainer(
        tmp_path, reporter=Watcher(at_step=lambda step: steps.append(read_checkpoint(last).progress.step))
    )
    start = {name: value.clone() for name, value in trainer.engine.model.state_dict().items()}
    trainer.run()
    assert steps == [0] * 5 + [5] * 5 + [10] * 5
    # Going on from there equals the whole run, too, though no optimizer state exists yet.
    assert read_checkpoint(last).raw.keys() == start.keys()


def test_a_finished_run_does_nothing_more(tmp_path: Path) -> None:
    tiny_trainer(tmp_path).run()
    before = (tmp_path / "last.safetensors").read_bytes()
    watcher = Watcher()
    checkpoint = read_checkpoint(tmp_path / "last.safetensors")
    assert tiny_trainer(tmp_path, reporter=watcher, checkpoint=checkpoint).run()
    assert watcher.steps == [] and (tmp_path / "last.safetensors").read_bytes() == before


@pytest.mark.parametrize("damage", ["truncate", "flip"])
def test_damaged_checkpoint_is_a_sentence(tmp_path: Path, damage: str) -> None:
    tiny_trainer(tmp_path, recipe=tiny_recipe("schedule.epochs=1")).run()
    path = tmp_path / "last.safetensors"
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[-100] ^= 1
    path.write_bytes(data[:-50] if damage == "truncate" else data)
    with pytest.raises(UserError, match=str(path)):
        read_checkpoint(path)


def test_best_holds_its_weights_and_no_optimizer(tmp_path: Path) -> None:
    tiny_trainer(tmp_path, recipe=tiny_recipe("schedule.epochs=1")).run()
    best, last = (read_checkpoint(tmp_path / f"{name}.safetensors") for name in ("best", "last"))
    assert best.optimizer == {} and last.optimizer != {}
    assert all(torch.equal(value, last.raw[name]) for name, value in best.raw.items())
