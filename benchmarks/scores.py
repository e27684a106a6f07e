"""What clusters are scored by, once the known labels are on the table."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

RARE = (0.01, 0.03)
"""Shares of the cells between which a type counts as rare."""
OWN_CLUSTER_F1 = 0.7
"""F1 against a type from which a cluster counts as the type's own."""


def against_labels(
    truth: np.ndarray, labels: np.ndarray, confidence: np.ndarray | None
) -> dict[str, float]:
    """Return all scores of a clustering, by the names of their columns."""
    rare = rare_types(truth)
    return {
        "ARI": adjusted_rand_score(truth, labels),
        "NMI": normalized_mutual_info_score(truth, labels),
        "clusters": len(set(labels)),
        "ECE": np.nan if confidence is None else calibration_error(truth, labels, confidence),
        "rare types": len(rare),
        "rare found": int((best_f1(truth, labels)[rare] >= OWN_CLUSTER_F1).sum()),
    }


def calibration_error(truth: np.ndarray, labels: np.ndarray, confidence: np.ndarray) -> float:
    """Return the expected calibration error: how far confidence is from being a probability.

    A cell is correct if its type is the most frequent one of its cluster. The cells are parted by
    confidence into ten bins of equal width; the error is the mean over bins, weighted by their
    cells, of the distance between mean confidence and share of correct cells.
    """
    together = pd.crosstab(truth, labels)
    correct = truth == together.idxmax()[labels].to_numpy()
    bins = np.minimum((confidence * 10).astype(int), 9)
    cells = pd.DataFrame({"bin": bins, "gap": confidence - correct})
    return float(cells.groupby("bin")["gap"].sum().abs().sum() / len(cells))


def rare_types(truth: np.ndarray) -> list[str]:
    """Return the types with 1 to 3 % of the cells."""
    share = pd.Series(truth).value_counts(normalize=True)
    return list(share.index[share.between(*RARE)])


def best_f1(truth: np.ndarray, labels: np.ndarray) -> pd.Series:
    """Return for each type the highest F1 that a cluster has against it."""
    together = pd.crosstab(truth, labels)
    sizes = np.add.outer(together.sum(axis=1).to_numpy(), together.sum(axis=0).to_numpy())
    return (2 * together / sizes).max(axis=1)
