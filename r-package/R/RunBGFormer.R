#' Cluster cells with bgformer
#'
#' Learns a set of anchors from the raw counts, places every cell among them, and clusters the
#' anchors. Each cell takes the cluster that holds most of its weight. bgformer chooses the number
#' of clusters unless you give it. The same seed gives the same labels as `bgformer.tl.cluster` in
#' Python.
#'
#' Only the counts go to Python. Counts in memory go through anndata2ri, in this process. Counts
#' that are not a matrix in R's memory, such as a DelayedMatrix, an HDF5Matrix or a BPCells matrix,
#' go block by block through a temporary folder. It takes 8 bytes of disk for each count above 0;
#' set `TMPDIR` to choose where. Such counts are never in memory as a whole, there may be more than
#' 2^31 of them, and the results are the same.
#'
#' A run that fails or is interrupted changes nothing: not the object, the global environment, or
#' the state of R's random numbers. The temporary folder is removed. One exception: if R has drawn
#' no random number yet, starting Python through reticulate creates `.Random.seed`.
#'
#' @param object A Seurat object, a SingleCellExperiment, or a matrix of raw counts, genes x cells
#'   (dense, or sparse such as a dgCMatrix, or on disk such as an HDF5Matrix). For a matrix on disk,
#'   `as(x[, from:to], "dgCMatrix")` must work.
#' @param assay Seurat: the assay that holds the counts. `NULL` takes the default assay. If that one
#'   holds no raw counts (as after SCTransform or integration), it takes the assay that it was made
#'   from, and says so. SingleCellExperiment: another word for `layer`.
#' @param layer Seurat: the layer (before Seurat 5: the slot) with raw counts; layers that are
#'   split by sample are joined on a copy. SingleCellExperiment: the name of the assay.
#' @param features Genes to use, such as `VariableFeatures(object)`. `NULL` lets the model choose
#'   `n_top_genes` (2000) highly variable genes. Genes left out do not count towards the size of a
#'   cell either.
#' @param n.clusters Number of clusters; `NULL` lets bgformer choose it.
#' @param resolution Resolution at which the anchors are clustered; a higher one gives more
#'   clusters. `NULL` takes 0.8 and refuses splits without evidence. Cells of a single type are then
#'   one cluster, and a warning says how many clusters were considered. Give 0.8 to keep all splits.
#' @param batch.var Batch of each cell, whose effect is left out of the clusters: the name of a
#'   column of the cells' metadata; for a matrix, a vector with one value per cell, in the order of
#'   the cells or named by them.
#' @param reduction.name Name of the reduction that stores the latent space. Results of earlier runs
#'   are overwritten, with a warning if you had named their clusters; a reduction or column that
#'   bgformer did not write is never overwritten. Seurat needs another `reduction.key` for a second
#'   reduction.
#' @param reduction.key Letters and digits with a closing underscore: the latent dimensions are
#'   named `BGF_1`, `BGF_2`, ...
#' @param cluster.name Column of the cells' metadata for the clusters. The confidence has a column
#'   next to it: `_clusters` at the end of the name becomes `_confidence`.
#' @param device `"auto"`, `"cpu"`, or a GPU such as `"cuda"`.
#' @param seed.use Seed of the model: one whole number. The default, 0, is the same as in Python, so
#'   that a run without a seed gives the same labels in both. (Seurat's default is 42.) The state of
#'   R's own random numbers is not changed.
#' @param verbose `TRUE` or `FALSE`: show progress and other messages.
#' @param ... Further arguments of Python's `bgformer.tl.cluster`; dots in the names also work:
#'   * `min_cells`: fewest cells of a cluster, 10; smaller clusters join the nearest one, unless
#'     `n.clusters` needs them;
#'   * `max_steps`: training steps of 256 cells each, 50;
#'   * `n_anchors`: number of anchors, 1024 or two fifths of the cells, whichever is less;
#'   * `n_latent`: dimensions of the latent space, 32, and 4 at least;
#'   * `n_top_genes`: highly variable genes, 2000.
#' @param separate.process `TRUE` runs Python in a separate process, which the package processx
#'   starts. R then loads no Python, its memory hardly grows, and an interrupt ends the run at once.
#'   If the process is killed, for using too much memory for example, R goes on with an error.
#'   Results are the same. Each run takes a few seconds longer, because Python starts again. Counts
#'   go through a temporary folder as above.
#' @param checkpoint.dir Folder in which a run with `separate.process = TRUE` keeps its progress:
#'   the trained model, and the latent space of each block of cells. If the run is interrupted or
#'   killed, the same call with the same folder continues from there, and the results are the same.
#'   The folder must be new, and it is removed when the run is finished. The progress takes about
#'   250 bytes per cell.
#'
#' @return For a Seurat object or a SingleCellExperiment, the object with
#'   * clusters: `object$bgformer_clusters`, a factor with levels `"0"` (the largest), `"1"`, ...;
#'     in a Seurat object these are the `Idents()` too;
#'   * confidence, 0 to 1: the probability that a cell belongs to its cluster's dominant type, in
#'     `object$bgformer_confidence`;
#'   * the latent space, cells x dimensions: reduction `"bgformer"` of a Seurat object,
#'     `reducedDim(object, "BGFORMER")` of a SingleCellExperiment;
#'   * everything else, in `Tool(object, "RunBGFormer")` or `metadata(object)$bgformer`: a list of
#'     `params`, `version`, `seed`, `resolution` (`NaN` if the number of clusters was given),
#'     `n.clusters`, `n.considered` (clusters before splits without evidence were refused),
#'     `evidence` (see below), `genes`, `history` (one vector per term of the objective), `anchors`
#'     (anchors x dimensions), `anchor.clusters` (a factor), `anchor.support` (0 to 1: the
#'     probability that an anchor belongs to its cluster's dominant type), `weights` (cells x
#'     anchors, sparse; rows sum to 1), `labels` (the number of each cell's cluster, from 1) and
#'     `colours` (of the clusters, for plots), `cell.keys` (a number for each cell, made from its
#'     latent, by which bgformer recognises cells that were subset, reordered or renamed), `model`
#'     (raw: the trained network and the held-out counts of the anchors, a few megabytes, which
#'     [ReclusterBGFormer()], [PredictBGFormer()] and [SaveBGFormer()] need), and `cluster.name`,
#'     `reduction.name`, `columns` and `reductions`: where the results are, and every name that
#'     bgformer wrote.
#'
#'   For a matrix, a list of class `bgformer` with `clusters`, `confidence`, `embedding` and the
#'   same list without these names.
#'
#' @section Evidence: `Tool(object, "RunBGFormer")$evidence`, or
#'   `metadata(object)$bgformer$evidence`, is a data frame with one row per cluster. It says what
#'   sets the cluster apart from the cluster nearest to it:
#'   * `cluster`, `n_cells`: its name and its number of cells;
#'   * `nearest`: the cluster with most links to it;
#'   * `links`: their share of links. It is near 0 across a gap, below 0.08 if the two are apart,
#'     and 0.15 or more between two halves of a single type (`NaN` if there is only one cluster);
#'   * `gap`, `gap_p`: how deep the gap between the two is, from 0 (none) to 1 (empty), and the
#'     p-value of there being none. One half of each cell's counts says where the gap should be; the
#'     other half is used to count the cells there, and those in the middle of each cluster;
#'   * `n_markers`: number of genes that tell the two apart. One half of each cell's counts is
#'     tested; the other half places the cells among the anchors;
#'   * `markers`: up to five of these genes that the cluster expresses more than the other.
#'
#'   [ReclusterBGFormer()] renews the table, and [EvidencePlot()] draws it.
#'
#' @section Progress: A run reports its progress as R messages: after every tenth of the training
#'   steps, the step and the seconds left. `suppressMessages()` and `verbose = FALSE` hide them;
#'   `sink(type = "message")` and knitr capture them. A handler may end the run, as in
#'   `tryCatch(RunBGFormer(object), message = identity)`; nothing is changed then.
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
#'   new cells, [SaveBGFormer()], [BGFormerPlot()], [EvidencePlot()].
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
                               seed.use = 0L, verbose = TRUE, ...,
                               separate.process = FALSE, checkpoint.dir = NULL) {
  check_settings(device, verbose, separate.process, checkpoint.dir, list(...))
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
    separate.process = separate.process,
    checkpoint.dir = checkpoint.dir
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
                                             device = "auto", seed.use = 0L, verbose = TRUE,
                                             ..., separate.process = FALSE, checkpoint.dir = NULL) {
  check_settings(device, verbose, separate.process, checkpoint.dir, list(...))
  found <- counts_of_sce(object, assay, layer) # first: all else reads a damaged assay too
  check_places_sce(object, reduction.name, reduction.key, cluster.name)
  result <- fit_counts(
    found,
    features = features,
    batch = batch_column(batch.var, SummarizedExperiment::colData(object)),
    batch.var = batch.var,
    settings = list(n.clusters = n.clusters, resolution = resolution, device = device,
                    seed.use = seed.use, verbose = verbose, ...),
    key = reduction.key,
    separate.process = separate.process,
    checkpoint.dir = checkpoint.dir
  )
  store_all_sce(object, result, cluster.name, reduction.name)
}

