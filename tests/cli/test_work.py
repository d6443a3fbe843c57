"""The working commands end to end on small data: what they print, what they leave behind, how they refuse."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.main import get_command
from typer.testing import CliRunner

from convnext.cli import main
from convnext.cli.app import app
from convnext.models import create_model
from convnext.spec import CONVNEXT_TINY
from convnext.weights import save_model

TINY = [
    "--set",
    "model.depths=1,1",
    "--set",
    "model.width=8",
    "--set",
    "model.stem_stride=2",
    "--set",
    "data.workers=0",
]
runner = CliRunner()


def draw(path: Path, colour: tuple[int, int, int], seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(-40, 40, (20, 24, 3))
    Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("colours")
    for number, (name, colour) in enumerate(
        {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}.items()
    ):
        for index in range(12):
            draw(root / name / f"{index}.png", colour, 100 * number + index)
    return root


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    arguments = ["train", str(folder), "--epochs", "12", "--size", "16", "--set", "data.batch_size=8", *TINY]
    result = runner.invoke(app, [*arguments, "--set", "optim.lr=5e-3", "--out", str(out)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return out


def as_json(*arguments: str) -> Any:
    result = runner.invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def command(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "convnext", *arguments], capture_output=True, text=True, check=False, cwd=cwd
    )


def refused(*arguments: str, cwd: Path | None = None) -> str:
    """Return the last line of a refusal; in this process, because starting one takes seconds."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["convnext", *arguments])
        if cwd is not None:
            patch.chdir(cwd)
        with pytest.raises(SystemExit) as stopped:
            main()
    assert stopped.value.code == 2 and out.getvalue() == "" and "Traceback" not in err.getvalue()
    return err.getvalue().splitlines()[-1]


def test_a_run_leaves_everything_behind(run: Path) -> None:
    assert {path.name for path in run.iterdir()} == {
        "best.safetensors",
        "confusion.csv",
        "confusion.png",
        "curves.png",
        "last.safetensors",
        "log.jsonl",
        "predictions.png",
        "previous.safetensors",
        "recipe.json",
        "run.json",
        "summary.json",
    }
    recipe = json.loads((run / "recipe.json").read_text())
    assert recipe["optim"]["lr"] == 5e-3 and recipe["schedule"]["epochs"] == 12 and recipe["data"]["size"] == 16
    for path in run.glob("*.png"):
        with Image.open(path) as picture:
            assert min(picture.size) > 200


def test_eval_scores_the_held_out_part_of_its_own_data(run: Path, folder: Path) -> None:
    value = as_json("eval", str(run), str(folder))
    assert {"top1", "top5", "loss", "images", "weights"} <= set(value)
    assert value["part"] == "val" and value["images"] == 6 and value["weights"] == "ema"
    assert value["top5"] is None
    best = json.loads((run / "summary.json").read_text())["best"]
    assert (value["top1"], value["loss"]) == (best["top1"], pytest.approx(best["loss"], rel=1e-5))
    assert value["top1"] >= 80
    raw = as_json("eval", str(run), str(folder), "--weights", "raw")
    assert raw["weights"] == "raw" and raw["loss"] != value["loss"]
    assert as_json("eval", str(run), str(folder), "--part", "all")["images"] == 36


def test_eval_takes_all_of_data_that_has_no_held_out_part(run: Path, folder: Path, tmp_path: Path) -> None:
    for name in ("blue", "red"):  # fewer classes than the run knows, and not in its numbering
        draw(tmp_path / "new" / name / "1.png", (40, 40, 200) if name == "blue" else (200, 40, 40), 7)
        draw(tmp_path / "new" / name / "2.png", (40, 40, 200) if name == "blue" else (200, 40, 40), 8)
    value = as_json("eval", str(run), str(tmp_path / "new"))
    assert (value["part"], value["images"]) == ("all", 4)
    assert value["top1"] >= 75


def test_eval_names_what_it_could_not_read(run: Path, folder: Path, tmp_path: Path) -> None:
    for name in ("blue", "red"):
        for index in (1, 2):
            draw(tmp_path / "new" / name / f"{index}.png", (40, 40, 200), index)
    (tmp_path / "new" / "red" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    value = as_json("eval", str(run), str(tmp_path / "new"))
    assert value["images"] == 3 and value["unreadable"] == ["red/1.png"]


def test_classes_that_differ_are_named(run: Path, tmp_path: Path) -> None:
    for name in ("red", "crimson"):
        for index in (1, 2):
            draw(tmp_path / "new" / name / f"{index}.png", (200, 40, 40), index)
    line = refused("eval", str(run), str(tmp_path / "new"))
    assert "classes that the checkpoint does not know (crimson)" in line and "blue, green, red" in line


def test_predict_prints_one_object_a_line(run: Path, folder: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"nothing")
    pictures = [str(folder / "red" / "0.png"), str(bad), str(folder / "blue"), str(tmp_path / "gone.png")]
    done = command("predict", str(run), *pictures, "--json")
    assert done.returncode == 0
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["path"] for row in rows[:2]] == pictures[:2] and len(rows) == 15
    assert rows[0]["labels"][0]["label"] == "red" and rows[2]["labels"][0]["label"] == "blue"
    assert sum(label["probability"] for label in rows[0]["labels"]) == pytest.approx(1, abs=1e-5)
    assert rows[1]["labels"] == [] and "bad.png" in rows[1]["error"]
    assert rows[-1]["path"] == pictures[-1] and rows[-1]["error"]
    assert "warning" in done.stderr and "bad.png" in done.stderr


