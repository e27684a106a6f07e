"""Functions on AnnData in scanpy's style: results go into obs, obsm and uns."""

from bgformer.store.reading import results
from bgformer.tl.cluster_tree import tree
from bgformer.tl.clustering import cluster, recluster
from bgformer.tl.latent_umap import umap
from bgformer.tl.marker_genes import markers
from bgformer.tl.prediction import model, predict
from bgformer.tl.profiling import profiles
from bgformer.tl.stability import resolutions
from bgformer.tl.subclustering import subcluster

__all__ = [
    "cluster",
    "markers",
    "model",
    "predict",
    "profiles",
    "recluster",
    "resolutions",
    "results",
    "subcluster",
    "tree",
    "umap",
]


def __dir__() -> list[str]:
    """Name the functions alone, and not the modules that they are in."""
    return __all__
