"""convnext roadmap draw: what it prints, what it writes, and what it says of a mistake."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from convnext.cli.draw import draw
from convnext.diagrams.draw import draw_page
from convnext.diagrams.nets import drawn
from convnext.diagrams.parts import parts_of
from convnext.errors import UserError
from convnext.lab.regimes import chosen_regime
from convnext.roadmap import STEPS, spec_at
from convnext.spec import CONVNEXT_TINY
from tests.diagrams.svg import svg_texts

app = typer.Typer()
app.command()(draw)
runner = CliRunner()


def printed(*arguments: str) -> str:
    result = runner.invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_without_a_step_it_draws_all_17_into_this_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert printed() == "steps.svg\n"
    said = [text for _, text in svg_texts(tmp_path / "steps.svg")]
    assert [text for text in said if text.startswith("resnet50:")] == [
        f"resnet50:{step.name}, {('the start' if step is STEPS[0] else 'kept') if step.adopted else 'only tried'}"
        for step in STEPS
    ]
    assert said.count("changes from kernel_11:") == 1


def test_steps_models_and_rows_are_drawn_in_the_order_given(tmp_path: Path) -> None:
    out = tmp_path / "some.PNG"
    names = ["move_up", "convnext_tiny", "resnet200:width", "move_up"]
    value = json.loads(printed(*names, "--regime", "quarter", "--out", str(out), "--json"))
    assert value == {"file": str(out), "drawn": names}
    with Image.open(out) as image:
        assert image.width > image.height
    assert drawn("move_up", regime="quarter").parts == parts_of(spec_at("move_up", "quarter"))
    assert drawn("resnet200:width", regime="quarter").parts == parts_of(spec_at("width", "resnet200"))
    assert drawn("convnext_tiny", size=384).parts == parts_of(CONVNEXT_TINY, 384)


def test_a_scaled_regime_is_drawn_as_it_is_trained(tmp_path: Path) -> None:
    options = "--regime quarter --width 8 --depths 1,2,3,1 --set model.stem_stride=2 --size 64".split()
    printed("original", "width", "convnext_tiny", *options, "--out", str(tmp_path / "some.svg"))
    scaled = chosen_regime("quarter", width=8, depths=(1, 2, 3, 1), settings={"stem_stride": 2})
    nets = [drawn(name, regime=scaled, size=64) for name in ("original", "width")]
    assert [net.parts for net in nets] == [parts_of(spec, 64) for spec in (scaled.start, spec_at("width", scaled))]
    assert parts_of(CONVNEXT_TINY, 64) == drawn("convnext_tiny", regime=scaled, size=64).parts
    said = [text for _, text in svg_texts(tmp_path / "some.svg")]
    draw_page(tmp_path / "same.svg", [*nets, drawn("convnext_tiny", size=64)])
    assert said == [text for _, text in svg_texts(tmp_path / "same.svg")]
    assert "quarter-width8-depths1.2.3.1-stem_stride2:width, kept" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["depthwize"], "no step or model depthwize; did you mean depthwise"),
        (["convnext_tini"], "no step or model convnext_tini; did you mean convnext_tiny"),
        (["quarter:gelo"], "no step gelo; did you mean gelu"),
        (["convnext_tiny", "--regime", "resnet5"], "no regime resnet5; did you mean resnet50"),
        (["gelu", "--depths", "3,x"], "--depths must be whole numbers with commas such as 3,4,6,3, got 3,x"),
        (["gelu", "--set", "model.kernel=5"], "model.kernel cannot be set for a sweep, for its steps"),
        (["gelu", "--set", "optim.lr=5"], "a drawing has no recipe, so --set takes fields of the network as model."),
        (["gelu", "--out", "gelu.pdf"], "written as .svg or .png, got gelu.pdf"),
        (["gelu", "--out", "missing/gelu.svg"], "cannot write missing/gelu.svg: there is no folder missing"),
        (["separate_downsampling", "--size", "16"], "a picture of 16 pixels is too small"),
    ],
)
def test_a_mistake_is_a_sentence_and_writes_nothing(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=re.escape(words)):
        runner.invoke(app, arguments, catch_exceptions=False)
    assert list(tmp_path.iterdir()) == []


def test_what_is_drawn_is_known_without_torch_and_matplotlib() -> None:
    code = (
        "import sys; from convnext.diagrams.nets import drawn; from convnext.diagrams.changes import changes_between\n"
        "changes_between(drawn('width').parts, drawn('inverted').parts)\n"
        "import convnext.cli.draw\n"
        "found = {'torch', 'numpy', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'imported {found}' if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr.strip() == "", done.stderr
