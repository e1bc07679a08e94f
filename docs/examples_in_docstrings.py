"""Examples in docstrings (``>>>``) become blocks of code on the site, wherever they stand."""

import re
from typing import Any

from griffe import Extension, Object

_EXAMPLE = re.compile(r"^( *)>>> .*(?:\n.*\S.*)*", re.MULTILINE)


class ExamplesAsBlocks(Extension):
    def on_instance(self, *, obj: Object, **kwargs: Any) -> None:
        if obj.docstring:
            obj.docstring.value = _EXAMPLE.sub(_fenced, obj.docstring.value)


def _fenced(found: re.Match) -> str:
    indent = found[1]
    return f"{indent}```pycon\n{found[0]}\n{indent}```"
