# Where results are put in each kind of object, and found there.

tool_name <- "RunBGFormer"

# What is kept beside the cells' columns: all that ReclusterBGFormer() needs, and the names of all
# columns and reductions that a run wrote, so that a later one writes over nobody else's.
kept <- function(result, cluster.name, reduction.name, earlier) {
  result <- unclass(result)
  columns <- c(column_names(cluster.name), names(result$predicted),
               if (!is.null(result$outlier)) outlier_name(cluster.name))
  result[c("clusters", "confidence", "outlier", "embedding", "names", "apart", "predicted")] <- NULL
  result$cluster.name <- cluster.name
  if (is.null(result$run.name)) { # a new run; ReclusterBGFormer() goes back there
    result$run.name <- cluster.name
  }
  result$reduction.name <- reduction.name
  result$columns <- union(earlier$columns, columns)
  result$reductions <- union(earlier$reductions, reduction.name)
  result
}

column_names <- function(cluster.name) {
  c(cluster.name, confidence_name(cluster.name))
}

# Whether the columns of the default names are left from a run: merging two objects drops what was
# kept of the model, but not the columns.
left_by_merge <- function(cells) {
  names <- column_names("bgformer_clusters")
  confidence <- if (all(names %in% colnames(cells))) cells[[names[2]]]
  is.numeric(confidence) && all(is.na(confidence) | (confidence >= 0 & confidence <= 1))
}

# `cells` is the table of their columns.
check_columns <- function(cluster.name, cells, earlier) {
  own <- c(if (left_by_merge(cells)) column_names("bgformer_clusters"), earlier$columns)
  check_own(column_names(cluster.name), colnames(cells), own, "cluster.name", cluster.name,
            "column")
}

check_reduction <- function(reduction.name, there, cells, earlier) {
  own <- c(if (left_by_merge(cells)) c("bgformer", "BGFORMER"), earlier$reductions)
  check_own(reduction.name, there, own, "reduction.name", reduction.name, "reduction")
}

check_places_seurat <- function(object, reduction.name, reduction.key, cluster.name) {
  need_package("SeuratObject", "install.packages(\"SeuratObject\")")
  check_names(reduction.name, reduction.key, cluster.name)
  check_name_seurat(object, reduction.name)
  if (reduction.name == cluster.name) {
    stop("reduction.name and cluster.name are both '", cluster.name, "', which Seurat does not ",
         "allow; choose two names.", call. = FALSE)
  }
  cells <- object[[]]
  earlier <- earlier_seurat(object)
  check_reduction(reduction.name, SeuratObject::Reductions(object), cells, earlier)
  check_columns(cluster.name, cells, earlier)
}

# What Seurat can call a reduction of an object.
check_name_seurat <- function(object, reduction.name) {
  if (reduction.name != make.names(reduction.name)) {
    stop("reduction.name = '", reduction.name, "' is not a name that Seurat keeps; choose ",
         "another, such as '", make.names(reduction.name), "'.", call. = FALSE)
  }
  if (reduction.name %in% SeuratObject::Assays(object)) {
    stop("reduction.name = '", reduction.name, "' is the name of an assay of this object; ",
         "choose another.", call. = FALSE)
  }
}

check_places_sce <- function(object, reduction.name, reduction.key, cluster.name) {
  need_single_cell_experiment()
  check_names(reduction.name, reduction.key, cluster.name)
  cells <- SummarizedExperiment::colData(object)
  there <- SingleCellExperiment::reducedDimNames(object)
  earlier <- earlier_sce(object)
  check_reduction(reduction.name, there, cells, earlier)
  check_columns(cluster.name, cells, earlier)
}

confidence_name <- function(cluster.name) {
  paste0(sub("_clusters$", "", cluster.name), "_confidence")
}

outlier_name <- function(cluster.name) {
  paste0(sub("_clusters$", "", cluster.name), "_outlier")
}

kept_seurat <- function(object) {
  slot(object, "tools")[[tool_name]]
}

