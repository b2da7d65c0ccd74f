"""Print pip constraints that hold every dependency at the lower bound pyproject.toml gives it."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
wanted = list(project["dependencies"]) + project["optional-dependencies"]["web"]
for requirement in wanted:
    match = re.fullmatch(r"([A-Za-z0-9._-]+)>=([0-9.]+)", requirement)
    assert match, f"{requirement} has no plain lower bound"
    print(f"{match[1]}=={match[2]}")
