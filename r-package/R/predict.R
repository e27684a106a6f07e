#' Cluster new cells with a fitted model
#'
#' Places new cells among the anchors of a reference that [RunBGFormer()] fitted, and gives each the
#' cluster of the reference that holds most of its weight. Nothing is trained. After
#' [ReclusterBGFormer()] on the reference, new cells get its new clusters.
#'
#' Cells of types that the reference lacks are `unassigned`. They are found together: the counts of
#' such a cell look more like those of other new cells near it than like the reference's there. This
#' needs some tens of cells of a type, and a profile that differs from all in the reference. What
#' differs from the reference in most clusters is treated as a difference between batches. A warning
#' says so if more than a tenth of the cells are unassigned: look at their marker genes.
#'
#' Genes are matched by name. Genes of the model that the new cells lack are treated as not
#' measured, with a warning; more than half missing is an error. The reference no longer needs its
#' cells: any subset works, but a cluster of which no cell is left has its number and no longer the
#' name that you gave it. So does an object saved with `saveRDS()` and read in another session.
#' Gene names that differ only in `_` and `-` are the same, because Seurat writes every name with
#' `-`.
#'
#' `merge()` of Seurat objects and `as.SingleCellExperiment()` drop the model and keep the columns.
#' To get it back, call `PredictBGFormer()` with the new object as query and the object from before
#' as reference. Cells of the reference get their own clusters. New cells are scored again, together
#' with those of the reference, so some may change between `unassigned` and a cluster.
#'
#' @param query The new cells: a Seurat object, a SingleCellExperiment, or a matrix of raw counts,
#'   genes x cells.
#' @param reference What holds the model: a Seurat object, a SingleCellExperiment or a list of class
#'   `bgformer` from [RunBGFormer()], or from [LoadBGFormer()]. It need not be of the query's kind.
#' @param labels Columns of the reference's cells, such as `"cell_type"` or the
#'   `"bgformer_subclusters"` of [SubclusterBGFormer()]: new cells also get the label that has most
#'   of their weight on the anchors.
#' @inheritParams RunBGFormer
#' @param cluster.name Column of the cells' metadata for the clusters; `NULL` takes the name of the
#'   reference's own, which [ReclusterBGFormer()] may have changed. The confidence has a column
#'   next to it: `_clusters` at the end of the name becomes `_confidence`.
#' @param verbose `TRUE` or `FALSE`: show messages.
#' @param ... Not used.
#'
#' @return The query with the same results in the same places as from [RunBGFormer()]: clusters (a
#'   factor with the reference's levels, or the names that you gave these, and `unassigned` if there
#'   are such cells, which stay so in [ReclusterBGFormer()]), confidence (of unassigned cells, that
#'   of the nearest cluster), the latent space (cells x dimensions, the reference's own, so cells of
#'   both can be compared), and the model with the weights of the new cells on its anchors.
#'   [ReclusterBGFormer()], [SaveBGFormer()] and the plots also take the query. A model that the
#'   query had before is overwritten.
#'
#'   A further column, `bgformer_outlier` (for another `cluster.name`, its own name and `_outlier`;
#'   for a matrix, `outlier` in the list), has the share of the reference's own cells that are less
#'   unlike the others, from 0 to 1. Above 0.93, cells are unassigned: on average 7 % of the
#'   reference's own cells score higher. In single types, in small data sets or with another
#'   protocol, far more cells of known types can be unassigned.
#'
#'   Each of the `labels` is in the column that has it in the reference, a factor (`unassigned`
#'   if the cell is; `NA` if most of its weight is of cells without a label). The column with
#'   `_confidence` at the end of the name has the share of the cell's weight that the label has,
#'   from 0 to 1: an anchor's weight is divided among labels as the weight of the reference's
#'   cells on it is. For unassigned cells, it is that of the label with most weight. For a
#'   matrix, both are columns of the data frame `predicted`.
#'
#' @examplesIf bgformer_available()
#' pbmc <- readRDS(system.file("extdata", "pbmc700.rds", package = "bgformer"))
#' \donttest{
#' old <- seq(1, 700, by = 2)
#' reference <- RunBGFormer(pbmc$counts[, old], max_steps = 20)
#' query <- PredictBGFormer(pbmc$counts[, -old], reference)
#' table(query$clusters, pbmc$cell_type[-old])
#' }
#' @seealso [SaveBGFormer()] to keep a reference as a folder, which Python reads too.
#' @export
PredictBGFormer <- function(query, reference, ...) {
  UseMethod("PredictBGFormer")
}

