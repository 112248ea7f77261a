"""Token-budget-aware reasoning (TALE) for DSPy.

Ask for a token budget, reason within it, see what it saved.

Every public name stands once, in `__init__.pyi`, and loads at first use, so that `import tale_dspy` costs nothing.
"""

import lazy_loader

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("tale-dspy")
    return _load(name)
