"""A trained run as something to use: ``load(RUN).predict(x)``."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from rnnlab.data.reader import Arrival, Given, Reader
from rnnlab.data.readers import reader_from_plain
from rnnlab.data.series_reader import History, SeriesReader
from rnnlab.data.text_reader import CorpusReader, TextReader
from rnnlab.errors import InputError
from rnnlab.files.panel import Columns
from rnnlab.files.source import Format, Source
from rnnlab.network import Network
from rnnlab.runs.build import build
from rnnlab.runs.checkpoint import fit_weights, read_checkpoint
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.ensemble import Ensemble, Member, check_alike, check_learned, patch_of
from rnnlab.runs.execution import build_network, prepare
from rnnlab.runs.trainer import choose_threads, find_device
from rnnlab.spec import DataSpec, InputSpec
from rnnlab.tasks.forecasting import Forecasting
from rnnlab.tasks.language_modeling import LanguageModeling
from rnnlab.tasks.task import Task
from rnnlab.use.generation import Writer, generate
from rnnlab.use.members import members
from rnnlab.use.options import check_positive
from rnnlab.use.stepper import Stepper, StepState, each_step

BATCH_SIZE = 256
POOL = 32
"""Batches that are sorted by length together: sequences of like length are read side by side, little is padded."""
CHUNK = 4096
"""Tokens of a long text that are read at once, the state carried."""


def load(place: str | Path | Sequence[str | Path], allow: Sequence[str] = (), device: str = "cpu") -> "TrainedRun":
    """Opens a run to use it: its directory is all that is needed.

    ::

        from rnnlab import load

        model = load("outputs/my_run")
        model.predict(x)

    Args:
        place: the directory of a run, of a sweep (the seeds of its best configuration predict together), or several.
        allow: modules of your own that the run's config may build from.
        device: ``cpu``, ``cuda``, or ``auto``: a GPU where there is one.

    Raises:
        InputError: it is no run with a checkpoint, the checkpoint is damaged, or runs cannot predict together.
    """
    places = [str(place)] if isinstance(place, str | Path) else [str(each) for each in place]
    if not places:
        raise InputError("give the directory of a run")
    return open_runs([Member(run, run.config) for run in members(places, quiet=True)], allow, device)


def open_runs(runs: Sequence[Member], allow: Sequence[str] = (), device: str = "cpu") -> "TrainedRun":
    """The same for runs that were found.

    Raises:
        InputError: as :func:`load`.
    """
    for other in runs[1:]:
        check_alike(runs[0], other)
    place = find_device(device)
    tasks: list[Task] = []
    readers: list[Reader] = []
    for run in runs:
        # what a network's weights are before they are loaded is drawn at random, and nobody's business
        with torch.random.fork_rng(devices=[]):
            task, reader = open_trained(run.directory, run.config, allow)
        if tasks and (task.spec.target, _step_of(task, reader)) != (
            tasks[0].spec.target,
            _step_of(tasks[0], readers[0]),
        ):
            raise InputError(f"{run.directory.path} predicts other things than {runs[0].directory.path}")
        if readers:
            check_learned(readers[0].plain(), reader.plain(), runs[0], run)
        tasks.append(task.to(place).eval().requires_grad_(False))
        readers.append(reader)
    return TrainedRun(tasks, readers, runs[0].config)


def _step_of(task: Task, reader: Reader) -> InputSpec:
    """What one step of the input is, however many the network reads at once."""
    spec = task.spec.input
    return spec if spec.features is None else replace(spec, features=spec.features // patch_of(reader))


def open_trained(directory: RunDirectory, config: Mapping[str, Any], allow: Sequence[str]) -> tuple[Task, Reader]:
    """A task with a run's best weights, and what reads new data for it; where the checkpoint tells, without the data.

    Raises:
        InputError: the checkpoint or the config is damaged.
    """
    path = directory.best_checkpoint
    checkpoint = read_checkpoint(path)
    if "data" not in checkpoint:  # of a run of before, whose data must still be there
        run = prepare(config, allow, trained=checkpoint, machine=False)
        fit_weights(run.task, checkpoint, path)
        return run.task, run.data.reader
    try:
        spec = DataSpec.from_plain(checkpoint["data"]["spec"])
        reader = reader_from_plain(checkpoint["data"]["reader"])
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise InputError(f"checkpoint {path} is damaged: what it says of the data makes no sense ({error})") from None
    for part in ("task", "model"):
        if not isinstance(config.get(part), Mapping):
            raise InputError(f"{directory.path}/config.yaml is damaged: it has no {part}")
    network = build_network(config, spec, allow)
    task: Task = build(config["task"], "task", allow, network=network, spec=spec)
    fit_weights(task, checkpoint, path)
    return task, reader


class TrainedRun:
    """Networks with their weights, and how their data is read.

    Made by :func:`load`. Several runs predict together, as their task combines
    them (probabilities and values by their mean).

    Attributes:
        task: the objective, of the first run.
        reader: what turns new data into the network's inputs.
        config: of the first run.
    """

    def __init__(self, tasks: Sequence[Task], readers: Sequence[Reader], config: Mapping[str, Any]) -> None:
        self.task, self.config = tasks[0], config
        self._patches = [patch_of(reader) for reader in readers]
        reader = readers[0]
        if len(set(self._patches)) > 1:  # steps come one by one, and each network puts its own number of them together
            reader = replace(reader, patch=1)  # type: ignore[call-arg]
        else:
            self._patches = []
        self.reader = reader
        self.networks: list[Network] = [task.network for task in tasks]
        self.device = next(self.task.network.parameters()).device
        combine = self.task.combine
        if len(tasks) > 1:
            self.task.network = Ensemble(self.networks, combine, self._patches)  # type: ignore[assignment]
        spec = self.task.spec
        if isinstance(reader, SeriesReader) and reader.direct and reader.horizon == 1 and reader.layout.feeds_back:
            # one step at once is one step: it may be fed back
            self.task.spec = replace(spec, horizon=1)
        self._stepper: Stepper | None = None

    @property
    def spec(self) -> DataSpec:
        """What the training data said of itself."""
        return self.task.spec

    @property
    def stepper(self) -> Stepper:
        """The networks, one step at a time.

        Raises:
            InputError: they read in both directions, or each another number of steps at once.
        """
        if self._patches:
            raise InputError(
                f"these runs read {', '.join(map(str, self._patches))} steps at once (data.patch), and say nothing of "
                "a step by itself: predict whole sequences, without --stream and --steps"
            )
        if self._stepper is None:
            self._stepper = Stepper(self.networks, self.task.combine)
        return self._stepper

    def describe(self) -> str:
        """What the run reads, with an example, and what it says."""
        return f"reads {self.reader.describe()}\nsays  {', '.join(self._says())}"

    def _says(self) -> list[str]:
        if isinstance(self.reader, CorpusReader):
            return ["log_probability", self._score, "prediction", "p(prediction)"]
        output = torch.zeros(1, self.networks[0].readout.out_features)
        columns = list(self.task.said(output))
        return columns if len(columns) <= 12 else [*columns[:12], f"… ({len(columns)} columns)"]

    # ---- predicting -------------------------------------------------------------------------------

    def predict(
        self, x: Any, *, horizon: int | None = None, steps: bool = False, batch_size: int = BATCH_SIZE
    ) -> pl.DataFrame:
        """What the run says of new data, as a table of polars.

        Args:
            x: in the data's own units, one of

                - features: ``(time, features)``, ``(batch, time, features)``, a list of such sequences of any length,
                  or a table (polars, pandas) with a row a step and a column ``sequence``
                - tokens: ``(time,)``, ``(batch, time)``, or a list of sequences
                - texts: one, or a list of them
                - series: a table with the columns of the training data, or ``(time,)`` numbers where there is but one
                - a ``pathlib.Path`` of a file

            horizon: steps ahead of a forecast; ``None``: as trained.
            steps: one prediction for each step, as if it were the last one.
            batch_size: sequences side by side.

        Returns:
            A row for each sequence, step, or step ahead, in the order of ``x``. Classes have ``prediction`` and a
            column ``p(CLASS)`` each; values ``NAME predicted``, with ``NAME low80`` and ``NAME high80`` where the
            network says how sure it is.

        Raises:
            InputError: ``x`` is not what the run reads, or the run cannot say that.
        """
        given = self.reader.open(x) if isinstance(x, Path) else x
        tables = list(self.tables(given, horizon, steps, batch_size))
        if not tables:
            raise InputError("there is no sequence to predict")
        return pl.concat(tables)

    def predict_file(
        self,
        place: str,
        format: Format | None = None,
        horizon: int | None = None,
        steps: bool = False,
        batch_size: int = BATCH_SIZE,
    ) -> Iterator[pl.DataFrame]:
        """The same of a file, or of the standard input for ``-``, table by table.

        Raises:
            InputError: as :meth:`predict`.
        """
        return self.tables(self.reader.open(place, format), horizon, steps, batch_size)

    def tables(self, x: Any, horizon: int | None, steps: bool, batch_size: int) -> Iterator[pl.DataFrame]:
        """The same of what :meth:`predict` takes, or of a source, some sequences at a time."""
        check_positive("horizon", horizon)
        check_positive("batch-size", batch_size)
        if horizon is not None and steps:
            raise InputError("--horizon and --steps: a forecast goes on from the end, or there is one at each step")
        if steps and self.spec.target.kind != "tokens":
            _ = self.stepper  # says what cannot be said before the end
        self._check_horizon(horizon)
        if isinstance(self.reader, SeriesReader):
            yield from self._series(self.reader, x, horizon, steps, batch_size)
            return
        sequences = self.reader.read(x) if isinstance(x, Source) else self.reader.take(x)
        while pool := list(islice(sequences, POOL * batch_size)):
            yield self._pool(pool, horizon, steps, batch_size)

    def _check_horizon(self, horizon: int | None) -> None:
        if horizon is not None and not isinstance(self.reader, SeriesReader) and self.spec.horizon is None:
            hint = ": rnnlab generate RUN --length N" if isinstance(self.reader, CorpusReader) else ""
            raise InputError(f"--horizon {horizon}: this run forecasts nothing that could be its next input{hint}")

    def _pool(self, pool: list[Given], horizon: int | None, steps: bool, batch_size: int) -> pl.DataFrame:
        """The table of some sequences, in their order, which are read sorted by length."""
        forecasts = self.spec.horizon is not None and not steps
        lengths = [len(each.inputs) for each in pool]
        order = sorted(range(len(pool)), key=lengths.__getitem__)
        rows: list[np.ndarray] = []
        parts: list[dict[str, Any]] = []
        for batch in self._batches(order, lengths, batch_size, alike=forecasts):
            given = [pool[i].inputs for i in batch]
            if isinstance(self.reader, CorpusReader):
                which, columns = self._score_texts(given, steps)
            elif forecasts:
                which, columns = self._forecasts(given, horizon)
            else:
                which, columns = self._outputs(given, steps)
            rows.append(np.asarray(batch)[which])
            parts.append(columns)
        table, which = _table(parts), np.concatenate(rows)
        back = np.argsort(which, kind="stable")
        names = pl.Series("sequence", [each.name for each in pool], strict=False)[which]
        labels = [names]
        if any(each.truth is not None for each in pool):
            labels.append(pl.Series("truth", [each.truth for each in pool])[which])
        return pl.DataFrame([*labels, *table.get_columns()])[back]

    def _batches(
        self, order: Sequence[int], lengths: Sequence[int], batch_size: int, alike: bool
    ) -> Iterator[Sequence[int]]:
        """Sequences side by side: of one length, where they must be alike."""
        start = 0
        for end in range(1, len(order) + 1):
            full = end - start == batch_size or (end < len(order) and lengths[order[end]] > CHUNK)
            if full or end == len(order) or (alike and lengths[order[end]] != lengths[order[start]]):
                yield order[start:end]
                start = end

    def choose_threads(self, batch_size: int) -> None:
        """Has torch use as many threads as pay for networks of this size, in the whole process; programs call it."""
        sizes = [parameter.numel() for network in self.networks for parameter in network.parameters()]
        torch.set_num_threads(choose_threads("auto", batch_size, sizes))

    def _padded(self, sequences: Sequence[np.ndarray]) -> tuple[Tensor, Tensor | None]:
        """``(batch, time, …)``, and the lengths where they are not alike."""
        lengths = [len(each) for each in sequences]
        if min(lengths) == max(lengths):
            whole = np.concatenate(sequences)  # np.stack would make a view of each first
            return torch.from_numpy(whole.reshape(len(sequences), lengths[0], *whole.shape[1:])).to(self.device), None
        padded = np.zeros((len(sequences), max(lengths), *sequences[0].shape[1:]), sequences[0].dtype)
        for row, each in zip(padded, sequences, strict=True):
            row[: len(each)] = each
        return torch.from_numpy(padded).to(self.device), torch.tensor(lengths, device=self.device)

    @torch.inference_mode()
    def _outputs(self, sequences: Sequence[np.ndarray], steps: bool) -> tuple[np.ndarray, dict[str, Any]]:
        """A row for each sequence, or for each of its steps; which sequence each row is of, and its columns."""
        inputs, lengths = self._padded(sequences)
        if not (steps or self.spec.target.per_step):
            return np.arange(len(sequences)), self.task.said(self.task.network(inputs, lengths=lengths)[0])
        if self.spec.target.per_step:
            output = self.task.network(inputs, lengths=lengths)[0]
        else:
            outputs = [each_step(network, inputs, lengths) for network in self.networks]
            output = outputs[0] if len(outputs) == 1 else self.task.combine(torch.stack(outputs))
        which = np.repeat(np.arange(len(sequences)), [len(each) for each in sequences])
        at = np.concatenate([np.arange(len(each)) for each in sequences])
        return which, {"step": at, **self.task.said(output[which, at])}

    @torch.inference_mode()
    def _forecasts(self, sequences: Sequence[np.ndarray], horizon: int | None) -> tuple[np.ndarray, dict[str, Any]]:
        """A row for each step after the end of each sequence."""
        trained = self.spec.horizon or 1
        steps = horizon or trained
        inputs, _ = self._padded(sequences)
        if inputs.shape[1] < trained:
            raise InputError(
                f"a sequence of {inputs.shape[1]} steps is too short: this run forecasts {trained} steps ahead, and "
                f"needs {trained} to say all that comes after"
            )
        assert isinstance(self.task, Forecasting)
        output = self.task.alone(inputs, max(0, steps - trained), None)[:, :steps]
        which = np.repeat(np.arange(len(sequences)), steps)
        ahead = np.tile(np.arange(1, steps + 1), len(sequences))
        return which, {"ahead": ahead, **self.task.said(output.flatten(0, 1))}

    # ---- running text -------------------------------------------------------------------------------

    @property
    def _score(self) -> str:
        assert isinstance(self.task, LanguageModeling)
        return self.task.score

    @torch.inference_mode()
    def _score_texts(self, sequences: Sequence[np.ndarray], steps: bool) -> tuple[np.ndarray, dict[str, Any]]:
        """How probable texts are, or each of their tokens, and what comes next."""
        inputs, lengths = self._padded(sequences)
        likelihoods, outputs = [], []
        output, state = inputs.new_zeros(0), None
        for start in range(0, inputs.shape[1], CHUNK):
            # more than one chunk only where it is one text
            some = inputs[:, start : start + CHUNK]
            output, state = self.task.network(some, state, lengths)
            following = inputs[:, start + 1 : start + CHUNK + 1]
            said = output[:, : following.shape[1]].log_softmax(-1).gather(-1, following[..., None])[..., 0]
            likelihoods.append(said)
            if steps:
                outputs.append(self.task.said(output.flatten(0, 1)))
        found = torch.cat(likelihoods, 1).cpu().double().numpy()
        sizes = np.array([len(each) for each in sequences])
        if steps:
            time = inputs.shape[1]
            each = {name: np.concatenate([part[name] for part in outputs]) for name in outputs[0]}
            first = np.full((len(sequences), 1), np.nan)
            own = np.exp(np.concatenate([first, found], 1))
            valid = (np.arange(time) < sizes[:, None]).ravel()
            which, at = (axis.ravel()[valid] for axis in np.mgrid[: len(sequences), :time])
            tokens = [self._token(int(number)) for number in inputs.cpu().numpy().ravel()[valid]]
            columns = {name: values[valid] for name, values in each.items()}
            said_before = pl.Series(own.ravel()[valid], nan_to_null=True)  # nobody foretells the first one
            return which, {"step": at, "token": tokens, "p(token)": said_before, **columns}
        sums = np.where(np.arange(found.shape[1]) < sizes[:, None] - 1, found, 0).sum(1)
        ends = -1 if lengths is None else lengths - 1
        last = output[torch.arange(len(output), device=self.device), ends]
        return np.arange(len(sequences)), self._text_columns(sizes, sums, np.maximum(sizes - 1, 0), last)

    def _text_columns(self, sizes: np.ndarray, sums: np.ndarray, predicted: np.ndarray, last: Tensor) -> dict[str, Any]:
        """The columns of texts: the sums of the logarithmic probabilities of their ``predicted`` tokens."""
        assert isinstance(self.task, LanguageModeling)
        with np.errstate(invalid="ignore", divide="ignore"):
            nats = torch.from_numpy(-sums / predicted)
        columns = {
            f"{self.spec.step_unit}s": sizes,
            "log_probability": sums,
            self._score: self.task.read_loss(nats).numpy(),
        }
        return columns | self.task.said(last)

    def _token(self, number: int) -> str:
        assert isinstance(self.reader, CorpusReader)
        return self.reader.token(number)

    # ---- time series --------------------------------------------------------------------------------

    def _series(
        self, reader: SeriesReader, x: Any, horizon: int | None, steps: bool, batch_size: int
    ) -> Iterator[pl.DataFrame]:
        histories, names = reader.histories(x)
        ahead = reader.check_horizon(horizon)
        if steps:
            for history, name in zip(histories, names, strict=True):
                yield self._each_step_of_series(reader, history, name)
            return
        if ahead > reader.horizon and not reader.layout.feeds_back:
            for history, name in zip(histories, names, strict=True):
                yield self._step_by_step(reader, history, name, ahead)
            return
        windows = [reader.window(history, ahead) for history in histories]
        lengths = [len(window.inputs) for window in windows]
        # neighbours of one length go side by side; their order is kept
        for batch in self._batches(range(len(windows)), lengths, batch_size, alike=True):
            some = [windows[i] for i in batch]
            inputs, following = (
                torch.from_numpy(np.stack(parts)).to(self.device)
                for parts in ([window.inputs for window in some], [window.ahead for window in some])
            )
            output = self._forecast(reader, inputs, following, ahead)
            moments = [
                torch.from_numpy(np.stack([_first(part[-1], ahead) for part in parts])).to(self.device).flatten(0, 1)
                for parts in ([window.shift for window in some], [window.scale for window in some])
            ]
            assert isinstance(self.task, Forecasting)
            columns = self.task.said(output.flatten(0, 1), (moments[0], moments[1]))
            yield pl.DataFrame(self._labels(reader, [(histories[i], names[i]) for i in batch], ahead) | columns)

    @torch.inference_mode()
    def _step_by_step(self, reader: SeriesReader, history: History, name: str, ahead: int) -> pl.DataFrame:
        """Forecasts further than the horizon: each is read, in units, as if it had come."""
        assert isinstance(self.task, Forecasting)
        # the whole of what is known ahead must be there before anything is said
        reader.window(history, ahead)
        outputs, shifts, scales, now = [], [], [], history
        for _ in range(ahead):
            window = reader.window(now, 1)
            output = self.task.network(torch.from_numpy(window.inputs)[None].to(self.device))[0][0, -1:]
            shift, scale = (
                torch.from_numpy(part[-1, :1].copy()).to(self.device) for part in (window.shift, window.scale)
            )
            forecast = self.task.distribution.split(output)
            units = self.task.distribution.in_units(forecast, shift, scale, self.spec.scaling.log)
            now = reader.continued(now, self.task.distribution.point(units)[0].cpu().double().numpy())
            outputs.append(output)
            shifts.append(shift)
            scales.append(scale)
        columns = self.task.said(torch.cat(outputs), (torch.cat(shifts), torch.cat(scales)))
        return pl.DataFrame(self._labels(reader, [(history, name)], ahead) | columns)

    @torch.inference_mode()
    def _forecast(self, reader: SeriesReader, inputs: Tensor, following: Tensor, ahead: int) -> Tensor:
        """``(batch, ahead, values × parameters)``."""
        assert isinstance(self.task, Forecasting)
        if self.spec.horizon is not None:
            return self.task.alone(inputs, ahead - 1, following if following.shape[-1] else None)
        forecast = self.task.distribution.split(self.task.network(inputs)[0][:, -1])
        forecast = forecast.unflatten(1, (reader.horizon, -1))[:, :ahead]
        return forecast.transpose(-1, -2).flatten(-2)

    def _labels(self, reader: SeriesReader, histories: Sequence[tuple[History, str]], ahead: int) -> dict[str, Any]:
        """Columns that say of which series and time each row is."""
        columns = reader.of
        labels: dict[str, Any] = {}
        if columns.series:
            labels[columns.series] = [name for _, name in histories for _ in range(ahead)]
        if columns.time and histories[0][0].times is not None:
            times = [reader.later(history.times, history.now, ahead) for history, _ in histories]
            labels |= shown_times(np.concatenate([each[-ahead:] for each in times if each is not None]), columns)
        labels["ahead"] = np.tile(np.arange(1, ahead + 1), len(histories))
        return labels

    @torch.inference_mode()
    def _each_step_of_series(self, reader: SeriesReader, history: History, name: str) -> pl.DataFrame:
        window = reader.window(history, 1, whole=True)
        output = self.task.network(torch.from_numpy(window.inputs)[None].to(self.device))[0][0]
        said = self._said_at(window.shift, window.scale, output)
        columns = reader.of
        labels: dict[str, Any] = {}
        if columns.series:
            labels[columns.series] = [name] * len(output)
        if columns.time and history.times is not None:
            labels |= shown_times(history.times[history.now - len(output) : history.now], columns)
        labels["step"] = np.arange(history.now - len(output), history.now)
        return pl.DataFrame(labels | said)

    def _said_at(self, shift: np.ndarray, scale: np.ndarray, output: Tensor) -> dict[str, Any]:
        """The columns of ``(n, size)`` outputs with the moments of each one's own steps ahead."""
        assert isinstance(self.task, Forecasting)
        shift, scale = (np.array(_direct(self.reader, each)) for each in (shift, scale))
        moments = [torch.from_numpy(each.reshape(len(output), -1)).to(self.device) for each in (shift, scale)]
        return self.task.said(output, (moments[0], moments[1]))

    # ---- a stream -----------------------------------------------------------------------------------

    def stream(self, lines: Iterable[str], name: str = "standard input") -> Iterator[dict[str, Any]]:
        """A prediction for each line, as it comes; the state is carried from one to the next, in constant memory.

        A line is a step: a row of a CSV (the first line is its header) or of
        JSON; of running text, a line; of texts to be classified, a whole text.
        An empty line, or another ``sequence``, starts afresh.

        Raises:
            InputError: a line cannot be read, or the run reads in both directions.
        """
        lines = iter(lines)
        if isinstance(self.reader, CorpusReader):
            yield from self._text_stream(self.reader, lines)
        elif isinstance(self.reader, TextReader):
            for text in self.reader.texts(lines, name):
                _, columns = self._outputs([text.inputs], steps=False)
                truth = {} if text.truth is None else {"truth": text.truth}
                yield {"sequence": text.name, **truth, **_row(columns)}
        else:
            yield from self._step_stream(lines, name)

    def _step_stream(self, lines: Iterator[str], name: str) -> Iterator[dict[str, Any]]:
        stepper = self.stepper
        states: dict[Any, tuple[int, StepState]] = {}
        for arrival in self.reader.stream(lines, name):
            if arrival is None:
                states = {}
                continue
            # each series has a state of its own; of sequences the last one alone goes on
            key = arrival.name if isinstance(self.reader, SeriesReader) else None
            number, state = (0, stepper.initial()) if arrival.restart else states[key]
            with torch.inference_mode():
                x = torch.from_numpy(np.asarray(arrival.inputs)[None]).to(self.device)
                output, state = stepper(x, state)
            states[key] = number + 1, state
            if arrival.silent:
                continue
            with torch.inference_mode():
                said = _row(self._said(arrival, output))
            yield {**self._stream_labels(arrival, number), **said}

    def _stream_labels(self, arrival: Arrival, number: int) -> dict[str, Any]:
        if arrival.labels or arrival.name is None or isinstance(self.reader, SeriesReader):
            return {**arrival.labels, "step": number}
        return {"sequence": arrival.name, "step": number}

    def _said(self, arrival: Arrival, output: Tensor) -> dict[str, Any]:
        if arrival.shift is None or arrival.scale is None:
            return self.task.said(output)
        return self._said_at(arrival.shift[None], arrival.scale[None], output)

    def _text_stream(self, reader: CorpusReader, lines: Iterator[str]) -> Iterator[dict[str, Any]]:
        before: Tensor | None = None
        state: Any = None
        for number, line in enumerate(lines):
            tokens = reader.encoder.numbers(line)
            if len(tokens):
                columns, before, state = self._line(tokens, before, state)
                yield {"line": number, **_row(columns)}

    @torch.inference_mode()
    def _line(self, numbers: np.ndarray, before: Tensor | None, state: Any) -> tuple[dict[str, Any], Tensor, Any]:
        """What is said of a line of running text, and what is handed on to the next one.

        Args:
            numbers: ``(tokens,)`` of the line.
            before: ``(1, size)`` what the lines before said of its first token.
            state: in which they left the network.
        """
        tokens = torch.from_numpy(numbers)[None].to(self.device)
        output, state = self.task.network(tokens, state)
        sums = output[:, :-1].log_softmax(-1).gather(-1, tokens[:, 1:, None]).double().sum()
        if before is not None:
            sums += before.log_softmax(-1)[0, tokens[0, 0]].double()
        predicted = np.array([len(numbers) - (before is None)])
        last = output[:, -1]
        return self._text_columns(np.array([len(numbers)]), np.array([float(sums)]), predicted, last), last, state

    def step(self, x: Any, state: StepState | None = None) -> tuple[dict[str, Any], StepState]:
        """One step of a sequence, in the data's units.

        Args:
            x: ``(features,)`` numbers, a token's number, or a character or word.
            state: as it was returned for the step before; ``None`` for the first.

        Returns:
            What the run says after this step, by column, and the state.

        Raises:
            InputError: it is no such step, or the run reads in both directions.
        """
        stepper = self.stepper
        inputs = torch.from_numpy(np.asarray(self.reader.step(x))[None]).to(self.device)
        output, state = stepper(inputs, stepper.initial() if state is None else state)
        return _row(self.task.said(output)), state

    # ---- generating ---------------------------------------------------------------------------------

    def generate(
        self,
        prompt: str = "",
        length: int = 500,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        samples: int = 1,
    ) -> list[str]:
        """What a language model writes after a prompt, without the prompt.

        Args:
            prompt: may be empty: then it begins as after the end of a line.
            length: characters, bytes or words.
            temperature: below 1 surer, above 1 more surprising; 0: always the most probable.
            top_k: only so many of the most probable at each step.
            top_p: only the most probable that together have this probability.
            seed: the same seed gives the same texts.
            samples: how many texts.

        Raises:
            InputError: the run is no language model, or the prompt has what it never saw.
        """
        texts = [""] * samples
        for pieces in self.writing(prompt, length, temperature, top_k, top_p, seed, samples):
            texts = [text + piece for text, piece in zip(texts, pieces, strict=True)]
        return texts

    def writing(
        self,
        prompt: str = "",
        length: int = 500,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        samples: int = 1,
    ) -> Iterator[list[str]]:
        """The same as it comes: what each step adds to each text.

        Raises:
            InputError: as :meth:`generate`.
        """
        reader = self.reader
        if not isinstance(reader, CorpusReader):
            hint = " --horizon N" if self.spec.horizon is not None or isinstance(reader, SeriesReader) else ""
            kind = "forecasts" if hint else "predicts " + {"class": "classes"}.get(self.spec.target.kind, "values")
            raise InputError(f"this run is no language model, it {kind}: rnnlab predict RUN{hint}")
        unknown = reader.unknown(prompt)
        if unknown:
            what = ", ".join(map(repr, unknown[:10])) + (", …" if len(unknown) > 10 else "")
            raise InputError(f"--prompt: this run's text had no {what}, so that it cannot go on from there")
        numbers = reader.encoder.numbers(prompt)
        if not len(numbers):
            numbers = self._beginning(reader)
        never = None if reader.unit == "byte" else 0  # <unk> stands for many, and is nothing to be said
        writers = [Writer(reader) for _ in range(samples)]
        for writer in writers:
            writer.write(numbers.tolist() if prompt else [])
        for chosen in generate(self.stepper, numbers, length, temperature, top_k, top_p, seed, samples, never):
            yield [writer.write([number]) for writer, number in zip(writers, chosen, strict=True)]
        yield [writer.end() for writer in writers]

    def _beginning(self, reader: CorpusReader) -> np.ndarray:
        """What stands for an empty prompt: the end of a line or, in a text of one line, its commonest token."""
        numbers = reader.encoder.numbers("\n")
        if numbers[0] or reader.unit == "byte":
            return numbers
        return np.array([1 + int(np.argmax(self.spec.token_frequencies[1:]))])