#' @rdname PredictBGFormer
#' @export
PredictBGFormer.Seurat <- function(query, reference, labels = NULL, assay = NULL, layer = "counts",
                                   reduction.name = "bgformer", reduction.key = "BGF_",
                                   cluster.name = NULL, device = "auto", verbose = TRUE, ...) {
  fitted <- model_for_query(reference, labels, device, verbose, ...)
  cluster.name <- name_in_query(cluster.name, fitted)
  check_places_seurat(query, reduction.name, reduction.key, cluster.name)
  check_label_columns(labels, cluster.name, query)
  check_outlier_column(cluster.name, query)
  found <- counts_of_seurat(query, assay, layer, verbose)
  result <- predict_counts(found, fitted, device, reduction.key)
  query <- store_all_seurat(query, result, found$assay, cluster.name, reduction.name,
                            reduction.key)
  assay <- found$assay # the log takes its name ...
  rm(reference) # ... and would keep a copy of this, unless it is a Seurat object
  SeuratObject::LogSeuratCommand(query)
}

#' @rdname PredictBGFormer
#' @export
PredictBGFormer.SingleCellExperiment <- function(query, reference, labels = NULL, assay = NULL,
                                                 layer = "counts", reduction.name = "BGFORMER",
                                                 reduction.key = "BGF_",
                                                 cluster.name = NULL, device = "auto",
                                                 verbose = TRUE, ...) {
  fitted <- model_for_query(reference, labels, device, verbose, ...)
  cluster.name <- name_in_query(cluster.name, fitted)
  check_places_sce(query, reduction.name, reduction.key, cluster.name)
  check_label_columns(labels, cluster.name, query)
  check_outlier_column(cluster.name, query)
  found <- counts_of_sce(query, assay, layer)
  result <- predict_counts(found, fitted, device, reduction.key)
  store_all_sce(query, result, cluster.name, reduction.name)
}

#' @rdname PredictBGFormer
#' @export
PredictBGFormer.default <- function(query, reference, labels = NULL, reduction.key = "BGF_",
                                    device = "auto", verbose = TRUE, ...) {
  if (!is_matrix(query)) {
    stop("PredictBGFormer() takes new cells as a Seurat object, a SingleCellExperiment or a ",
         "matrix of counts, genes x cells; this is of class '", class(query)[1], "'.",
         call. = FALSE)
  }
  fitted <- model_for_query(reference, labels, device, verbose, ...)
  check_names(reduction.key = reduction.key)
  predict_counts(counts_of_matrix(query), fitted, device, reduction.key)
}

# The reference's own name, so that a column of both, merged, is of one clustering.
name_in_query <- function(cluster.name, fitted) {
  if (!is.null(cluster.name)) {
    return(cluster.name)
  }
  if (is.null(fitted$cluster.name)) "bgformer_clusters" else fitted$cluster.name
}

# What is asked for is checked, and the model taken out of the reference, with its labels.
model_for_query <- function(reference, labels, device, verbose, ...) {
  check_dots(...)
  check_flag(verbose, "verbose")
  check_device(device)
  kept <- kept_in(reference, "PredictBGFormer", "reference")
  fitted <- tryCatch(with_names(fitted_for(kept, reference), reference), error = function(e) {
    if (!is.null(labels)) { # they are of cells, which cannot be found
      stop(e)
    }
    kept$names <- levels(kept$anchor.clusters) # without the cells, clusters have their numbers
    kept
  })
  warn_of_mixed_names(fitted, reference)
  fitted$given <- labels_in(reference, labels, fitted)
  fitted
}

# Clusters whose cells have several names have their numbers in the query.
warn_of_mixed_names <- function(fitted, reference) {
  numbers <- levels(fitted$anchor.clusters)
  if (inherits(reference, "bgformer") || !identical(fitted$names, numbers)) {
    return(invisible())
  }
  column <- cells_of(reference)[[fitted$cluster.name]]
  there <- is.atomic(column) && length(column) == length(fitted$labels) && !all(is.na(column))
  if (there && is.null(names_of_clusters(fitted$labels, column, numbers))) {
    warning("cells of one cluster have different names in '", fitted$cluster.name, "' of the ",
            "reference, so the clusters have their numbers.", call. = FALSE)
  }
}
