"""The study of inherited against stand-alone accuracy: what it keeps, and that it goes on where it was cut."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from nas_edge.accuracy import kendall_tau
from nas_edge.cli.main import invoke
from nas_edge.errors import ConfigError, DataError
from nas_edge.pipeline.alone import study
from nas_edge.pipeline.alone.study import STUDY, TABLE, study_alone
from nas_edge.pipeline.evaluate_flow import evaluate_flow

RECIPE = {"batch_size": 12, "warmup_epochs": 0.0}


def test_a_study_that_is_cut_goes_on_and_says_what_it_rests_on(stand: Path) -> None:
    out = Path("study")

    def stop(done: float, total: float, text: str) -> None:
        if done > 1.5 and "epoch" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study_alone("tiny", out, each=1, epochs=1, recipe=RECIPE, progress=stop)
    first = (out / "01" / "result.json").stat().st_mtime_ns
    with pytest.raises(ConfigError, match=r"another study is under way there \(epochs differ"):
        study_alone("tiny", out, each=1, epochs=2, recipe=RECIPE)
    report = study_alone("tiny", out, each=1, epochs=1, recipe=RECIPE)
    assert (out / "01" / "result.json").stat().st_mtime_ns == first
    assert [subnet.run for subnet in report.subnets] == ["01", "02", "03", "04"]
    alone, inherited = ([getattr(s, name) for s in report.subnets] for name in ("alone", "inherited"))
    assert report.agreement.tau == pytest.approx(kendall_tau(np.array(alone), np.array(inherited)), abs=1e-9)
    assert evaluate_flow(str(out / "02")).accuracy == pytest.approx(alone[1], abs=1e-4)  # the bundle has one view
    kept = json.loads((out / STUDY).read_text())
    assert kept["tau"] == report.agreement.tau
    assert len(kept["subnets"]) == 4
    with open(out / TABLE, newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["quartile"] for row in rows] == ["1", "2", "3", "4"]
    assert any(line.startswith("tau ") for line in report.lines())


def test_a_study_on_a_handful_of_images_is_refused_before_it_trains(
    stand: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "LEAST_IMAGES", 1000)
    with pytest.raises(DataError, match=r"\d+ search images rank nothing; 1000 are the least"):
        study_alone("tiny", Path("study"), each=1, epochs=1, recipe=RECIPE)
    assert not Path("study").exists()


def test_the_command_needs_a_directory_and_a_known_study(stand: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["evaluate", "tiny", "--study", "alone"]) == 2
    assert "--out DIRECTORY" in capsys.readouterr().err
    assert invoke(["evaluate", "tiny", "--study", "together", "--out", "x"]) == 2
    assert "unknown study 'together'" in capsys.readouterr().err
    Path("full").mkdir()
    Path("full", "of.txt").write_text("other things")
    assert invoke(["evaluate", "tiny", "--study", "alone", "--out", "full"]) == 2
    assert "is no study" in capsys.readouterr().err
