"""TensorBoard started on a sweep and asked over HTTP, as its pages ask."""

import json
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY
from processes import PATIENCE
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

from rnnlab.commands import train as train_command

MODELS, SEEDS = ("rnn", "gru"), (0, 1)
Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tensorboard") / "sweep"
    jobs = [f"model={','.join(MODELS)}", f"seed={','.join(map(str, SEEDS))}", "model.hidden_size=4"]
    assert train_command.main(["-m", *jobs, *TINY, f"hydra.sweep.dir={path}"]) == 0
    return path


def tags_of_files(sweep: Path) -> dict[str, dict[str, set[str]]]:
    """What stands in the files of a sweep's runs, read by TensorBoard's own reader: by plugin and run."""
    files = EventMultiplexer()
    files.AddRunsFromDirectory(str(sweep))
    files.Reload()
    return {
        plugin: {run: set(tags) for run, tags in files.PluginRunToTagToContent(plugin).items()}
        for plugin in ("scalars", "images")
    }


@pytest.fixture(scope="module")
def ask(sweep: Path) -> Iterator[Ask]:
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(sweep), "--port", "0", "--load_fast", "false"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stderr is not None
            address = next(found[0] for line in server.stderr if (found := re.search(r"http://\S+", line)))

            def get(path: str, body: dict[str, Any] | None = None, **query: str) -> Any:
                url = f"{address.rstrip('/')}/data/{path}?{urllib.parse.urlencode(query)}"
                data = None if body is None else json.dumps(body).encode()
                request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
                with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                    return json.load(answer)

            there = tags_of_files(sweep)
            assert len(there["scalars"]) == len(MODELS) * len(SEEDS)
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline and any(
                {run: set(tags) for run, tags in get(f"plugin/{plugin}/tags").items()} != tags
                for plugin, tags in there.items()
            ):
                time.sleep(0.2)  # it reads the files in a thread of its own, bit by bit
            yield get
        finally:
            server.terminate()


pytestmark = pytest.mark.slow


def test_a_run_has_the_name_of_what_is_varied(ask: Ask) -> None:
    names = [f"{number}_model={model},seed={seed}" for number, (model, seed) in enumerate(JOBS)]
    assert ask("runs") == names


def test_training_and_validation_curves_come_first(ask: Ask) -> None:
    pictures = ask("plugin/images/tags")
    for run, tags in ask("plugin/scalars/tags").items():
        # by the alphabet, as its page has them
        sections = sorted({tag.partition("/")[0] for tag in [*tags, *pictures[run]]})
        assert sections == ["train", "val", "weight updates", "when done"], run


JOBS = [(model, seed) for model in MODELS for seed in SEEDS]


def test_curves_are_those_of_the_ledger(ask: Ask, sweep: Path) -> None:
    for run in ask("runs"):
        metrics = json.loads((sweep / run / "metrics.json").read_text())
        pairs = {"test/loss": "test/loss", "baseline/loss": "baseline (persistence)/loss"}
        pairs["baseline/rollout/mse"] = "baseline (persistence)/rollout/mse"
        for score, shown in pairs.items():
            ((_, step, value),) = ask("plugin/scalars/scalars", run=run, tag=f"when done/{shown}")
            assert (step, value) == (metrics["steps"], pytest.approx(metrics[score]))
        assert ask("plugin/scalars/scalars", run=run, tag="val/loss")


def test_curves_are_grouped(ask: Ask) -> None:
    layout = ask("plugin/custom_scalars/layout")
    assert [category["title"] for category in layout["category"]] == ["Learning curves", "Optimization"]
    loss = layout["category"][0]["chart"][0]
    assert (loss["title"], loss["multiline"]["tag"]) == ("loss", ["train/loss", "val/loss"])


def test_figures_are_there(ask: Ask) -> None:
    for run, tags in ask("plugin/images/tags").items():
        assert "when done/figures/loss_curves" in tags, run


def test_every_job_has_its_hyperparameters_and_its_real_scores(ask: Ask, sweep: Path) -> None:
    experiment = ask("plugin/hparams/experiment", {"hparamsLimit": 0})
    shown_first = [info["name"] for info in experiment["hparamInfos"]][:8]
    assert {"model", "data", "model.hidden_size", "seed"} <= set(shown_first), "what was chosen comes first"
    body = {
        "startIndex": 0,
        "sliceSize": 100,
        "allowedStatuses": ["STATUS_SUCCESS"],
        "colParams": [{"metric": info["name"]} for info in experiment["metricInfos"]],
    }
    groups = ask("plugin/hparams/session_groups", body)["sessionGroups"]
    found = {}
    for group in groups:
        parameters, (session,) = group["hparams"], group["sessions"]
        scores = {each["name"]["tag"]: each["value"] for each in session["metricValues"]}
        found[parameters["model"], parameters["seed"]] = scores["when done/test/loss"]
        assert "hp_metric" not in scores
    headings = {info["displayName"] for info in experiment["metricInfos"]}
    assert {"val/loss (mse)", "best/val/loss (mse)", "test/loss (mse)"} <= headings
    assert not {"val/mse", "best/val/mse", "test/mse"} & headings, "one number, once"
    expected = {  # a seed is a name: as a number it would be shown as 0.0000
        (model, str(seed)): json.loads((sweep / f"{number}_model={model},seed={seed}" / "metrics.json").read_text())
        for number, (model, seed) in enumerate(JOBS)
    }
    assert found == {key: pytest.approx(metrics["test/loss"]) for key, metrics in expected.items()}
