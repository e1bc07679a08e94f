"""The commands of the pipeline. Each runs the code of its own checkout, which is what dvc.yaml watches."""

import sys
from pathlib import Path

_SOURCE = str(Path(__file__).parents[1] / "src")
if sys.path[:1] != [_SOURCE]:
    sys.path.insert(0, _SOURCE)  # before a copy of the package that `pip install .` has left in the environment
