"""Cluster single-cell RNA-seq data with attention between cells and anchors."""

from importlib import import_module

from bgformer._version import __version__

TYPE_CHECKING = False  # typing takes longer to import than all else that `bgformer --help` needs
if TYPE_CHECKING:
    from bgformer import pl, tl
    from bgformer.data.matrices import CountsError
    from bgformer.model import BGFormer
    from bgformer.page.report import report

__all__ = ["BGFormer", "CountsError", "__version__", "pl", "report", "tl"]

_HOMES = {
    "BGFormer": "bgformer.model",
    "CountsError": "bgformer.data.checks",
    "report": "bgformer.page.report",
}


def __getattr__(name: str) -> object:
    """Import a public name on first use, so that `bgformer --help` does not wait for torch."""
    if name in ("pl", "tl"):
        return import_module(f"bgformer.{name}")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'bgformer' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
