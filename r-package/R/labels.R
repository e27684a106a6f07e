# Labels that the user gave the cells of a reference, such as cell types, for new cells.

# The columns `labels` of a reference as factors, for its cells in the order of fitted$weights.
labels_in <- function(reference, labels, fitted) {
  if (is.null(labels)) {
    return(NULL)
  }
  if (!is.character(labels) || length(labels) == 0 || !all(vapply(labels, is_name, TRUE))) {
    stop_for("labels", labels, "the name of a column of the reference's cells, or several names")
  }
  if (inherits(reference, "bgformer")) {
    stop("labels needs cells that have them as reference: a Seurat object or a ",
         "SingleCellExperiment; a list of class 'bgformer' has none.", call. = FALSE)
  }
  cells <- cells_of(reference)
  labels <- unique(labels)
  known <- lapply(labels, label_column, cells = cells, n.anchors = ncol(fitted$weights))
  setNames(lapply(known, without_unassigned, apart = is.na(fitted$labels)), labels)
}

# Cells of no cluster tell nothing of the anchors near them, and "unassigned" is no label.
without_unassigned <- function(column, apart) {
  column[apart] <- NA
  droplevels(column, exclude = c(NA, unassigned))
}

label_column <- function(label, cells, n.anchors) {
  if (!label %in% colnames(cells)) {
    stop("labels = '", shown(label), "' is not a column of the reference's cells (there: ",
         listed(colnames(cells)), ").", call. = FALSE)
  }
  column <- cells[[label]]
  is_label <- is.factor(column) || (is.atomic(column) && is.null(dim(column)))
  if (is.numeric(column)) {
    is_label <- all(is.na(column) | column == round(column))
  }
  column <- if (is_label) droplevels(as.factor(column))
  problem <- if (!is_label) {
    "holds no labels, such as names of cell types"
  } else if (nlevels(column) == 0) {
    "has no labels"
  } else if (nlevels(column) > n.anchors) {
    paste("has", nlevels(column), "different labels, which", n.anchors, "anchors cannot tell apart")
  }
  if (!is.null(problem)) {
    stop("labels = '", shown(label), "': this column of the reference ", problem,
         "; give one with names of groups of cells.", call. = FALSE)
  }
  column
}

# Columns of the query that labels would be written over: bgformer must have written them.
check_label_columns <- function(labels, cluster.name, query) {
  earlier <- if (inherits(query, "Seurat")) earlier_seurat(query) else earlier_sce(query)
  for (label in labels) {
    if (label %in% column_names(cluster.name)) {
      stop("labels = '", shown(label), "' is where new cells get their clusters; copy that column ",
           "of the reference to another name, and give that.", call. = FALSE)
    }
    taken <- setdiff(intersect(column_names(label), colnames(cells_of(query))), earlier$columns)
    if (length(taken) > 0) {
      stop("labels = '", shown(label), "' would write over the column '", shown(taken[1]), "' of ",
           "the query, which is not from bgformer; rename that column.", call. = FALSE)
    }
  }
}

# The column of the outlier scores is bgformer's own, or not there.
check_outlier_column <- function(cluster.name, query) {
  earlier <- if (inherits(query, "Seurat")) earlier_seurat(query) else earlier_sce(query)
  column <- outlier_name(cluster.name)
  own <- c(earlier$columns, if (left_by_merge(cells_of(query))) outlier_name("bgformer_clusters"))
  if (column %in% setdiff(colnames(cells_of(query)), own)) {
    stop("the query has a column '", column, "' that is not from bgformer and would be ",
         "overwritten; rename it, or give another cluster.name.", call. = FALSE)
  }
}

# Labels and their confidence for new cells, by their weights on the reference's anchors.
predicted_labels <- function(reference, result) {
  apart <- is.na(result$labels)
  known.cells <- which(!is.na(reference$labels))
  found <- Map(function(known, label) {
    codes <- as.integer(known) - 1L
    codes[is.na(codes)] <- -1L
    answer <- ask_python(function(python) {
      python$labels(
        reference = weights_for_python(reference$weights[known.cells, , drop = FALSE]),
        codes = array(codes[known.cells]),
        n_labels = nlevels(known), weights = weights_for_python(result$weights)
      )
    })
    codes <- as.vector(answer$codes) + 1L
    codes[codes == 0L] <- NA
    missing <- is.na(codes) & !apart
    if (any(missing)) {
      warning(sum(missing), " of ", length(codes), " cells get no label of '", label,
              "', because most cells of the reference near them have none.", call. = FALSE)
    }
    found <- levels(known)[codes]
    found[apart] <- unassigned
    found <- factor(found, unique(c(levels(known), if (any(apart)) unassigned)))
    setNames(list(found, as.vector(answer$confidence)), column_names(label))
  }, reference$given, names(reference$given))
  if (length(found) > 0) {
    data.frame(do.call(c, unname(found)), check.names = FALSE)
  }
}
