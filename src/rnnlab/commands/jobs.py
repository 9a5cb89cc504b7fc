"""The configs of many jobs, composed as Hydra composes them, with what several share composed once."""

import json
import pickle
from collections.abc import Collection, Sequence

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from rnnlab.commands.composition import NOT_OF_A_RUN, one_line, plain
from rnnlab.errors import InputError
from rnnlab.runs.sweep import Job, check_name


class Composer:
    """Composes job after job.

    Hydra reads and merges some twenty files for each job, a tenth of a second.
    Jobs that choose the same configs share this; the keys that are set one by
    one are then set on a copy, by Hydra's own function.

    Args:
        loader: of the configs.
        master: the sweep's own config, whose Hydra overrides go for every job.
        varied: keys in which jobs differ: a job's name says these.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig, varied: Collection[str]) -> None:
        assert isinstance(loader, ConfigLoaderImpl)
        self.loader, self.master, self.varied = loader, master, varied
        self.hydra_overrides = [str(override) for override in master.hydra.overrides.hydra]
        self._parsed: dict[str, Override] = {}
        self._bases: dict[str, tuple[DictConfig, bytes]] = {}
        self._groups: dict[str, bool] = {}

    def compose(self, number: int, overrides: Sequence[str]) -> Job:
        """Composes one job.

        Args:
            number: of the job.
            overrides: each ``key=value``; Hydra's own stand in the sweep's config.

        Raises:
            HydraException: an override does not fit the config.
            InputError: an interpolation leads nowhere, or a mandatory value is missing.
        """
        parsed = [override for override in map(self.parse, overrides) if not override.is_hydra_override()]
        ConfigLoaderImpl.validate_sweep_overrides_legal(parsed, RunMode.RUN, from_shell=True)
        base, pickled = self._base([override for override in parsed if self._is_group(override)])
        config = pickle.loads(pickled)
        OmegaConf.copy_cache(from_config=self.master, to_config=config)
        ConfigLoaderImpl._apply_overrides_to_config([each for each in parsed if not self._is_group(each)], config)
        name = self._name(base, number, parsed)
        choices = {
            str(group): choice for group, choice in base.hydra.runtime.choices.items() if not group.startswith("hydra/")
        }
        own = tuple(str(each.input_line) for each in parsed)
        return Job(number, name, own, plain(config), choices)

    def parse(self, override: str) -> Override:
        """Parses an override, once."""
        if override not in self._parsed:
            self._parsed[override] = OverridesParser.create(self.loader).parse_override(override)
        return self._parsed[override]

    def _is_group(self, override: Override) -> bool:
        """Whether Hydra's defaults list takes it, as the choice of a config, rather than the composed config."""
        if override.key_or_group not in self._groups:
            self._groups[override.key_or_group] = self.loader.repository.group_exists(override.key_or_group)
        return self._groups[override.key_or_group] and not isinstance(override.value(), dict)

    def _base(self, groups: Sequence[Override]) -> tuple[DictConfig, bytes]:
        """What jobs of the same choices share: the config with Hydra's node, and a run's part of it to be copied."""
        overrides = [*self.hydra_overrides, *(str(override.input_line) for override in groups)]
        key = json.dumps(overrides)
        if key not in self._bases:
            base = self.loader.load_configuration(str(self.master.hydra.job.config_name), overrides, RunMode.RUN)
            config = OmegaConf.masked_copy(base, [str(name) for name in base if name not in NOT_OF_A_RUN])
            OmegaConf.set_struct(config, True)
            self._bases[key] = (base, pickle.dumps(config))  # six times as fast as OmegaConf's own copy
        return self._bases[key]

    def _name(self, base: DictConfig, number: int, parsed: Sequence[Override]) -> str:
        """The directory's name, as Hydra would resolve it for this job; ``${hydra:…}`` then means this job."""
        separators = base.hydra.job.config.override_dirname
        HydraConfig.instance().cfg = base  # type: ignore[assignment]  # set_config would copy it each time
        OmegaConf.copy_cache(from_config=self.master, to_config=base)
        with read_write(base), open_dict(base):
            base.hydra.job.num = number
            base.hydra.job.id = str(number)
            base.hydra.overrides.task = [str(override.input_line) for override in parsed]
            base.hydra.job.override_dirname = get_overrides_dirname(
                overrides=[override for override in parsed if override.get_key_element() in self.varied],
                kv_sep=separators.kv_sep,
                item_sep=separators.item_sep,
                exclude_keys=separators.exclude_keys,
            )
        try:
            name = str(OmegaConf.select(base, "hydra.sweep.subdir", throw_on_missing=True))
        except OmegaConfBaseException as error:
            raise InputError(f"hydra.sweep.subdir: {one_line(error)}") from None
        check_name(name, "hydra.sweep.subdir")
        return name
