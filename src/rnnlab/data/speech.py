"""Speech of one's own, to be written down."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt, Le

from rnnlab.data.audio_reader import AudioReader
from rnnlab.data.dial_tones import KEYS, RATE, DialTones
from rnnlab.data.feature_reader import moments_of
from rnnlab.data.log_mel import LogMel
from rnnlab.data.sounds import Heard, Sounds
from rnnlab.data.split import SPLITS, Sample, Split, SplitName
from rnnlab.data.text_encoder import Normalization, TextEncoder, build_vocabulary, normalize
from rnnlab.data.transcribed import TranscribedFeatures
from rnnlab.errors import InputError
from rnnlab.files.sound import measure
from rnnlab.files.transcripts import Utterance, read_utterances
from rnnlab.shapes import FilePath, NonNegativeFloat, PositiveFloat, PositiveInt

BUILT_IN = 1000
"""Sounds without a path, where nobody says how many."""


@dataclass(kw_only=True, eq=False)
class Speech(TranscribedFeatures):
    """Files of sound and their transcripts: LJSpeech's ``metadata.csv``, LibriSpeech's ``*.trans.txt``, or a table.

    ::

        clip7.wav | seven three    inputs (182, 40)  the energy in 40 bands     target (12,)  s e v e n … <end>

    A table has the columns ``path`` and ``text``, and may have ``speaker`` and ``split`` (``train``, ``val``,
    ``test``). Without a path the sounds are those of ``data=dial_tones``. Every file is read once before training, and
    named where it cannot be. Characters or words that the training split has not are ``<unk>``, which is never right.

    Attributes:
        path: a folder or a table; ``None`` for dial tones.
        unit: of a token of the text: ``character`` or ``word``.
        normalization: of Unicode, see :data:`rnnlab.data.text_encoder.Normalization`.
        lower: whether capitals count as small letters.
        split_by: where no table tells the splits: ``utterance``, or ``speaker``, of whom each is in one split alone.
        max_seconds: longer sounds are left out; ``None`` for none.
        rate: samples a second; ``None`` for that of the first file. A file of another rate is refused.
        bands: features of a frame (:class:`rnnlab.data.log_mel.LogMel`).
        window: seconds that a frame looks at.
        hop: seconds from one frame to the next.
        scaling: ``standard``, each band by its mean and standard deviation in the training part; ``per_speaker`` or
            ``per_sequence``, by those of all that the speaker says in its split, or of the sound itself; or ``none``.
        cache: gigabytes of features that are kept in memory (10 hours: 0.6); others are computed for each batch anew.
        num_samples: sounds in the three splits together, at most; ``None`` for all.
        vocabulary: what each token number stands for; ``None`` for what the training split has. A trained run hands in
            its own.
        moments: see :class:`rnnlab.data.labelled.LabelledFeatures`.

    Raises:
        InputError: the files or transcripts cannot be read, or a split has none.
    """

    step_unit = "frame"
    path: FilePath | None = None
    unit: Literal["character", "word"] = "character"
    normalization: Normalization = "NFC"
    lower: bool = True
    split_by: Literal["utterance", "speaker"] = "utterance"
    max_seconds: PositiveFloat | None = 20.0
    rate: PositiveInt | None = None
    bands: Annotated[int, Ge(2), Le(512)] = 40
    window: Annotated[float, Gt(0), Le(1)] = 0.032
    hop: Annotated[float, Gt(0), Le(1)] = 0.01
    scaling: Literal["standard", "per_speaker", "per_sequence", "none"] = "standard"  # type: ignore[assignment]
    cache: NonNegativeFloat = 2.0
    num_samples: PositiveInt | None = None  # all that the folder has
    vocabulary: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.path is None and self.unit == "word":
            raise InputError("data.unit=word: without data.path=PATH the texts are telephone numbers, key by key")
        super().__post_init__()
        _ = self.ear

    # ---- which sound is where -------------------------------------------------------------------------

    @cached_property
    def _tones(self) -> DialTones:
        return DialTones(
            num_samples=self.num_samples or BUILT_IN, seed=self.seed, val_fraction=self.val_fraction,
            test_fraction=self.test_fraction,
        )  # fmt: skip

    @cached_property
    def _parts(self) -> dict[SplitName, list[Utterance]]:
        assert self.path is not None
        found = read_utterances(Path(self.path), f"data.path={self.path}")
        rng = np.random.default_rng((self.seed, len(SPLITS)))
        parts: dict[SplitName, list[Utterance]] = {name: [] for name in SPLITS}
        if any(utterance.split for utterance in found):
            missing = next((utterance for utterance in found if not utterance.split), None)
            if missing is not None:
                raise InputError(f"{missing.place}: no split, and other rows have one: give all of them one, or none")
            parts = {name: [utterance for utterance in found if utterance.split == name] for name in SPLITS}
        else:
            groups: dict[Any, list[Utterance]] = defaultdict(list)
            for number, utterance in enumerate(found):
                groups[utterance.speaker if self.split_by == "speaker" else number].append(utterance)
            names = [list(groups)[k] for k in rng.permutation(len(groups))]
            wanted = {"val": self.val_fraction * len(found), "test": self.test_fraction * len(found)}
            for name in names:
                held_out: tuple[SplitName, ...] = ("test", "val")
                short = [split for split in held_out if len(parts[split]) < wanted[split]]
                parts[short[0] if short else "train"] += groups[name]
        for split in SPLITS:
            if not parts[split]:
                many = f", of {len(found)} sounds" + (" of too few speakers" if self.split_by == "speaker" else "")
                raise InputError(f"data.path={self.path}: no sound is left for {split}{many}")
            parts[split] = [parts[split][k] for k in rng.permutation(len(parts[split]))]
        if self.max_seconds is not None:
            self._check_length(parts)
        return parts

    def _check_length(self, parts: dict[SplitName, list[Utterance]]) -> None:
        assert self.max_seconds is not None
        most = self.max_seconds / self.hop
        for split in SPLITS:
            kept = [each for each in parts[split] if self.features.frames(each.path) <= most]
            if not kept:
                raise InputError(f"data.max_seconds={self.max_seconds}: every sound of {split} is longer: give more")
            parts[split] = kept

    def size(self, split: SplitName) -> int:
        if self.path is None:
            return self._tones.size(split)
        there = len(self._parts[split])
        return there if self.num_samples is None else min(there, super().size(split))

    # ---- what is heard --------------------------------------------------------------------------------

    @cached_property
    def ear(self) -> LogMel:
        """What makes features of a sound."""
        rate = self.rate
        if rate is None:
            rate = RATE
            if self.path is not None:
                first = read_utterances(Path(self.path), f"data.path={self.path}")[0]
                rate = measure(first.path, str(first.path))[1]
        return LogMel(rate, self.bands, self.window, self.hop)

    @cached_property
    def features(self) -> Heard:
        """Of each file."""
        return Heard(self.ear, self.cache * 1e9)

    @cached_property
    def encoder(self) -> TextEncoder:
        """What numbers the texts."""
        if self.path is None:
            return TextEncoder(tuple(KEYS), "character", "none")
        vocabulary = self.vocabulary
        if vocabulary is None:
            vocabulary = build_vocabulary([self._text(each) for each in self._parts["train"]], self.unit)
        return TextEncoder(tuple(vocabulary), self.unit, self.normalization, self.lower)

    def _text(self, utterance: Utterance) -> str:
        text = normalize(utterance.text, self.normalization, self.lower)
        if not text:
            raise InputError(f"{utterance.place}: nothing is left of the transcript '{utterance.text}'")
        return text

    def heard(self, rng: np.random.Generator, split: SplitName, index: int) -> tuple[np.ndarray, Sequence[int]]:
        if self.path is None:
            wave, keys = self._tones.sound(rng)
            return self.ear(wave), keys
        utterance = self._parts[split][index]
        return self.features(utterance.path).astype(np.float64), self.encoder.numbers(self._text(utterance)).tolist()

    def load(self, split: SplitName) -> Split:
        if self.path is None:
            return super().load(split)
        utterances = self._parts[split][: self.size(split)]
        paths = [utterance.path for utterance in utterances]
        self.features.moments(paths)  # whatever cannot be read is named now
        texts = [np.array([*self.encoder.numbers(self._text(each)), len(self.tokens)]) for each in utterances]
        return Sounds(self.features, paths, texts, [self._scale_of(split, each) for each in utterances])

    @cached_property
    def scale(self) -> tuple[np.ndarray, np.ndarray]:
        if self.moments is not None or self.path is None:
            return super().scale
        return self.features.moments([each.path for each in self._parts["train"][: self.measured]]).scale

    def _scale_of(self, split: SplitName, utterance: Utterance) -> tuple[np.ndarray, np.ndarray] | None:
        """Mean and deviation of each band by which a file is scaled; ``None`` for as it is."""
        match self.scaling:
            case "standard":
                return self.scale
            case "per_speaker":
                return self._speakers[split, utterance.speaker]
            case "per_sequence":
                return self.features.moments([utterance.path]).scale
        return None

    def sample(self, rng: np.random.Generator, split: SplitName, index: int) -> Sample:
        if self.path is None:
            return super().sample(rng, split, index)
        found, scale = self.unscaled(rng, split, index), self._scale_of(split, self._parts[split][index])
        return found if scale is None else found._replace(inputs=(found.inputs - scale[0]) / scale[1])

    def as_read(self, values: np.ndarray) -> np.ndarray:
        if self.scaling == "per_speaker":  # who is alone with one sound
            mean, deviation = moments_of(values)
            return (values - mean) / deviation
        return super().as_read(values)

    @cached_property
    def _speakers(self) -> dict[tuple[SplitName, str], tuple[np.ndarray, np.ndarray]]:
        """Mean and deviation of each band over all that each speaker says in a split."""
        said: dict[tuple[SplitName, str], list[Path]] = defaultdict(list)
        for split in SPLITS:
            for utterance in self._parts[split]:
                said[split, utterance.speaker].append(utterance.path)
        return {name: self.features.moments(paths).scale for name, paths in said.items()}

    # ---- what it says of itself -----------------------------------------------------------------------

    @property
    def tokens(self) -> tuple[str, ...]:
        return self.encoder.vocabulary

    @property
    def target_unit(self) -> str:
        return self.unit

    @property
    def unknown(self) -> int | None:
        return None if self.path is None else 0

    @property
    def note(self) -> str:
        return "" if self.path is None else f"the sounds of {Path(self.path).name}"

    def state_dict(self) -> dict[str, Any]:
        """Arguments of the constructor: rate, scaling, and what each token number stands for."""
        state = {**super().state_dict(), "rate": self.ear.rate}
        return state if self.path is None else {**state, "vocabulary": list(self.encoder.vocabulary)}

    @property
    def reader(self) -> AudioReader:
        # nobody tells who speaks in a new sound
        own = self.scaling in ("per_sequence", "per_speaker")
        return AudioReader.of(self.ear, self.plain_scale, own)
