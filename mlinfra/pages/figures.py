"""Figures of reports, and the colours that all of them have."""

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#1f5fa8", "#d9730d", "#8a8f98"


def figure_of(width: float, height: float) -> "tuple[Figure, Axes]":
    """A figure of one plot, in inches."""
    figure, (axes,) = figures(width, height, columns=1)
    return figure, axes


def figures(width: float, height: float, *, columns: int) -> "tuple[Figure, NDArray[Any]]":
    """A figure of plots side by side, in inches; it touches no state of matplotlib's."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, columns, squeeze=False)[0]


def time_axis(figure: "Figure", axes: "Axes") -> None:
    """Make the lower axis one of dates, with a legend above it."""
    axes.legend(loc="upper right", fontsize=8)
    axes.margins(x=0.01)
    figure.autofmt_xdate()


def plain(name: object) -> str:
    """A name as it is: a ``$`` in it would begin a formula."""
    return str(name).replace("$", r"\$")
