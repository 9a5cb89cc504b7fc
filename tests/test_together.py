"""Options that would be ignored are refused in one line, before a run is opened."""

from pathlib import Path

import pytest

from rnnlab.commands import generate as generate_command
from rnnlab.commands import inspect as inspect_command
from rnnlab.commands import predict as predict_command
from rnnlab.commands.evaluate import _configs
from rnnlab.runs.directory import RunDirectory

VERBS = {"predict": predict_command, "generate": generate_command, "inspect": inspect_command}
FREE = {"help", "arguments", "input", "output", "device", "allow"}
"""Options of predict that go with everything, or that others need."""


@pytest.mark.parametrize(
    ("verb", "arguments", "said"),
    [
        ("predict", "--language-weight 0.3 --input x", "--language-weight 0.3 weighs what a language model says"),
        ("predict", "--language-model r --language-weight 0.3", "--language-model r is for new data"),
        ("predict", "--beam 4", "--beam 4 is for new data"),
        ("predict", "--batch-size 4", "--batch-size 4 is for new data"),
        ("predict", "--format csv", "--format csv is for new data"),
        ("predict", "--length-penalty 0.5 --input x", "--length-penalty 0.5 is of a search: give --beam N"),
        ("predict", "--force --input x", "--force overwrites a file: give --output FILE"),
        ("predict", "--force --input x --output -", "--force overwrites a file"),
        ("predict", "--stream --batch-size 8", "--batch-size and --stream: "),
        ("predict", "--stream --steps", "--steps and --stream: "),
        ("predict", "--stream --output a.csv", "--output and --stream: "),
        ("predict", "--stream --language-model r", "--language-model and --stream: "),
        ("predict", "--describe --input x", "--input and --describe: "),
        ("predict", "--describe --beam 3", "--beam and --describe: "),
        ("predict", "--out-of-fold --steps", "--steps and --out-of-fold: "),
        ("predict", "--input x data.noise=1", "data.noise=1: new data is read as the training data was"),
        ("predict", "--quantile 0.9 --input x", "--quantile 0.9 is of --anomalies"),
        ("predict", "--anomalies --beam 2 --input x", "--beam and --anomalies: "),
        ("inspect", "--format csv", "--format csv is of a file of your own: give --input FILE"),
        ("inspect", "--input x --split val", "--split and --input: "),
        ("generate", "--temperature 0 --top-k 3", "--top-k 3 and --temperature 0: "),
        ("generate", "--temperature 0 --top-p 0.5", "--top-p 0.5 and --temperature 0: "),
        ("generate", "--temperature 0 --samples 2", "--samples 2 and --temperature 0: "),
    ],
)
def test_what_would_be_ignored_is_refused(
    verb: str, arguments: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert VERBS[verb].main(["no_run", *arguments.split()]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"rnnlab: {said}") and error.count("\n") == 1


def test_every_option_of_predict_says_what_it_needs() -> None:
    ruled = {name for rule in predict_command.RULES for name in (rule.option, *rule.without)}
    names = {action.dest for action in predict_command.command_line()._actions}
    assert names - FREE == ruled - {"input", "output"}
    # by which the rules know what was typed
    defaults = {action.dest: action.default for action in predict_command.command_line()._actions}
    assert {defaults[name] for name in ruled} <= {None, False}


def test_a_device_is_that_of_every_run_that_is_tested(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("trainer: {accelerator: gpu}")
    runs = [RunDirectory(tmp_path)] * 2
    assert [config["trainer"]["accelerator"] for config in _configs(runs, [], "cpu")] == ["cpu", "cpu"]
    assert _configs(runs, [], None)[0]["trainer"]["accelerator"] == "gpu"