def test_predict_prints_tables_and_csv(run: Path, folder: Path) -> None:
    picture = str(folder / "green" / "3.png")
    table = runner.invoke(app, ["predict", str(run), picture], catch_exceptions=False)
    assert picture in table.stdout and "green" in table.stdout
    text = runner.invoke(app, ["predict", str(run), picture, "--format", "csv", "--top", "2"], catch_exceptions=False)
    rows = list(csv.DictReader(io.StringIO(text.stdout)))
    assert [row["rank"] for row in rows] == ["1", "2"] and rows[0]["path"] == picture
    assert float(rows[0]["probability"]) >= float(rows[1]["probability"])


def test_convert_says_how_the_file_is_opened(tmp_path: Path) -> None:
    network = create_model(replace(CONVNEXT_TINY, depths=(1, 1, 1, 1), width=8, num_classes=3))
    save_model(tmp_path / "ours.safetensors", network, ema=network, labels=["a", "b", "c"])
    source, out = str(tmp_path / "ours.safetensors"), str(tmp_path / "official.pth")
    value = as_json("convert", source, out, "--to", "official")
    assert (value["path"], value["to"], value["weights"]) == (out, "official", "ema") and value["opened_by"]
    written = torch.load(out, weights_only=True)["model"]
    assert torch.equal(written["stages.0.0.dwconv.weight"], network.get_parameter("stages.0.0.dwconv.weight"))


def test_convert_refuses_what_a_scheme_cannot_hold(run: Path, tmp_path: Path) -> None:
    line = refused("convert", str(run), str(tmp_path / "out"), "--to", "transformers")
    assert "transformers cannot hold this network" in line and not list(tmp_path.iterdir())


def test_fine_tuning_replaces_the_head_and_says_so(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "fine"
    arguments = ["train", "digits", "--weights", str(run), "--epochs", "3", "--size", "16", "--set", "data.workers=0"]
    done = command(*arguments, "--set", "optim.lr=1e-2", "--out", str(out), "--json")
    assert done.returncode == 0, done.stderr
    assert "head replaced: 3 -> 10 classes" in done.stderr
    value = json.loads(done.stdout)
    assert value["folder"] == str(out) and value["classes"] == 10
    assert as_json("eval", str(out), "digits")["top1"] > 20


def test_several_seeds(folder: Path, tmp_path: Path) -> None:
    value = as_json(
        "train", str(folder), "--epochs", "2", "--size", "16", "--seeds", "3", "--set", "data.batch_size=8", *TINY,
        "--out", str(tmp_path / "three"),
    )  # fmt: skip
    tops = [run["last"] for run in value["runs"]]
    assert value["last"]["mean"] == pytest.approx(np.mean(tops))
    assert value["last"]["std"] == pytest.approx(np.std(tops, ddof=1))
    assert [run["seed"] for run in value["runs"]] == [0, 1, 2]
    again = runner.invoke(app, ["train", "--resume", str(tmp_path / "three")], catch_exceptions=False)
    assert again.exit_code == 0 and "3 seeds" in again.stdout


def test_a_saved_recipe_runs_again(run: Path, folder: Path, tmp_path: Path) -> None:
    arguments = [
        "train",
        str(folder),
        "--recipe",
        str(run / "recipe.json"),
        *TINY[:-2],
        "--out",
        str(tmp_path / "again"),
    ]
    value = as_json(*arguments)
    before = json.loads((run / "summary.json").read_text())
    assert (value["best"]["top1"], value["best"]["loss"]) == (before["best"]["top1"], before["best"]["loss"])
    assert value["last"] == before["last"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train"], "DATA is missing"),
        (["train", "no-such-folder"], "no such folder or file: no-such-folder"),
        (["train", "digits", "--model", "convnext_atom"], "no model convnext_atom; did you mean convnext_atto"),
        (["train", "digits", "--model", "quarter:gel"], "no step gel; did you mean gelu"),
        (["train", "digits", "--set", "optim.lrr=1"], "no setting optim.lrr; did you mean optim.lr"),
        (["train", "digits", "--set", "optim.lr=fast"], "optim.lr must be a number above 0, got 'fast'"),
        (["train", "digits", "--set", "model.kernal=5"], "model.kernal cannot be set; did you mean model.kernel"),
        (["train", "digits", "--set", "model.kernel=4"], "kernel must be odd, got 4"),
        (["train", "digits", "--set", "lr"], "LEAF=VALUE"),
        (["train", "digits", "--recipe", "defualt"], "no recipe defualt; did you mean default"),
        (["train", "digits", "--size", "16"], "a picture of 16 pixels is too small"),
        (["train", "digits", "--device", "tpu"], "device must be auto, cuda"),
        (["train", "--resume", "nowhere"], "no run folder nowhere"),
        (["train", "digits", "--resume", "nowhere"], "leave out DATA"),
        (["train", "--resume", "nowhere", "--seed", "0"], "leave out --seed"),
        (["train", "digits", "--set", "model.transitions=none"], "one stage"),
        (["eval", "nowhere.pth", "digits"], "no file or folder nowhere.pth"),
        (["predict", "nowhere.pth", "nothing.png"], "there is no picture nothing.png"),
        (["predict", "nowhere.pth", "*.png"], "*.png is no file, folder or glob"),
        (["convert", "nowhere.pth", "out.pth", "--to", "tim"], "no naming scheme tim; did you mean timm"),
        (["train", "torchvision:FashionMNIST@nowhere"], "was not found under"),
        (["convert", "nowhere.pth", "out.pth", "--to", "timm"], "no file or folder nowhere.pth"),
    ],
)
def test_mistakes_are_one_sentence(arguments: list[str], words: str, tmp_path: Path) -> None:
    line = refused(*arguments, cwd=tmp_path)
    assert line.startswith("convnext: ") and words in line
    assert not list(tmp_path.iterdir()), "a mistake leaves nothing behind"


