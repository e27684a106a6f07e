"""Values of arguments: valid ones for each call, and odd ones that replace any of them."""

import datetime
import decimal
import fractions
from typing import Any

import numpy as np
import pandas as pd

ODD: tuple[Any, ...] = (None, True, -1, 0, 1, 1.5, -0.0, np.nan, np.inf, 2**63, 10**400, "x", "")
ODD += (b"x", "5", "é", "a/b", "/", ".", "_index", "\0", "{x}", [], ["a"], [1, 2], {}, {"a": 1})
ODD += ((), {1}, np.int8(3), np.float32(2), np.bool_(True), np.array(3), np.array([1, 2]), 1 + 0j)
ODD += (pd.NA, pd.NaT, decimal.Decimal(2), fractions.Fraction(3, 2), datetime.date(2020, 1, 1))
ODD += (
    len,
    ...,
    range(3),
    object,
    "X_bgformer",
    "bgformer",
    "type",
    "bgformer_confidence",
    1e-300,
)
ODD += (1e300, 100_000)
"""Put in the place of any argument."""

_SETTINGS: dict[str, tuple] = {
    "n_clusters": ("auto", 1, 2, 3, np.int64(4), 5.0),
    "resolution": (None, 0.5, 2, 1e-3, 50.0, np.float32(1)),
    "n_top_genes": (2000, 10, 1, 10**9),
    "n_anchors": ("auto", 2, 16, 64, 1000),
    "n_latent": (32, 4, 8, 5),
    "min_cells": (10, 1, 30, 1000),
    "device": ("auto", "cpu", "cpu:0"),
    "seed": (0, 1, 2**32 - 1),
}
_KEY = {"key_added": ("bgformer", "other", "my key", "é")}
_FROM = {"layer": (None, "counts"), "batch_key": (None, "batch")}
_DRAWN = {"show": (None, False), "save": (None, "figure.png", "figure.pdf", "no/such/f.png")}
CALLS: dict[str, dict[str, tuple]] = {
    "tl.cluster": {"adata": (), **_SETTINGS, **_KEY, **_FROM, "copy": (False, True)},
    "tl.recluster": {
        "adata": (),
        "resolution": _SETTINGS["resolution"],
        "n_clusters": _SETTINGS["n_clusters"],
        "cluster_name": (None, "fine", "bgformer"),
        "key_added": ("bgformer",),
        "copy": (False, True),
    },
    "tl.resolutions": {
        "adata": (),
        "resolutions": ([0.5, 1], (2,), np.array([0.3, 3])),
        "n_fits": (0, 1),
        "key_added": ("bgformer",),
    },
    "tl.tree": {
        "adata": (),
        "resolutions": ([0.5, 1], (2,), np.array([0.3, 3])),
        "key_added": ("bgformer",),
    },
    "tl.markers": {
        "adata": (),
        "cluster_name": ("bgformer", "type", "batch"),
        "profiles": (None,),
        "layer": (None, "counts"),
        "key_added": ("rank_genes_groups", "other", "é"),
        "copy": (False, True),
    },
    "tl.profiles": {
        "adata": (),
        "cluster_name": ("bgformer", "type", "batch"),
        "layer": (None, "counts"),
    },
    "fit": {"adata": (), **_SETTINGS, **_FROM, "objective": (None,)},
    "predict": {"adata": (), "layer": (None, "counts")},
    "embed": {"adata": (), "layer": (None, "counts")},
    "confidence": {"adata": (), "layer": (None, "counts")},
    "recluster": {
        "resolution": _SETTINGS["resolution"],
        "n_clusters": (None, 1, 2, 3, np.int64(4)),
    },
    "save": {
        "directory": ("new", "a/b/new", "model", "file", "folder"),
        "overwrite": (False, True),
    },
    "load": {"directory": ("model", "file", "folder", "absent"), "device": ("auto", "cpu")},
    "pl.embedding": {
        "adata": (),
        "color": (None, "type", ["type", "g3"], "bgformer"),
        "key_added": ("bgformer",),
        **_DRAWN,
    },
    "pl.markers": {
        "adata": (),
        "markers": ("g3", ["g3", "g4"], {"a": ["g5"], "b": "g6"}, ["g3", "absent"]),
        "key_added": ("bgformer",),
        "layer": (None, "counts"),
        **_DRAWN,
    },
    "pl.evidence": {"adata": (), "key_added": ("bgformer",), **_DRAWN},
    "pl.resolution": {
        "adata": (),
        "resolutions": ([0.5, 1],),
        "key_added": ("bgformer",),
        **_DRAWN,
    },
    "pl.tree": {
        "adata": (),
        "resolutions": ([0.5, 1], [3, 0.2, 3]),
        "key_added": ("bgformer",),
        **_DRAWN,
    },
    "pl.training": {"source": (), "key_added": ("bgformer",), **_DRAWN},
    "shell cluster": {**_SETTINGS, **_KEY, **_FROM, "max_steps": (1, 2)},
    "shell predict": {**_KEY, "layer": (None, "counts"), "device": ("auto", "cpu")},
}
"""Calls, and valid values of each of their arguments."""
WITHOUT_END = {"n_fits": 10, "max_steps": 100}
"""Arguments of which a large value means hours of work, rightly, and the largest that is tried."""
PLACES = ("model", "file", "folder", "absent", "new", "a/b/new", "no/such/f.png")
PLACES += ("figure.png", "figure.pdf")
"""Texts that stand for paths in the folder of the case."""