#' @rdname RunBGFormer
#' @export
RunBGFormer.default <- function(object, features = NULL, n.clusters = NULL, resolution = NULL,
                                batch.var = NULL, reduction.key = "BGF_", device = "auto",
                                seed.use = 0L, verbose = TRUE, ...,
                                separate.process = FALSE, checkpoint.dir = NULL) {
  if (!is_matrix(object)) {
    stop("RunBGFormer() takes a Seurat object, a SingleCellExperiment or a matrix of counts, ",
         "genes x cells; this is of class '", class(object)[1], "'.", call. = FALSE)
  }
  check_names(reduction.key = reduction.key)
  check_settings(device, verbose, separate.process, checkpoint.dir, list(...), matrix_hints)
  if (!is.null(batch.var) && length(batch.var) != ncol(object)) {
    stop("batch.var has ", length(batch.var), " values for ", ncol(object), " cells; for a ",
         "matrix it is a vector with one value per cell.", call. = FALSE)
  }
  fit_counts(
    counts_of_matrix(object),
    features = features,
    batch = batch_in_order(batch.var, colnames(object)),
    batch.var = if (!is.null(batch.var)) "batch",
    settings = list(n.clusters = n.clusters, resolution = resolution, device = device,
                    seed.use = seed.use, verbose = verbose, ...),
    key = reduction.key,
    separate.process = separate.process,
    checkpoint.dir = checkpoint.dir
  )
}

#' @export
print.bgformer <- function(x, ...) {
  n <- length(setdiff(levels(x$clusters), unassigned))
  cat(sprintf("bgformer: %d cells in %d cluster%s, %d anchors, %d latent dimensions\n",
              length(x$clusters), n, if (n == 1) "" else "s",
              nrow(x$anchors), ncol(x$embedding)))
  cat("cells per cluster:\n")
  print(table(x$clusters, dnn = NULL))
  cat(sprintf("confidence: median %.2f, range %.2f to %.2f\n", stats::median(x$confidence),
              min(x$confidence), max(x$confidence)))
  invisible(x)
}