kept_sce <- function(object) {
  if (has_several(object)) NULL else S4Vectors::metadata(object)[["bgformer"]]
}

# What earlier runs wrote, as kept in `place`, which may be something of the user's.
earlier_in <- function(kept, place) {
  if (is.null(kept)) {
    return(NULL)
  }
  if (!is_ours(kept)) {
    stop(place, " holds something that is not from bgformer, and would be written over; move it ",
         "to another name first.", call. = FALSE)
  }
  lapply(kept[c("columns", "reductions")], function(names) if (is.character(names)) names)
}

earlier_seurat <- function(object) {
  earlier_in(kept_seurat(object), "Tool(object, \"RunBGFormer\")")
}

earlier_sce <- function(object) {
  earlier_in(kept_sce(object), "metadata(object)$bgformer")
}

# cbind() keeps the models of both objects, and neither is of all cells.
has_several <- function(object) {
  inherits(object, "SingleCellExperiment") &&
    sum(names(S4Vectors::metadata(object)) == "bgformer") > 1
}

what_holds_results <- paste("what RunBGFormer() returned: a Seurat object, a SingleCellExperiment",
                            "or a list of class 'bgformer'")

# What an object of any kind keeps of the model; `what` and `caller` are for messages.
kept_in <- function(object, caller, what = "this object") {
  if (inherits(object, "Seurat")) {
    kept <- kept_seurat(object)
  } else if (inherits(object, "SingleCellExperiment")) {
    kept <- kept_sce(object)
  } else if (inherits(object, "bgformer")) {
    kept <- object
  } else {
    hint <- if (is.character(object)) "; LoadBGFormer() reads the folder of a saved model"
    stop(caller, "() takes ", what_holds_results, "; ", what, " is of class '", class(object)[1],
         "'", hint, ".", call. = FALSE)
  }
  if (is.null(kept) || !is_ours(kept)) {
    stop_without_model(object, what)
  }
  check_whole(kept, what)
  kept
}

stop_without_model <- function(object, what) {
  if (has_several(object)) {
    stop(what, " has several bgformer models, as after cbind(); call RunBGFormer() first.",
         call. = FALSE)
  }
  if (!inherits(object, "bgformer") && left_by_merge(cells_of(object))) {
    remedy <- if (what == "reference") {
      "give the object from before as reference"
    } else {
      paste("to put it back, call PredictBGFormer() with this object as query and the one from",
            "before as reference, or call RunBGFormer()")
    }
    stop(what, " has the clusters 'bgformer_clusters' but no bgformer model, which merge() and ",
         "as.SingleCellExperiment() drop; ", remedy, ".", call. = FALSE)
  }
  stop(what, " has no bgformer model; call RunBGFormer() first.", call. = FALSE)
}

# The same list as of a matrix from an object of any kind, of the cells that it has now.
results_in <- function(object, caller) {
  kept <- kept_in(object, caller)
  if (inherits(object, "bgformer")) {
    check_cells_of_list(object)
  }
  kept <- with_names(fitted_for(kept, object), object)
  if (!inherits(object, "bgformer")) {
    cells <- cells_of(object)
    columns <- column_names(kept$cluster.name)
    for (column in columns) {
      check_column(cells, column, is_right = if (column == columns[2]) is.numeric else is.atomic)
    }
    kept$confidence <- cells[[columns[2]]]
    column <- cells[[columns[1]]]
    if (is.null(names_of_clusters(kept$labels, column, levels(kept$anchor.clusters)))) {
      kept$clusters <- setNames(as.factor(column), rownames(kept$weights)) # changed cell by cell
      return(kept)
    }
  }
  kept$clusters <- setNames(named_clusters(kept$labels, kept$names, kept$apart),
                            rownames(kept$weights))
  kept
}

