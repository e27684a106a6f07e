"""bgformer: cluster single-cell RNA-seq data with attention between cells and anchors."""

from bgformer import pl, tl
from bgformer._version import __version__
from bgformer.counts import CountsError
from bgformer.model import BGFormer

__all__ = ["BGFormer", "CountsError", "__version__", "pl", "tl"]