def _table(parts: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """One table of the columns of many batches: made once, since a table of each would cost more than its numbers."""
    whole: dict[str, Any] = {}
    for name, first in parts[0].items():
        columns = [part[name] for part in parts]
        if isinstance(first, np.ndarray):
            whole[name] = np.concatenate(columns)
        elif isinstance(first, pl.Series):
            whole[name] = pl.concat(columns)
        else:
            whole[name] = list(chain.from_iterable(columns))
    return pl.DataFrame(whole)


def shown_times(times: np.ndarray, columns: Columns) -> dict[str, pl.Series]:
    """Times as a column, or as two where they were; days as dates, where all are."""
    assert columns.time is not None
    found = pl.Series(times)
    if columns.clock is not None:
        return {columns.time: found.dt.date(), columns.clock: found.dt.time()}
    if times.dtype.kind == "M" and (times == times.astype("M8[D]")).all():
        found = found.cast(pl.Date)
    return {columns.time: found}


def _first(moments: np.ndarray, ahead: int) -> np.ndarray:
    """``(ahead, values)`` of ``(horizon, values)``; fed back, every step is scaled as the first one."""
    return moments[:ahead] if ahead <= len(moments) else np.broadcast_to(moments[:1], (ahead, moments.shape[1]))


def _direct(reader: Reader, moments: np.ndarray) -> np.ndarray:
    """``(n, horizon, values)``, or of the first step alone where the network puts out no more."""
    return moments if isinstance(reader, SeriesReader) and reader.direct else moments[:, :1]


def _row(columns: Mapping[str, Any]) -> dict[str, Any]:
    """The first row as plain values."""
    firsts = {name: each[0] for name, each in columns.items()}
    return {name: _plain(first) for name, first in firsts.items()}


def _plain(value: Any) -> Any:
    """A number of NumPy's as one of Python's, with the digits that it has."""
    if isinstance(value, np.float32):
        return float(str(value))
    return value.item() if isinstance(value, np.generic) else value
