"""How measures are written for people: shares as percent, all else with four digits."""

SHARES = frozenset({"accuracy", "balanced_accuracy", "mape"})


def measure_text(name: str, value: float) -> str:
    """A measure's value as text.

    Args:
        name: without prefix, such as ``accuracy``.
        value: its value.
    """
    return f"{value:.1%}" if name in SHARES else f"{value:.4g}"


def measure_title(name: str) -> str:
    """A measure's name as people write it."""
    titles = {
        "balanced_accuracy": "balanced accuracy",
        "f1": "F1",
        "roc_auc": "ROC AUC",
        "log_loss": "log loss",
        "brier": "Brier score",
        "ece": "calibration error (ECE)",
        "mae": "mean absolute error",
        "rmse": "root mean squared error",
        "r2": "R²",
        "mape": "mean relative error (MAPE)",
    }
    return titles.get(name, name)
