"""Cluster single-cell RNA-seq data with attention between cells and anchors."""

from importlib import import_module

from bgformer._version import __version__

TYPE_CHECKING = False  # typing takes longer to import than all else that `bgformer --help` needs
if TYPE_CHECKING:
    from bgformer import pl, tl
    from bgformer.data.matrices import CountsError
    from bgformer.model import BGFormer

__all__ = ["BGFormer", "CountsError", "__version__", "pl", "tl"]


def __getattr__(name: str) -> object:
    """Import a public name on first use, so that `bgformer --help` does not wait for torch."""
    if name in ("pl", "tl"):
        return import_module(f"bgformer.{name}")
    if name in ("BGFormer", "CountsError"):
        module = import_module("bgformer.model" if name == "BGFormer" else "bgformer.data.checks")
        return getattr(module, name)
    raise AttributeError(f"module 'bgformer' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