def test_a_checkpoint_of_another_model_is_refused(run: Path, tmp_path: Path) -> None:
    line = refused("train", "digits", "--weights", str(run), "--model", "convnext_tiny", cwd=tmp_path)
    assert "not convnext_tiny" in line and not list(tmp_path.iterdir())


def test_a_full_disk_is_one_sentence_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
        "sys.argv = ['convnext', *sys.argv[1:]]\n"
        "from convnext.cli import main\nmain()"
    )
    arguments = ["train", "digits", "--epochs", "1", "--size", "8", *TINY, "--out", str(tmp_path / "run")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "last.safetensors" in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists(), "a run that nobody could go on with is taken away"


def test_a_stopped_run_goes_on(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ["train", str(folder), "--epochs", "400", "--size", "16", "--set", "data.batch_size=8", *TINY]
    run = [sys.executable, "-m", "convnext", *arguments, "--out", str(out)]
    with subprocess.Popen(run, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if line.startswith("epoch"))
        process.terminate()
        rest = process.stderr.read()
    assert process.returncode == 130
    assert f"convnext train --resume {out}" in rest
    assert not (out / "summary.json").exists()
    steps = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert 0 < len([row for row in steps if row["kind"] == "epoch"]) < 400


def test_wide_terminals_and_pipes_get_the_whole_table(run: Path, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "convnext", "predict", str(run), str(folder / "red" / "0.png")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "40"},
    )
    assert str(folder / "red" / "0.png") in done.stdout


def test_the_data_is_known_again_from_any_folder_and_under_any_name(run: Path, folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "other name"
    shutil.copytree(folder, moved)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        value = as_json("eval", str(run), "other name")
    assert (value["part"], value["images"]) == ("val", 6)
    (moved / "red" / "0.png").rename(moved / "red" / "new.png")
    assert as_json("eval", str(run), str(moved))["part"] == "all"


def test_a_converted_run_still_knows_its_data(run: Path, folder: Path, tmp_path: Path) -> None:
    as_json("convert", str(run), str(tmp_path / "own.safetensors"), "--to", "convnext")
    assert as_json("eval", str(tmp_path / "own.safetensors"), str(folder))["part"] == "val"


def test_a_run_goes_on_from_another_working_directory(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "here" / "data")
    (tmp_path / "there").mkdir()
    arguments = ["train", "data", "--epochs", "2", "--size", "16", "--set", "data.batch_size=8", *TINY, "--out", "run"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path / "here")
        as_json(*arguments)
        (tmp_path / "here" / "run" / "summary.json").unlink()
        patch.chdir(tmp_path / "there")
        assert as_json("train", "--resume", "../here/run")["classes"] == 3


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="process groups are a thing of POSIX")
def test_a_signal_to_the_whole_group_saves_the_run(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ["train", str(folder), "--epochs", "400", "--size", "16", "--set", "data.batch_size=8", *TINY[:-2]]
    run = [sys.executable, "-m", "convnext", *arguments, "--set", "data.workers=2", "--out", str(out)]
    with subprocess.Popen(run, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if line.startswith("epoch"))
        os.killpg(process.pid, signal.SIGTERM)
        rest = process.stderr.read()
    assert process.returncode == 130, rest
    assert "Traceback" not in rest and f"convnext train --resume {out}" in rest


def test_very_little_data_gets_a_batch_that_fits(tmp_path: Path) -> None:
    for name in ("one", "two"):
        for index in range(3):
            draw(tmp_path / "data" / name / f"{index}.png", (9, 99, 199), index)
    done = command(
        "train", str(tmp_path / "data"), "--epochs", "1", "--size", "16", *TINY, "--out", str(tmp_path / "run")
    )
    assert done.returncode == 0, done.stderr
    assert "data.batch_size is 2, not 64: there are 4 pictures to train on" in done.stderr
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["data"]["batch_size"] == 2


def test_what_is_left_out_is_said_with_the_reason(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "data")
    whole = (tmp_path / "data" / "red" / "3.png").read_bytes()
    (tmp_path / "data" / "red" / "3.png").write_bytes(whole[:400])
    arguments = ["train", str(tmp_path / "data"), "--epochs", "2", "--size", "16", "--set", "data.batch_size=8", *TINY]
    done = command(*arguments, "--out", str(tmp_path / "run"), "--json")
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if "red/3.png" in line]
    assert len(lines) == 1 and "truncated" in lines[0]
    assert json.loads(done.stdout)["unreadable"] == ["red/3.png"]


def test_other_classes_of_the_same_number_get_a_new_head(run: Path, tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        for index in range(4):
            draw(tmp_path / "data" / name / f"{index}.png", (9, 99, 199), index)
    arguments = ["train", str(tmp_path / "data"), "--weights", str(run), "--epochs", "1", "--size", "16"]
    done = command(*arguments, "--set", "data.workers=0", "--set", "data.batch_size=4", "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert "head replaced" in done.stderr and "others than the data has" in done.stderr


def test_weights_without_a_head_get_one(tmp_path: Path) -> None:
    network = create_model(replace(CONVNEXT_TINY, depths=(1, 1, 1, 1), width=8, num_classes=3))
    state = {name: value for name, value in network.state_dict().items() if not name.startswith("head.")}
    torch.save({"model": state}, tmp_path / "headless.pth")
    arguments = ["train", "digits", "--weights", str(tmp_path / "headless.pth"), "--epochs", "1", "--size", "32"]
    done = command(*arguments, "--set", "data.workers=0", "--out", str(tmp_path / "run"), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["classes"] == 10


def test_failures_of_the_machine_are_sentences(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for error, words in (
        (torch.OutOfMemoryError("CUDA out of memory"), "data.batch_size"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error."), "data.workers=0"),
    ):

        def fail(error: Exception = error) -> None:
            raise error

        monkeypatch.setattr("convnext.cli.app.app", fail)
        with pytest.raises(SystemExit) as stopped:
            main()
        assert stopped.value.code == 2 and words in capsys.readouterr().err
    monkeypatch.setattr("convnext.cli.app.app", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main()


def test_nobody_adds_a_flag_unnoticed() -> None:
    flags = {
        name: [option.opts[0] for option in command.params if option.opts[0].startswith("--")]
        for name, command in get_command(app).commands.items()  # type: ignore[attr-defined]
        if name in ("train", "eval", "predict", "convert", "demo", "figure1", "bench")
    }
    lab = get_command(app).commands["roadmap"].commands["train"]  # type: ignore[attr-defined]
    assert [option.opts[0] for option in lab.params if option.opts[0].startswith("--")] == (
        "--regime --width --depths --size --epochs --seeds --steps --leave-one-out --order --recipe --classic-recipe "
        "--set --set-classic --out --resume --shard --minutes --device --dry-run --json"
    ).split()
    # Everything else is a setting: --set optim.lr=1e-3.
    assert flags == {
        "train": (
            "--task --model --head --recipe --weights --epochs --size --set --seed --seeds --out --resume --device "
            "--track --json"
        ).split(),
        "eval": (
            "--task --weights --part --size --batch-size --workers --device --on --labels --corruptions --severities "
            "--reference --confusion --page --results --multi-scale --json"
        ).split(),
        "predict": "--top --format --task --weights --batch-size --device --out --score --size --json".split(),
        "demo": "--task --out --minutes --device".split(),
        "convert": "--to --weights --json".split(),
        "figure1": "--out --x --pretrained --open --json".split(),
        "bench": (
            "--models --table12 --isotropic --train --batch --device --dtype --layout --compile --threads --seconds "
            "--reference --out --dry-run --json"
        ).split(),
    }
