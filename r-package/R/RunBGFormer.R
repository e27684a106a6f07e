#' Cluster cells with bgformer
#'
#' Learns a set of anchors from the raw counts, places every cell among them, and clusters the
#' anchors; each cell takes the cluster that most of its weight goes to. The number of clusters is
#' found unless it is given. The same seed gives the same labels as `bgformer.tl.cluster` in Python.
#'
#' The counts alone are handed to Python: those in memory through anndata2ri, in this process; those
#' that are not a matrix in R's memory, such as a DelayedMatrix, an HDF5Matrix or a BPCells matrix,
#' a block of cells at a time through a temporary folder, which takes 8 bytes of disk for each count
#' that is not 0 (`TMPDIR` says where). They are never in memory as a whole, more than 2^31 of them
#' are no obstacle, and results are the same. If the run fails or is interrupted, nothing is
#' changed: not the object, not the global environment, not the state of R's random numbers, and the
#' temporary folder is removed. Only where no random number was drawn before does starting Python,
#' through reticulate, create a state (`.Random.seed`); one that is there already is not changed.
#'
#' @param object A Seurat object, a SingleCellExperiment, or a matrix of raw counts, genes x cells
#'   (dense, or sparse such as a dgCMatrix, or on disk such as an HDF5Matrix). Of a matrix on disk,
#'   columns `x[, from:to]` must be such that `as(, "dgCMatrix")` takes them.
#' @param assay Seurat: the assay that holds the counts; `NULL` takes the default assay, or, where
#'   that one holds no raw counts (as after SCTransform or integration), the assay that it was made
#'   from, and says so. SingleCellExperiment: another word for `layer`.
#' @param layer Seurat: the layer (before Seurat 5: the slot) with raw counts; layers that are
#'   split by sample are joined on a copy. SingleCellExperiment: the name of the assay.
#' @param features Genes to use, such as `VariableFeatures(object)`; `NULL` lets the model choose
#'   `n_top_genes` (2000) highly variable ones. Genes left out do not count towards the size of a
#'   cell either.
#' @param n.clusters Number of clusters; `NULL` finds it.
#' @param resolution Resolution at which the anchors are clustered: more gives more clusters.
#'   `NULL` takes 0.8, or puts all cells into a single cluster where no group of them is parted from
#'   the rest by a valley (`valley.p` in the results, 0.001 or more, is the evidence). A few hundred
#'   cells show only what is far apart.
#' @param batch.var Batch of each cell, whose effect is to be left out of the clusters: the name of
#'   a column of the cells' metadata; for a matrix, a vector with one value per cell.
#' @param reduction.name Name of the reduction that the latent space is stored as. Results of
#'   earlier runs are written over; a reduction or column of another name
#'   that is not bgformer's is refused. Seurat wants another `reduction.key` for a second reduction.
#' @param reduction.key Letters and digits with a closing underscore: the latent dimensions are
#'   named `BGF_1`, `BGF_2`, ...
#' @param cluster.name Column of the cells' metadata for the clusters. The confidence is stored
#'   beside it: `_clusters` at the end of the name becomes `_confidence`.
#' @param device `"auto"`, `"cpu"`, or a GPU such as `"cuda"`.
#' @param seed.use Seed of the model: one whole number. The state of R's own random numbers is not
#'   changed.
#' @param verbose `TRUE` or `FALSE`: show progress and messages.
#' @param ... Further arguments of Python's `bgformer.tl.cluster`, such as `max_steps`,
#'   `n_anchors`, `n_latent`, `n_top_genes`; with dots in their names they are the same.
#' @param separate.process `TRUE` runs Python in a process of its own, which the package processx
#'   starts: this one loads no Python and its memory hardly grows, an interrupt ends the other at
#'   once, and if that is killed, for its memory say, R goes on with an error. Results are the same;
#'   starting Python takes some seconds more for each run. Counts go through a temporary folder as
#'   above.
#'
#' @return For a Seurat object or a SingleCellExperiment, the object with
#'   * clusters: `object$bgformer_clusters`, a factor with levels `"0"` (the largest), `"1"`, ...;
#'     in a Seurat object these are the `Idents()` too;
#'   * confidence, 0 to 1, how likely a cell is of its cluster's main type:
#'     `object$bgformer_confidence`;
#'   * the latent space, cells x dimensions: reduction `"bgformer"` of a Seurat object,
#'     `reducedDim(object, "BGFORMER")` of a SingleCellExperiment;
#'   * all else, in `Tool(object, "RunBGFormer")` or `metadata(object)$bgformer`: a list of
#'     `params`, `version`, `seed`, `resolution` (`NaN` if the number of clusters was given),
#'     `valley.p` (how likely the clearest valley between clusters is in a single population;
#'     `NULL` if a number or a resolution was given), `n.clusters`, `genes`, `history` (one vector
#'     per term of the objective), `anchors` (anchors x dimensions), `anchor.clusters` (a factor),
#'     `anchor.support` (0 to 1: how surely an anchor is of its cluster's main type), `weights`
#'     (cells x anchors, sparse; rows sum to 1), `model` (raw: the trained network, a few
#'     megabytes, from which [PredictBGFormer()] and [SaveBGFormer()] work), and `cluster.name`,
#'     `reduction.name`, `columns` and `reductions`: where results are, and all that bgformer ever
#'     wrote.
#'
#'   For a matrix, a list of class `bgformer` with `clusters`, `confidence`, `embedding` and all
#'   that list but these names.
#'
#' @examplesIf bgformer_available()
#' \donttest{
#' blood <- readRDS(system.file("extdata", "pbmc700.rds", package = "bgformer"))
#' result <- RunBGFormer(blood$counts, max_steps = 20, verbose = FALSE) # fewer than for a real run
#' result
#' table(result$clusters, blood$cell_type)
#'
#' if (requireNamespace("SeuratObject", quietly = TRUE)) {
#'   object <- SeuratObject::CreateSeuratObject(blood$counts)
#'   object <- RunBGFormer(object, max_steps = 20, verbose = FALSE)
#'   table(object$bgformer_clusters)
#' }
#' }
#' @seealso [ReclusterBGFormer()] for another resolution without training, [PredictBGFormer()] for
#'   new cells, [SaveBGFormer()], [BGFormerPlot()].
#' @export
RunBGFormer <- function(object, ...) {
  UseMethod("RunBGFormer")
}

