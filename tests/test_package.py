"""What ``import autocontrastive_gen`` offers."""

import ast
import subprocess
import sys
from importlib.metadata import version

import pytest

import autocontrastive_gen


def test_importing_the_package_imports_neither_torch_nor_transformers():
    code = "import sys, autocontrastive_gen; dir(autocontrastive_gen); autocontrastive_gen.__version__; "
    code += "print(sorted({'torch', 'transformers', 'numpy'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_public_name_is_there_and_is_that_of_its_module():
    assert len(autocontrastive_gen.__all__) > 10
    for name in autocontrastive_gen.__all__:
        value = getattr(autocontrastive_gen, name)
        assert name in dir(autocontrastive_gen)
        assert name == "__version__" or value.__name__ == name
    from autocontrastive_gen.contrast_calculation import calculate_contrasted_logits
    from autocontrastive_gen.training.fit import fit_exits

    assert autocontrastive_gen.fit_exits is fit_exits
    assert autocontrastive_gen.calculate_contrasted_logits is calculate_contrasted_logits
    assert autocontrastive_gen.__version__ == version("autocontrastive-suite")


def test_type_checkers_see_the_same_names(root):
    """The imports under TYPE_CHECKING, which a checker reads, and the table, which Python reads, say the same."""
    tree = ast.parse((root / "src/autocontrastive_gen/__init__.py").read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        (statement.module, alias.name)
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    table = autocontrastive_gen._MODULE_OF
    assert seen == {(f"autocontrastive_gen.{module}", name) for name, module in table.items()}
    assert {name for _, name in seen} | {"__version__"} == set(autocontrastive_gen.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'autocontrastive_gen' has no attribute 'fit_exit'"):
        autocontrastive_gen.fit_exit  # noqa: B018
