#' Cluster again at another resolution, without training
#'
#' Clusters the anchors that [RunBGFormer()] stored in the object, and gives every cell the cluster
#' that holds most of its weight. Nothing is trained, so it is quick. It needs only the object: one
#' that was saved and read again also works, and so do a subset of its cells, another order and
#' other names: cells are recognised by their latent space. If that was removed or changed, an error
#' says so.
#'
#' @param object What [RunBGFormer()] returned: a Seurat object, a SingleCellExperiment or a list of
#'   class `bgformer`.
#' @param resolution Resolution at which the anchors are clustered; a higher one gives more
#'   clusters.
#' @param n.clusters Number of clusters, instead of a resolution: the clusters of resolution 0.8 are
#'   merged or split until there are this many. With neither, bgformer chooses the number as
#'   [RunBGFormer()] does.
#' @param cluster.name Column of the cells' metadata for the clusters; `NULL` overwrites those of
#'   [RunBGFormer()]. A column that bgformer did not write is never overwritten.
#' @param verbose `TRUE` or `FALSE`, as in [RunBGFormer()]. It makes no difference, because this
#'   function shows no progress.
#' @param ... Not used.
#'
#' @return The object with new clusters, confidence and table of evidence, stored as [RunBGFormer()]
#'   stores them; the latent space and the anchors stay as they are. Clusters that you renamed, in
#'   their column or with `RenameIdents()`, keep their name as long as they have nearly the same
#'   cells, and all such clusters keep their colour. A number is not a name, because numbers are by
#'   size.
#'
#' @examplesIf bgformer_available()
#' \donttest{
#' blood <- readRDS(system.file("extdata", "pbmc700.rds", package = "bgformer"))
#' result <- RunBGFormer(blood$counts, max_steps = 20, verbose = FALSE)
#' ReclusterBGFormer(result, resolution = 2)
#' ReclusterBGFormer(result, n.clusters = 5)
#' }
#' @export
ReclusterBGFormer <- function(object, ...) {
  UseMethod("ReclusterBGFormer")
}

#' @rdname ReclusterBGFormer
#' @export
ReclusterBGFormer.Seurat <- function(object, resolution = NULL, n.clusters = NULL,
                                     cluster.name = NULL, verbose = TRUE, ...) {
  need_package("SeuratObject", "install.packages(\"SeuratObject\")")
  check_dots(...)
  check_flag(verbose, "verbose")
  fitted <- fitted_for(kept_in(object, "ReclusterBGFormer"), object)
  cluster.name <- new_name(cluster.name, object[[]], fitted)
  check_unchanged(fitted, object, cluster.name)
  fitted <- with_names(fitted, object)
  object <- keep_names(object, fitted)
  object <- store_seurat(object, partition(fitted, resolution, n.clusters), cluster.name,
                         fitted$reduction.name)
  command <- SeuratObject::LogSeuratCommand(object, return.command = TRUE)
  slot(command, "assay.used") <- fitted$assay # no argument to read it from here
  object[[slot(command, "name")]] <- command
  object
}

#' @rdname ReclusterBGFormer
#' @export
ReclusterBGFormer.SingleCellExperiment <- function(object, resolution = NULL, n.clusters = NULL,
                                                   cluster.name = NULL, verbose = TRUE, ...) {
  need_single_cell_experiment()
  check_dots(...)
  check_flag(verbose, "verbose")
  fitted <- fitted_for(kept_in(object, "ReclusterBGFormer"), object)
  cluster.name <- new_name(cluster.name, SummarizedExperiment::colData(object), fitted)
  check_unchanged(fitted, object, cluster.name)
  fitted <- with_names(fitted, object)
  store_sce(object, partition(fitted, resolution, n.clusters), cluster.name,
            fitted$reduction.name)
}

#' @rdname ReclusterBGFormer
#' @export
ReclusterBGFormer.bgformer <- function(object, resolution = NULL, n.clusters = NULL,
                                       verbose = TRUE, ...) {
  check_dots(...)
  check_flag(verbose, "verbose")
  partition(results_in(object, "ReclusterBGFormer"), resolution, n.clusters)
}

#' @export
ReclusterBGFormer.default <- function(object, ...) {
  stop("ReclusterBGFormer() takes ", what_holds_results, "; this is of class '",
       class(object)[1], "'.", call. = FALSE)
}

new_name <- function(cluster.name, cells, fitted) {
  if (is.null(cluster.name)) {
    return(fitted$run.name)
  }
  check_names(cluster.name = cluster.name)
  check_columns(cluster.name, cells, fitted)
  cluster.name
}

partition <- function(fitted, resolution, n.clusters) {
  weights <- fitted$weights
  resolution <- as_number(resolution, "resolution")
  n.clusters <- as_count(n.clusters, "n.clusters")
  answer <- ask_python(function(python) {
    python$recluster(
      weights = weights_for_python(weights), resolution = resolution, n_clusters = n.clusters,
      seed = fitted$seed, model = fitted$model, before = before_for_python(fitted)
    )
  })
  fitted$labels <- labels_of(answer)
  fitted$names <- as.vector(answer$names)
  fitted$colours <- as.vector(answer$colours)
  fitted$clusters <- setNames(named_clusters(fitted$labels, fitted$names, fitted$apart),
                              rownames(weights))
  fitted$confidence <- setNames(as.vector(answer$confidence), rownames(weights))
  fitted$anchor.clusters <- as_factor(answer$anchor_clusters, answer$levels)
  fitted$anchor.support <- as.vector(answer$anchor_support)
  fitted$resolution <- answer$resolution
  fitted$n.clusters <- length(answer$levels)
  fitted$n.considered <- answer$n_considered
  fitted$evidence <- as_evidence(answer$evidence)
  fitted
}

# The present clusters, from which others inherit names and colours.
before_for_python <- function(fitted) {
  list(anchor_clusters = array(as.integer(fitted$anchor.clusters) - 1L),
       names = array(fitted$names), colours = array(fitted$colours),
       unassigned = array(is.na(fitted$labels)))
}