#' @rdname RunBGFormer
#' @export
RunBGFormer.Seurat <- function(object, assay = NULL, layer = "counts", features = NULL,
                               n.clusters = NULL, resolution = NULL, batch.var = NULL,
                               reduction.name = "bgformer", reduction.key = "BGF_",
                               cluster.name = "bgformer_clusters", device = "auto",
                               seed.use = 42L, verbose = TRUE, ...,
                               separate.process = FALSE) {
  check_settings(device, verbose, separate.process, list(...))
  check_places_seurat(object, reduction.name, reduction.key, cluster.name)
  found <- counts_of_seurat(object, assay, layer, verbose)
  result <- fit_counts(
    found,
    features = features,
    batch = batch_column(batch.var, object[[]]),
    batch.var = batch.var,
    settings = list(n.clusters = n.clusters, resolution = resolution, device = device,
                    seed.use = seed.use, verbose = verbose, ...),
    key = reduction.key,
    separate.process = separate.process
  )
  object <- store_all_seurat(object, result, found$assay, cluster.name, reduction.name,
                             reduction.key)
  assay <- found$assay # the log takes its name
  SeuratObject::LogSeuratCommand(object)
}

#' @rdname RunBGFormer
#' @export
RunBGFormer.SingleCellExperiment <- function(object, assay = NULL, layer = "counts",
                                             features = NULL, n.clusters = NULL,
                                             resolution = NULL, batch.var = NULL,
                                             reduction.name = "BGFORMER", reduction.key = "BGF_",
                                             cluster.name = "bgformer_clusters",
                                             device = "auto", seed.use = 42L, verbose = TRUE,
                                             ..., separate.process = FALSE) {
  check_settings(device, verbose, separate.process, list(...))
  check_places_sce(object, reduction.name, reduction.key, cluster.name)
  result <- fit_counts(
    counts_of_sce(object, assay, layer),
    features = features,
    batch = batch_column(batch.var, SummarizedExperiment::colData(object)),
    batch.var = batch.var,
    settings = list(n.clusters = n.clusters, resolution = resolution, device = device,
                    seed.use = seed.use, verbose = verbose, ...),
    key = reduction.key,
    separate.process = separate.process
  )
  store_all_sce(object, result, cluster.name, reduction.name)
}

#' @rdname RunBGFormer
#' @export
RunBGFormer.default <- function(object, features = NULL, n.clusters = NULL, resolution = NULL,
                                batch.var = NULL, reduction.key = "BGF_", device = "auto",
                                seed.use = 42L, verbose = TRUE, ...,
                                separate.process = FALSE) {
  if (!is_matrix(object)) {
    stop("RunBGFormer() takes a Seurat object, a SingleCellExperiment or a matrix of counts, ",
         "genes x cells; this is of class '", class(object)[1], "'.", call. = FALSE)
  }
  check_names(reduction.key = reduction.key)
  check_settings(device, verbose, separate.process, list(...), matrix_hints)
  if (!is.null(batch.var) && length(batch.var) != ncol(object)) {
    stop("batch.var has ", length(batch.var), " values for ", ncol(object), " cells; for a ",
         "matrix it is a vector with one value per cell.", call. = FALSE)
  }
  fit_counts(
    counts_of_matrix(object),
    features = features,
    batch = batch.var,
    batch.var = if (!is.null(batch.var)) "batch",
    settings = list(n.clusters = n.clusters, resolution = resolution, device = device,
                    seed.use = seed.use, verbose = verbose, ...),
    key = reduction.key,
    separate.process = separate.process
  )
}

#' @export
print.bgformer <- function(x, ...) {
  cat(sprintf("bgformer: %d cells in %d cluster%s, %d anchors, %d latent dimensions\n",
              length(x$clusters), nlevels(x$clusters), if (nlevels(x$clusters) == 1) "" else "s",
              nrow(x$anchors), ncol(x$embedding)))
  cat("cells per cluster:\n")
  print(table(x$clusters, dnn = NULL))
  cat(sprintf("confidence: median %.2f, range %.2f to %.2f\n", stats::median(x$confidence),
              min(x$confidence), max(x$confidence)))
  invisible(x)
}
