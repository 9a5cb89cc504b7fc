"""What Optuna draws of a study, as pictures that a page can hold."""

import base64
import io
from collections import Counter
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from rnnlab.errors import InputError

DPI = 110
MOST_IN_A_LEGEND = 8
FIGURES = {
    "plot_optimization_history": ("History", "each trial's score, and the best until then"),
    "plot_param_importances": ("Importance", "the share of the differences between scores that each key explains"),
    "plot_slice": ("Slices", "score against each key, later trials darker"),
    "plot_parallel_coordinate": ("Parallel coordinates", "a line a trial"),
    "plot_intermediate_values": ("Epochs", "what the runs told while they ran; short lines were pruned"),
}


def draw(place: str, study_name: str, monitor: str) -> dict[str, Any]:
    """A study's figures.

    Args:
        place: path or URL of its storage.
        study_name: of the study.
        monitor: the score's name.

    Returns:
        ``trials`` (how many in each state) and ``figures``: title, what it shows, and the PNG as a ``data:`` URL.

    Raises:
        InputError: Optuna is not installed, or there is no such study.
    """
    from rnnlab.search.study import need_optuna, quiet, storage_at

    need_optuna()
    import optuna

    if "://" not in place and not Path(place).exists():
        raise InputError(f"{place}: the study's file is not there")
    with quiet():
        try:
            study = optuna.load_study(study_name=study_name, storage=storage_at(place))
        except KeyError:
            raise InputError(f"{place} holds no study '{study_name}'") from None
        trials = study.get_trials(deepcopy=False)
        counts = Counter(trial.state.name.lower() for trial in trials)
        figures = []
        for name, (title, said) in FIGURES.items():
            if name == "plot_intermediate_values" and not any(trial.intermediate_values for trial in trials):
                continue
            picture = _picture(study, name, monitor)
            if picture is not None:
                figures.append({"title": title, "said": said, "src": picture})
    return {"trials": dict(counts), "figures": figures}


def _picture(study: Any, name: str, monitor: str) -> str | None:
    """A figure as a ``data:`` URL; None where there are too few trials for it."""
    import matplotlib.pyplot as plt
    from optuna.importance import PedAnovaImportanceEvaluator
    from optuna.visualization import matplotlib as drawn

    options: dict[str, Any] = {} if name == "plot_intermediate_values" else {"target_name": monitor}
    if name == "plot_param_importances":
        # the default one needs scikit-learn
        options["evaluator"] = PedAnovaImportanceEvaluator()
    plt.switch_backend("agg")
    with mpl.rc_context():  # Optuna sets a style of its own
        try:
            axes = getattr(drawn, name)(study, **options)
        except (ValueError, RuntimeError):
            plt.close("all")
            return None
        figure = axes.flat[0].figure if hasattr(axes, "flat") else axes.figure
        _widen(figure, len({key for trial in study.get_trials(deepcopy=False) for key in trial.params}), name)
        out = io.BytesIO()
        figure.savefig(out, dpi=DPI, format="png", bbox_inches="tight")
        plt.close("all")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def _widen(figure: Figure, parameters: int, name: str) -> None:
    """Room for each parameter's axis, and no more labels than can be read."""
    if name in ("plot_slice", "plot_parallel_coordinate"):
        figure.set_size_inches(max(7.0, 2.6 * parameters + 1.5), 4.6)
    else:
        figure.set_size_inches(8.0, 4.2)
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(map(abs, axis.get_view_interval()))
            if axis.get_scale() == "log" and high > 10 * low:
                axis.set_minor_formatter(NullFormatter())
        legend = axes.get_legend()
        if legend is not None and len(legend.get_texts()) > MOST_IN_A_LEGEND:
            legend.remove()
