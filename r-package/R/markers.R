#' Marker genes and mean expression of each cluster
#'
#' `BGFormerMarkers()` compares each gene between the cells of a cluster and all other cells, for
#' all clusters at once. `BGFormerProfiles()` returns the mean expression of each cluster, for
#' programs that annotate clusters, such as SingleR. Both read the raw counts of all genes once, a
#' block of cells at a time if they are on disk. No normalised data are needed.
#'
#' The test is Welch's t-test on log(1 + counts), with the counts of each cell scaled to a total of
#' 10,000. The genes of a cluster are ordered by t times the relative difference of the shares of
#' cells with a count. Ribosomal and other genes that all cells express are therefore not on top. A
#' cluster of a single cell is not tested, with a warning; its cell is one of the other cells of all
#' other clusters.
#'
#' The p-values are from held-out counts, because clusters differ in the counts that they were found
#' on, even if all cells are of one type. The counts of each cell are dealt into two random halves
#' (data thinning; Neufeld et al. 2024, JMLR 25(57)). The first half places the cell among the
#' anchors of [RunBGFormer()], and it gets the cluster with most weight on the nearest anchor. The
#' second half tests whether a gene has the same share of all counts in the cells of the cluster as
#' in all other cells. The test is a binomial one, corrected for the gene's dispersion within the
#' clusters. Unlike a t-test, it finds no differences between clusters that differ only in the total
#' counts of their cells.
#'
#' This needs an object with a model of bgformer that knows all its cells. Of groups that bgformer
#' did not find, the anchors must be able to tell the cells: not of donors or treatments. Otherwise,
#' the p-values are those of the t-test, which are too small for clusters that were found on the
#' same counts; use them for ranking only.
#'
#' The test compares cells, not samples or donors. A small p-value says that clusters differ, not
#' that they are different types; see the table of evidence of [RunBGFormer()] for this.
#'
#' @param object A Seurat object or a SingleCellExperiment.
#' @param cluster.name Column of the cells' metadata with the clusters. `NULL` takes the `Idents()`
#'   of a Seurat object, as `FindAllMarkers()` does, and the clusters of [RunBGFormer()] in a
#'   SingleCellExperiment. Clusters that you renamed have these names. A column of numbers that are
#'   not integers, such as `nCount_RNA`, is refused; make it a factor if they name clusters.
#' @param n.genes Number of genes of each cluster to return, the best first. `NULL` returns all.
#' @param assay Seurat: the assay with the counts; `NULL` takes the one that [RunBGFormer()] used,
#'   or the default assay. SingleCellExperiment: another name for `layer`.
#' @param layer The layer or assay with the raw counts; see [RunBGFormer()].
#' @param ... Not used.
#'
#' @return `BGFormerMarkers()`: a data frame with the columns of Seurat's `FindAllMarkers()`:
#'   `p_val` (two-sided, from held-out counts; 1 for clusters that the first half gives fewer than
#'   two cells, with a warning), `avg_log2FC` (log2 of the ratio of the mean scaled counts, with one
#'   count added to each sum, as in Seurat 5), `pct.1` and `pct.2` (shares of cells with a count, in
#'   the cluster and in all other cells), `p_val_adj` (adjusted by Benjamini and Hochberg's method,
#'   unlike Seurat's), `cluster` (a factor) and `gene`. Its rows are in order: cluster by cluster,
#'   the best marker first. The attribute `held.out` is `FALSE` if the p-values are those of the
#'   t-test.
#'
#'   `BGFormerProfiles()`: a matrix, genes x clusters, of log(1 + mean scaled counts), natural
#'   logarithm.
#'
#' @examplesIf bgformer_available() && requireNamespace("SeuratObject", quietly = TRUE)
#' \donttest{
#' blood <- readRDS(system.file("extdata", "pbmc700.rds", package = "bgformer"))
#' object <- SeuratObject::CreateSeuratObject(blood$counts)
#' object <- RunBGFormer(object, max_steps = 20, verbose = FALSE)
#' BGFormerMarkers(object, n.genes = 3)
#' profiles <- BGFormerProfiles(object)
#' profiles["MS4A1", ]
#' # SingleR::SingleR(profiles, ref = reference, labels = reference$label)
#' }
#' @export
BGFormerMarkers <- function(object, ...) {
  UseMethod("BGFormerMarkers")
}

#' @rdname BGFormerMarkers
#' @export
BGFormerMarkers.Seurat <- function(object, cluster.name = NULL, n.genes = NULL, assay = NULL,
                                   layer = "counts", ...) {
  check_dots(...)
  found <- grouped_seurat(object, cluster.name, assay, layer)
  markers_of(found, as_count(n.genes, "n.genes"), model_behind(object, found$batch, cluster.name))
}

#' @rdname BGFormerMarkers
#' @export
BGFormerMarkers.SingleCellExperiment <- function(object, cluster.name = NULL, n.genes = NULL,
                                                 assay = NULL, layer = "counts", ...) {
  check_dots(...)
  found <- grouped_sce(object, cluster.name, assay, layer, "BGFormerMarkers")
  markers_of(found, as_count(n.genes, "n.genes"), model_behind(object, found$batch, cluster.name))
}

#' @export
BGFormerMarkers.default <- function(object, ...) {
  stop_for_class("BGFormerMarkers", object)
}

#' @rdname BGFormerMarkers
#' @export
BGFormerProfiles <- function(object, ...) {
  UseMethod("BGFormerProfiles")
}

