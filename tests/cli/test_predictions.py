"""How predictions are printed."""

import json

import pytest

from convnext.cli.work import FormatName, _print_predictions
from convnext.predict import Label, Prediction

WNID = Prediction(
    path="a.png", labels=(Label(label="n01440764", probability=0.75), Label(label="cat", probability=0.25))
)


def test_a_table_has_names_for_wnids(capsys: pytest.CaptureFixture[str]) -> None:
    assert _print_predictions(iter([WNID]), FormatName.table) == 0
    assert "tench (n01440764) 75.0%  cat 25.0%" in capsys.readouterr().out


@pytest.mark.parametrize("kind", [FormatName.jsonl, FormatName.csv])
def test_for_programs_labels_are_as_they_are(kind: FormatName, capsys: pytest.CaptureFixture[str]) -> None:
    _print_predictions(iter([WNID]), kind)
    shown = capsys.readouterr().out
    assert "n01440764" in shown and "tench" not in shown
    if kind is FormatName.jsonl:
        assert json.loads(shown)["labels"][0]["label"] == "n01440764"
