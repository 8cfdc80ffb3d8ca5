"""Train a model on this machine: ``python train_model.py --epochs 50 --lr 0.001``; ``--help`` tells more."""

import sys

try:
    from mlinfra.cli.train import main
except ModuleNotFoundError as error:
    sys.exit(
        f"{error.name} is not installed for {sys.executable}.\n"
        "Run `make install`, then `.venv/bin/python train_model.py`."
    )

if __name__ == "__main__":
    main()