# A column of results that the user may have removed, or written over with something else.
check_column <- function(cells, column, is_right) {
  problem <- if (!column %in% colnames(cells)) {
    "is no longer in this object"
  } else if (!is_right(cells[[column]]) || all(is.na(cells[[column]]))) {
    "has other values now"
  }
  if (!is.null(problem)) {
    stop("'", column, "', which bgformer stored, ", problem, "; call ReclusterBGFormer().",
         call. = FALSE)
  }
}

reduction_names <- function(object) {
  if (inherits(object, "Seurat")) {
    return(SeuratObject::Reductions(object))
  }
  SingleCellExperiment::reducedDimNames(object)
}

# Cells x dimensions, in the order of the object's cells.
reduction_of <- function(object, name) {
  at <- if (inherits(object, "Seurat")) {
    rows <- SeuratObject::Embeddings(object[[name]])
    rows[match(colnames(object), rownames(rows)), , drop = FALSE]
  } else {
    as.matrix(SingleCellExperiment::reducedDim(object, name))
  }
  if (!is_finite_matrix(at)) {
    stop("the reduction '", name, "' has values that are missing, infinite or no numbers, so ",
         "cells cannot be found by it; remove it and call what made it again.", call. = FALSE)
  }
  at
}

# All results of new cells; store_seurat() alone, and store_sce(), after clustering again.
store_all_seurat <- function(object, result, assay, cluster.name, reduction.name, reduction.key) {
  warn_of_lost_names(object, cluster.name, levels(result$clusters))
  object <- without_umap(object) # of the earlier latent space
  outlier <- outlier_name(cluster.name)
  if (!is.null(result$outlier) || outlier %in% earlier_seurat(object)$columns) {
    object[[outlier]] <- result$outlier # of a fit: none
  }
  object[[reduction.name]] <- SeuratObject::CreateDimReducObject(
    embeddings = result$embedding, key = reduction.key, assay = assay
  )
  for (column in names(result$predicted)) {
    object[[column]] <- setNames(result$predicted[[column]], colnames(object))
  }
  result$assay <- assay
  store_seurat(object, result, cluster.name, reduction.name)
}

store_all_sce <- function(object, result, cluster.name, reduction.name) {
  warn_of_lost_names(object, cluster.name, levels(result$clusters))
  object <- without_umap(object) # of the earlier latent space
  outlier <- outlier_name(cluster.name)
  if (!is.null(result$outlier) || outlier %in% earlier_sce(object)$columns) {
    SummarizedExperiment::colData(object)[[outlier]] <- unname(result$outlier) # of a fit: none
  }
  SingleCellExperiment::reducedDim(object, reduction.name) <- result$embedding
  for (column in names(result$predicted)) {
    SummarizedExperiment::colData(object)[[column]] <- result$predicted[[column]]
  }
  store_sce(object, result, cluster.name, reduction.name)
}

store_seurat <- function(object, result, cluster.name, reduction.name) {
  cells <- colnames(object)
  object[[cluster.name]] <- setNames(result$clusters, cells)
  object[[confidence_name(cluster.name)]] <- setNames(result$confidence, cells)
  SeuratObject::Idents(object) <- setNames(result$clusters, cells)
  # `Tool<-` names the entry after its caller, which ReclusterBGFormer() would change
  slot(object, "tools")[[tool_name]] <- kept(result, cluster.name, reduction.name,
                                             earlier = earlier_seurat(object))
  object
}

store_sce <- function(object, result, cluster.name, reduction.name) {
  cells <- SummarizedExperiment::colData(object)
  cells[[cluster.name]] <- unname(result$clusters)
  cells[[confidence_name(cluster.name)]] <- unname(result$confidence)
  SummarizedExperiment::colData(object) <- cells
  earlier <- earlier_sce(object)
  others <- names(S4Vectors::metadata(object)) != "bgformer"
  S4Vectors::metadata(object) <- c(
    S4Vectors::metadata(object)[others],
    list(bgformer = kept(result, cluster.name, reduction.name, earlier))
  )
  object
}