#' @rdname BGFormerMarkers
#' @export
BGFormerProfiles.Seurat <- function(object, cluster.name = NULL, assay = NULL, layer = "counts",
                                    ...) {
  check_dots(...)
  means_of(grouped_seurat(object, cluster.name, assay, layer))
}

#' @rdname BGFormerMarkers
#' @export
BGFormerProfiles.SingleCellExperiment <- function(object, cluster.name = NULL, assay = NULL,
                                                  layer = "counts", ...) {
  check_dots(...)
  means_of(grouped_sce(object, cluster.name, assay, layer, "BGFormerProfiles"))
}

#' @export
BGFormerProfiles.default <- function(object, ...) {
  stop_for_class("BGFormerProfiles", object)
}

stop_for_class <- function(caller, object) {
  stop(caller, "() takes a Seurat object or a SingleCellExperiment; this is of class '",
       class(object)[1], "'.", call. = FALSE)
}

# The counts, as counts_of_seurat() finds them, with the cluster of each cell as its batch.
grouped_seurat <- function(object, cluster.name, assay, layer) {
  need_package("SeuratObject", "install.packages(\"SeuratObject\")")
  clusters <- if (is.null(cluster.name)) {
    SeuratObject::Idents(object)
  } else {
    cluster_column(cluster.name, object)
  }
  earlier <- kept_seurat(object)
  if (is.null(assay) && is_ours(earlier) && !is.null(earlier$assay)) {
    assay <- earlier$assay
  }
  grouped(counts_of_seurat(object, assay, layer, verbose = FALSE), clusters)
}

grouped_sce <- function(object, cluster.name, assay, layer, caller) {
  need_single_cell_experiment()
  clusters <- if (is.null(cluster.name)) {
    results_in(object, caller)$clusters
  } else {
    cluster_column(cluster.name, object)
  }
  grouped(counts_of_sce(object, assay, layer), clusters)
}

cluster_column <- function(cluster.name, object) {
  check_name(cluster.name, "cluster.name", "the name of one column of the cells' metadata")
  cells <- cells_of(object)
  if (!cluster.name %in% colnames(cells)) {
    stop("cluster.name = '", shown(cluster.name), "' is not a column of the cells' metadata ",
         "(there: ", listed(colnames(cells)), ").", call. = FALSE)
  }
  clusters <- cells[[cluster.name]]
  if (is.double(clusters) && !is.object(clusters)) {
    stop("cluster.name = '", shown(cluster.name), "' is a column of numbers, not of clusters; ",
         "give another, or make it a factor() if its numbers are names of clusters.",
         call. = FALSE)
  }
  clusters
}

grouped <- function(found, clusters) {
  if (!(is.atomic(clusters) && is.null(dim(clusters)))) {
    stop_for("cluster.name", clusters, "a column with one cluster per cell")
  }
  clusters <- droplevels(as.factor(clusters))
  if (anyNA(clusters)) {
    stop(sum(is.na(clusters)), " of ", length(clusters), " cells have no cluster; give them one, ",
         "or leave them out.", call. = FALSE)
  }
  check_utf8(levels(clusters), "cluster", "this object")
  check_readable(found$counts, found$where)
  check_shape(found$counts, NULL, found$where)
  c(found, list(batch = clusters, batch.var = "clusters"))
}

# Lets `ask(python, names, folder)` call Python, which finds the cells in R or in a folder.
ask_about <- function(found, ask) {
  names <- if (!is.null(found$batch)) array(as_utf8(levels(found$batch)))
  if (is_in_memory(found$counts)) {
    found$counts <- as_sparse(found$counts)
    return(send_counts(found, function(python) ask(python, names, NULL)))
  }
  with_stored(found, list(), NULL, function(folder) {
    ask_python(function(python) ask(python, names, folder))
  })
}

# The model that an object holds, with the weights of the cells that it has now, as Python takes it;
# NULL if it holds none, or one of other cells. The clusters are `ours` if they are those of the
# model by any names, or in a column that bgformer wrote.
model_behind <- function(object, clusters, cluster.name) {
  tryCatch({
    fitted <- fitted_for(kept_in(object, "BGFormerMarkers"), object)
    fitted$names <- levels(fitted$anchor.clusters)
    names <- names_of_clusters(fitted$labels, clusters, fitted$names)
    ours <- !is.null(names) || isTRUE(cluster.name %in% fitted$columns)
    c(for_python(fitted), list(weights = weights_for_python(fitted$weights), ours = ours))
  }, error = function(e) NULL)
}

markers_of <- function(found, n.genes, behind) {
  answer <- ask_about(found, function(python, names, folder) {
    python$markers(names = names, n_genes = n.genes, folder = folder, behind = behind)
  })
  genes <- names_of(rownames(found$counts), "gene", nrow(found$counts))[answer$gene + 1]
  table <- data.frame(
    p_val = as.vector(answer$p),
    avg_log2FC = as.vector(answer$log2_fold_change),
    pct.1 = as.vector(answer$detected),
    pct.2 = as.vector(answer$detected_rest),
    p_val_adj = as.vector(answer$p_adjusted),
    cluster = factor(levels(found$batch)[answer$cluster + 1], levels(found$batch)),
    gene = genes,
    row.names = make.unique(genes)
  )
  attr(table, "held.out") <- answer$held_out
  table
}

means_of <- function(found) {
  answer <- ask_about(found, function(python, names, folder) {
    python$profiles(names = names, folder = folder)
  })
  n <- nlevels(found$batch)
  matrix(t(matrix(answer$mean, nrow = n)), ncol = n, dimnames = list(
    names_of(rownames(found$counts), "gene", nrow(found$counts)), levels(found$batch)
  ))
}
