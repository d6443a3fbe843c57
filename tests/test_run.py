"""A run directory from a folder of pictures: what is in it, going on, several seeds, bad input."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import convnext
from convnext.cost import total_cost
from convnext.data.sources import open_source
from convnext.errors import UserError
from convnext.evaluate import evaluate, with_labels
from convnext.files import read_tensors
from convnext.network import Network
from convnext.plan import RunConfig, RunPlan
from convnext.preprocess import Preprocess
from convnext.recipe import Recipe
from convnext.run import prepare, resume_run, train_run
from convnext.seeds import SeedsResult, gather, resume, train_seeds
from convnext.tasks.classify import ClassifyTask
from convnext.train.checkpoint import read_checkpoint
from convnext.train.distributed import World
from convnext.train.journal import Journal
from convnext.weights import read_model
from tests.torture import require_equal_runs
from tests.train.tiny import LAYER_NET, Watcher, tiny_recipe, tiny_source

FILES = (
    "best.safetensors confusion.csv confusion.png curves.png last.safetensors log.jsonl predictions.png "
    "previous.safetensors recipe.json run.json summary.json"
).split()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three class folders of ten noisy squares, one of them broken."""
    folder = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    for name, level in (("dark", 70), ("light", 190), ("middle", 130)):
        (folder / name).mkdir()
        for number in range(10):
            pixels = np.clip(level + generator.integers(-40, 41, (12, 12, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    (folder / "dark" / "3.png").write_bytes(b"not a picture")
    return str(folder)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def train(pictures: str, out: Path | None, recipe: Recipe | None = None, **options: Any) -> Any:
    model = options.pop("model", LAYER_NET)
    reporter = options.pop("reporter", None)
    plan = RunPlan(data=pictures, model=model, recipe=recipe or tiny_recipe(), device="cpu", **options)
    return train_run(plan, out=out, reporter=reporter)


@pytest.fixture(scope="module")
def finished(pictures: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is only looked at."""
    folder: Path = train(pictures, tmp_path_factory.mktemp("runs") / "run").folder
    return folder


def test_a_run_leaves_all_that_it_promises(pictures: str, tmp_path: Path) -> None:
    watcher = Watcher()
    result = train(pictures, tmp_path / "run", reporter=watcher, seed=4)
    assert result.finished and names_in(result.folder) == FILES
    summary = json.loads((result.folder / "summary.json").read_text())
    assert summary == json.loads(json.dumps(result.summary))
    # 24 to train on make 6 batches of 4; 6 are held out.
    assert (summary["train_images"], summary["val_images"], summary["steps"], summary["epochs"]) == (24, 6, 18, 3)
    assert (summary["seed"], summary["model"], summary["recipe"], summary["size"]) == (4, "network", "tiny", 8)
    cost = total_cost(replace(LAYER_NET, num_classes=3), 8)
    assert (summary["params"], summary["gmacs"]) == (cost.params, cost.gmacs)
    assert summary["labels"] == ["dark", "light", "middle"] and summary["classes"] == 3
    broken = [name for name in summary["unreadable"] if name.endswith("3.png")]
    assert len(broken) == 1 == len(watcher.warnings)
    assert summary["seconds"] > 0 and summary["images_per_second"] > 0
    assert summary["machine"]["cpus"] == os.cpu_count() and summary["versions"]["torch"] == torch.__version__
    assert Recipe.from_dict(json.loads((result.folder / "recipe.json").read_text())) == tiny_recipe()


def test_the_summary_names_the_commit_that_trained(
    pictures: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    # The checkout moves on while a run trains.
    monkeypatch.setattr("convnext.run.commit", lambda: "after" if (folder / "log.jsonl").exists() else "before")
    result = train(pictures, folder)
    assert result.summary is not None and result.summary["commit"] == "before"
    monkeypatch.setattr("convnext.run.commit", lambda: None)
    (folder / "summary.json").unlink()
    again = resume_run(folder)
    assert again.summary is not None and again.summary["commit"] is None


def test_the_summary_says_what_the_best_file_scores(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    epochs = [row for row in Journal(finished / "log.jsonl").rows() if row["kind"] == "epoch"]
    best = max(row["ema"]["top1"] for row in epochs)
    assert summary["best"]["weights"] == "ema" and summary["best"]["top1"] == best
    row = next(row for row in epochs if row["ema"]["top1"] == best)
    assert summary["best"] == {"epoch": row["epoch"], "weights": "ema", **row["ema"]}
    assert summary["last"] == {"epoch": 3, "raw": epochs[-1]["raw"], "ema": epochs[-1]["ema"]}
    counts = np.array(summary["confusion"])
    assert counts.sum() == summary["best"]["images"]
    assert 100 * counts.trace() / counts.sum() == pytest.approx(summary["best"]["top1"])


def test_evaluating_a_run_takes_the_pictures_that_it_held_out(pictures: str, tmp_path: Path) -> None:
    recipe = tiny_recipe("schedule.epochs=1", "data.val_fraction=0.4")
    found = {}
    for split_seed in (1, 2):
        result = train(pictures, tmp_path / str(split_seed), recipe, split_seed=split_seed)
        again = evaluate(read_model(result.folder), pictures, device="cpu").scores
        best = result.summary["best"]
        # Another split would have as many pictures: the loss is what tells them apart.
        assert (again.images, again.loss) == (best["images"], pytest.approx(best["loss"], rel=1e-6))
        found[split_seed] = result.summary["unreadable"], best["loss"]
    assert found[1] != found[2]


def test_evaluation_numbers_the_classes_as_the_checkpoint_does() -> None:
    source = tiny_source()
    known = ("light", "other", "dark", "middle")
    renumbered = with_labels(source, known, 4)
    assert renumbered.classes == known
    for before, after in ((source.train, renumbered.train), (source.val, renumbered.val)):
        assert [known[label] for label in after.labels] == [source.classes[label] for label in before.labels]


def test_best_file_opens_as_a_model_with_all_that_belongs_to_it(finished: Path) -> None:
    folder = finished
    loaded = read_model(folder)
    assert loaded.labels == ("dark", "light", "middle") and loaded.weights == "ema"
    assert loaded.preprocess == Preprocess(size=8, crop=1.0)
    checkpoint = read_checkpoint(folder / "best.safetensors")
    assert checkpoint.ema is not None and checkpoint.raw.keys() == checkpoint.ema.keys()
    assert all(torch.equal(value, checkpoint.ema[name]) for name, value in loaded.network.state_dict().items())
    raw = convnext.load(folder, weights="raw", verbose=False)
    assert all(torch.equal(value, checkpoint.raw[name]) for name, value in raw.state_dict().items())
    assert any(not torch.equal(checkpoint.raw[name], checkpoint.ema[name]) for name in checkpoint.raw)


def test_same_seed_same_run_and_another_seed_another(pictures: str, tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        torch.rand(3)
        train(pictures, tmp_path / name, seed=seed)
    require_equal_runs(tmp_path / "one", tmp_path / "two")
    first, second = (read_checkpoint(tmp_path / name / "last.safetensors") for name in ("one", "three"))
    assert not torch.equal(first.raw["head.weight"], second.raw["head.weight"])


def test_resumed_by_its_folder_alone_equals_never_stopped(
    pictures: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(pictures, tmp_path / "whole", seed=2)
    folder = tmp_path / "parts"
    stopped = train(pictures, folder, seed=2, reporter=Watcher(signal_after=8))
    assert not stopped.finished and stopped.summary is None
    assert "step 8 of 18" in stopped.message and f"convnext train --resume {folder}" in stopped.message
    assert not (folder / "summary.json").exists() and (folder / "curves.png").exists()
    # What a killed run may leave beside its files.
    (folder / ".last.safetensors.0123abcd.partial").write_bytes(b"half")
    watcher = Watcher()
    result = resume_run(folder, reporter=watcher)
    assert result.finished and watcher.first_step == 8 and watcher.steps[0].step == 9
    require_equal_runs(tmp_path / "whole", folder)
    assert names_in(folder) == FILES
    whole = json.loads((tmp_path / "whole" / "summary.json").read_text())
    parts = json.loads((folder / "summary.json").read_text())
    for key in ("best", "last", "confusion", "unreadable", "images_seen", "steps", "seed"):
        assert whole[key] == parts[key]


def test_a_finished_run_says_so_and_its_files_stay(pictures: str, tmp_path: Path) -> None:
    folder = train(pictures, tmp_path / "run").folder
    before = {name: (folder / name).stat().st_mtime_ns for name in FILES}
    watcher = Watcher()
    result = resume_run(folder, reporter=watcher)
    assert result.finished and "is finished: 3 of 3 epochs" in result.message and watcher.notes == [result.message]
    assert {name: (folder / name).stat().st_mtime_ns for name in FILES} == before
    (folder / "summary.json").unlink()
    again = resume_run(folder)
    assert again.finished and again.summary["best"] == result.summary["best"]  # type: ignore[index]
    assert (folder / "summary.json").exists()


def test_a_run_killed_while_it_scores_goes_on(pictures: str, tmp_path: Path) -> None:
    class Late(Watcher):
        """The signal comes after the last step of an epoch, as if in the middle of its scoring."""

    result = train(pictures, tmp_path / "run", reporter=Late(signal_after=6))
    assert not result.finished
    checkpoint = read_checkpoint(tmp_path / "run" / "last.safetensors")
    assert (checkpoint.progress.step, checkpoint.progress.epoch) == (6, 0)
    assert resume_run(tmp_path / "run").finished


def test_default_folder_tells_time_and_model(pictures: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = tiny_recipe("schedule.epochs=1")
    first = train(pictures, None, recipe)
    second = train(pictures, None, recipe)
    assert re.fullmatch(r"runs/\d{8}-\d{6}-network", str(first.folder))
    assert first.folder != second.folder


def test_a_network_with_weights_is_trained_on_and_not_touched(pictures: str, tmp_path: Path) -> None:
    torch.manual_seed(9)
    network = Network(replace(LAYER_NET, num_classes=5))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    preprocess = Preprocess(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    recipe = tiny_recipe("schedule.epochs=1", "optim.lr=1e-7", "schedule.min_lr=0", "regularise.head_scale=0.001")
    train(pictures, tmp_path / "run", recipe, model=network, preprocess=preprocess)
    checkpoint = read_checkpoint(tmp_path / "run" / "last.safetensors")
    for name, value in before.items():
        assert torch.equal(network.state_dict()[name], value)
        if not name.startswith("head."):
            torch.testing.assert_close(checkpoint.raw[name], value, rtol=0, atol=1e-5)
    assert checkpoint.raw["head.weight"].shape[0] == 3 and checkpoint.raw["head.weight"].abs().max() < 1e-3
    stored = Preprocess.from_dict(checkpoint.description["preprocess"])
    assert (stored.mean, stored.std, stored.size) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 8)


@pytest.mark.parametrize(("given", "lr"), [(False, "0.0005"), (True, "1.8e-05")])
def test_a_batch_that_is_made_smaller_comes_with_a_word_on_the_learning_rate(
    pictures: str, tmp_path: Path, given: bool, lr: str
) -> None:
    watcher = Watcher()
    recipe = tiny_recipe("data.batch_size=512", "schedule.epochs=1")
    model = Network(replace(LAYER_NET, num_classes=3)) if given else LAYER_NET
    train(pictures, tmp_path / "run", recipe, model=model, reporter=watcher)
    assert watcher.notes[0] == (
        "data.batch_size is 6, not 512: there are 24 pictures to train on; optim.lr stays 0.01, and usual at this "
        f"batch is {lr}: --set optim.lr={lr}"
    )
    done = Recipe.from_dict(json.loads((tmp_path / "run" / "recipe.json").read_text()))
    assert (done.data.batch_size, done.optim.lr) == (6, 0.01)


def test_the_recipe_reaches_the_network(pictures: str, tmp_path: Path) -> None:
    recipe = tiny_recipe("schedule.epochs=1", "regularise.layer_scale=0.25", "optim.lr=1e-9", "schedule.min_lr=0")
    train(pictures, tmp_path / "run", recipe)
    checkpoint = read_checkpoint(tmp_path / "run" / "last.safetensors")
    torch.testing.assert_close(checkpoint.raw["stages.0.0.gamma"], torch.full((8,), 0.25))
    assert checkpoint.description["spec"]["layer_scale"] == 0.25


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "convnext_tinny"}, ["convnext_tinny", "convnext_tiny"]),
        ({"data": "no/such/folder"}, ["no/such/folder"]),
        ({"device": "cuda:77"}, ["cuda:77"]),
        ({"seed": -1}, ["seed", "-1"]),
        ({"split_seed": 0.5}, ["split_seed", "0.5"]),
    ],
)
def test_mistakes_are_sentences_and_leave_no_folder(
    pictures: str, tmp_path: Path, change: dict[str, Any], words: Sequence[str]
) -> None:
    options: dict[str, Any] = {"data": pictures, "model": LAYER_NET, "device": "cpu", **change}
    recipe = tiny_recipe(*options.pop("recipe", []))
    with pytest.raises(UserError) as error:
        train_run(RunPlan(recipe=recipe, **options), out=tmp_path / "run")
    for word in words:
        assert word in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_taken_is_refused_and_an_empty_one_used(pictures: str, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(UserError, match=r"not empty.*--resume"):
        train(pictures, tmp_path)
    assert names_in(tmp_path) == ["note.txt"]
    (tmp_path / "empty").mkdir()
    assert train(pictures, tmp_path / "empty", tiny_recipe("schedule.epochs=1")).finished
    with pytest.raises(UserError, match="cannot write"):
        train(pictures, tmp_path / "note.txt" / "run")


def test_nothing_to_resume_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run folder"):
        resume_run(tmp_path / "missing")
    with pytest.raises(UserError, match=r"holds no last\.safetensors"):
        resume_run(tmp_path)


def test_changed_data_is_noticed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for name in ("a", "b"):
        (data / name).mkdir(parents=True)
        for number in range(6):
            Image.new("RGB", (9, 9), (number * 20, 0, 0)).save(data / name / f"{number}.png")
    run = tmp_path / "run"
    assert not train(str(data), run, tiny_recipe("data.batch_size=2"), reporter=Watcher(signal_after=3)).finished
    (data / "a" / "0.png").unlink()
    with pytest.raises(UserError, match=r"has changed.*train 10 -> 9"):
        resume_run(run)


def test_several_seeds_stop_and_go_on(pictures: str, tmp_path: Path) -> None:
    folder = tmp_path / "seeds"
    torch.manual_seed(3)
    network = Network(replace(LAYER_NET, num_classes=5))

    class Second(Watcher):
        """Stops in the second run only."""

        runs = 0

        def start(self, run: Any) -> None:
            self.runs += 1
            self.signal_after = 4 if self.runs == 2 else None

    recipe = tiny_recipe("schedule.epochs=2", "optim.lr=0.003")
    plan = RunPlan(data=pictures, model=network, recipe=recipe, device="cpu")
    first = train_seeds(plan, [0, 1, 5], out=folder, reporter=Second())
    assert not first.finished and [result.finished for result in first.runs] == [True, False]
    assert f"--resume {folder}" in first.message
    done = (folder / "seed-0" / "last.safetensors").stat().st_mtime_ns
    # A third run that was killed before its first checkpoint.
    (folder / "seed-5").mkdir()
    (folder / "seed-5" / "run.json").write_text("{}")
    watcher = Watcher()
    second = resume(folder, reporter=watcher)
    assert isinstance(second, SeedsResult) and second.finished and second.summary is not None
    assert (folder / "seed-0" / "last.safetensors").stat().st_mtime_ns == done
    assert watcher.steps[0].step == 5
    whole = train_run(replace(plan, seed=5), out=tmp_path / "five")
    require_equal_runs(whole.folder, folder / "seed-5")
    summary = json.loads((folder / "seeds.json").read_text())
    tops = [json.loads((folder / f"seed-{n}" / "summary.json").read_text())["best"]["top1"] for n in (0, 1, 5)]
    assert [row["best"] for row in summary["runs"]] == tops
    assert summary["best"]["mean"] == pytest.approx(np.mean(tops))
    assert summary["best"]["std"] == pytest.approx(np.std(tops, ddof=1))
    held_out = {json.dumps(read_tensors(folder / f"seed-{n}" / "last.safetensors")[1]["source"]) for n in (0, 1, 5)}
    assert len(held_out) == 1


def test_gathering_takes_the_sample_deviation_and_the_same_weights() -> None:
    def one(seed: int, best: float, raw: float, ema: float) -> dict[str, Any]:
        return {
            "seed": seed,
            "best": {"weights": "ema", "top1": best},
            "last": {"raw": {"top1": raw}, "ema": {"top1": ema}},
            "seconds": 1.0,
            "images_per_second": 2.0,
        }

    gathered = gather([one(0, 90, 1, 80), one(1, 94, 2, 84), one(2, 98, 3, 85)])
    assert gathered["best"] == {"mean": 94, "std": 4}
    assert gathered["last"]["mean"] == 83 and [row["last"] for row in gathered["runs"]] == [80, 84, 85]
    assert gather([one(0, 90, 1, 80)])["best"] == {"mean": 90, "std": None}


@pytest.mark.parametrize("seeds", [[], [1, 1]])
def test_seeds_must_differ(pictures: str, tmp_path: Path, seeds: list[int]) -> None:
    with pytest.raises(UserError, match="seeds"):
        train_seeds(RunPlan(data=pictures, model=LAYER_NET, recipe=tiny_recipe()), seeds, out=tmp_path / "seeds")
    assert not (tmp_path / "seeds").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_every_process_saves_and_says_how_to_go_on(
    pictures: str, tmp_path: Path, number: signal.Signals
) -> None:
    # The whole way: our handler, the loader's workers and the sentence. Ctrl-C goes to the whole group; SIGTERM goes to
    # every process that a scheduler knows of, those that read pictures too, and comes twice.
    program = f"""
from pathlib import Path
from tests.train.tiny import LAYER_NET, tiny_recipe
from convnext.data.sources import open_source
from convnext.plan import RunConfig, RunPlan
from convnext.run import train_run
recipe = tiny_recipe("data.workers=1", "schedule.epochs=5000")
result = train_run(RunPlan(data={pictures!r}, model=LAYER_NET, recipe=recipe, device="cpu"),
                   out=Path({str(tmp_path / "run")!r}))
print(result.finished, result.message)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    log = tmp_path / "run" / "log.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (log.exists() and log.read_text().count("\n") > 20):
        time.sleep(0.1)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False)
        for pid in [*map(int, found.stdout.split()), process.pid, process.pid]:
            os.kill(pid, number)
    out, errors = process.communicate(timeout=60)
    assert out.startswith("False stopped in epoch") and "--resume" in out
    assert (process.returncode, errors) == (0, "")
    checkpoint = read_checkpoint(tmp_path / "run" / "last.safetensors")
    steps = [row["step"] for row in Journal(log).rows() if row["kind"] == "step"]
    assert checkpoint.progress.step == steps[-1] > 10


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["run.plot_curves", "kinds.classify.summarise"])
def test_a_signal_after_the_last_step_says_how_to_sum_up(
    pictures: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, number: signal.Signals
) -> None:
    def signalled(*arguments: object, **options: object) -> None:
        os.kill(os.getpid(), number)
        pytest.fail("went on")

    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(f"convnext.{moment}", signalled)
        result = train(pictures, folder)
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before
    assert (result.finished, result.interrupted, result.summary) == (False, True, None)
    assert result.message == (
        f"stopped while summing up, with all steps done and saved; sum it up with: convnext train --resume {folder}"
    )
    watcher = Watcher()
    again = resume_run(folder, reporter=watcher)
    assert again.finished and watcher.steps == [] and names_in(folder) == FILES


def test_a_signal_while_the_curves_of_a_stopped_run_are_drawn_changes_nothing(
    pictures: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Schedulers ask twice, and the second time may fall here.
    monkeypatch.setattr("convnext.run.plot_curves", lambda *a, **o: os.kill(os.getpid(), signal.SIGTERM))
    result = train(pictures, tmp_path / "run", reporter=Watcher(signal_after=8))
    assert not result.finished and "stopped in epoch 2 after step 8 of 18" in result.message


def test_a_damaged_best_does_not_keep_a_run_from_its_end(pictures: str, tmp_path: Path) -> None:
    folder = train(pictures, tmp_path / "run").folder
    data = bytearray((folder / "best.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "best.safetensors").write_bytes(data)
    (folder / "summary.json").unlink()
    watcher = Watcher()
    summary = resume_run(folder, reporter=watcher).summary
    assert summary is not None and any("is damaged, so epoch" in warning for warning in watcher.warnings)
    last = read_checkpoint(folder / "last.safetensors").progress.history[-1]
    assert summary["best"]["epoch"] == 3
    assert summary["best"]["loss"] == pytest.approx(last[summary["best"]["weights"]]["loss"], rel=1e-6)


def test_too_few_held_out_pictures_for_the_processes_is_said_at_once(pictures: str, tmp_path: Path) -> None:
    plan = RunPlan(data=pictures, model=LAYER_NET, recipe=tiny_recipe("data.batch_size=14"))
    source = open_source(pictures)
    world = World(rank=6, size=7)
    with pytest.raises(UserError, match="6 held-out pictures for 7 processes"):
        prepare(RunConfig.of(plan), plan.recipe, source, Network(LAYER_NET), None, world)


def test_every_setting_of_the_data_reaches_the_loaders(pictures: str) -> None:
    source = open_source(pictures)
    task = ClassifyTask(
        source, tiny_recipe("data.reduced_decode=true"), preprocess=Preprocess(size=8, crop=1.0), seed=0
    )
    assert task.train_batches()._feed._loader.dataset.view.reduced_decode is True


def test_a_run_killed_before_its_first_checkpoint_can_be_started_again(pictures: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "recipe.json").write_text("{}")
    (folder / "run.json").write_text("{}")
    with pytest.raises(UserError, match="start the run again with the command that began it"):
        resume_run(folder)
    plan = RunPlan(data=pictures, model=LAYER_NET, recipe=tiny_recipe(), weights="hf:some/where")
    result = train_run(plan, out=folder)
    assert result.finished and json.loads((folder / "run.json").read_text())["weights"] == "hf:some/where"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "run.json").write_text("{}")
    with pytest.raises(UserError, match="not empty"):
        train(pictures, tmp_path / "other")
