# What the clusters are called: numbers by size, or names that the user gave them, in the column of
# the clusters or, with RenameIdents(), in the identities of a Seurat object.

# `fitted` with `names`, one for each cluster; several clusters may have one name. `apart` is what
# cells of no cluster are called, in their order.
with_names <- function(fitted, object) {
  numbers <- levels(fitted$anchor.clusters)
  fitted$names <- numbers
  for (given in given_names(fitted, object)) {
    names <- names_of_clusters(fitted$labels, given, numbers)
    apart <- as.character(given)[is.na(fitted$labels)]
    apart[is.na(apart)] <- unassigned
    if (!is.null(names) && !(identical(names, numbers) && all(apart == unassigned))) {
      fitted$names <- names
      fitted$apart <- apart
      break
    }
  }
  fitted
}

# Where names may be, first the place that counts if there are several.
given_names <- function(fitted, object) {
  if (inherits(object, "bgformer")) {
    return(list(object$clusters))
  }
  column <- cells_of(object)[[fitted$cluster.name]]
  if (!inherits(object, "Seurat")) {
    return(list(column))
  }
  identities <- SeuratObject::Idents(object)
  # a single identity is that of the project, not of the clusters
  list(if (length(unique(identities)) > 1) identities, column)
}

# What cells are called that are of no cluster.
unassigned <- "unassigned"

# A name for each cluster; NULL if cells of one cluster have several. Cells of none count for none.
names_of_clusters <- function(labels, given, numbers) {
  if (length(given) != length(labels)) {
    return(NULL)
  }
  pairs <- unique(data.frame(label = labels, name = as.character(given))[!is.na(labels), ])
  if (anyNA(pairs$name) || anyDuplicated(pairs$label)) {
    return(NULL)
  }
  numbers[pairs$label] <- pairs$name
  numbers
}

# Names that only the identities hold go into the column, because the identities are about to be
# those of other clusters.
keep_names <- function(object, fitted) {
  if (fitted$cluster.name %in% colnames(object[[]])) {
    column <- object[[]][[fitted$cluster.name]]
    named <- named_clusters(fitted$labels, fitted$names, fitted$apart)
    numbers <- levels(fitted$anchor.clusters)
    if (!is.null(names_of_clusters(fitted$labels, column, numbers)) &&
          !identical(as.character(column), as.character(named))) {
      object[[fitted$cluster.name]] <- setNames(named, colnames(object))
    }
  }
  object
}

# The clusters of cells by their names, given their numbers from 1, or NA for cells of none, which
# are called as `apart` says.
named_clusters <- function(labels, names, apart = NULL) {
  found <- names[labels]
  found[is.na(labels)] <- if (is.null(apart)) unassigned else apart
  factor(found, levels = unique(c(names, found[is.na(labels)])))
}

# Clusters that the user has changed cell by cell are not overwritten.
check_unchanged <- function(fitted, object, cluster.name) {
  column <- if (identical(cluster.name, fitted$cluster.name)) cells_of(object)[[cluster.name]]
  if (is.null(column) || !is.atomic(column) || all(is.na(column))) {
    return(invisible()) # removed or destroyed: it is made again
  }
  if (is.null(names_of_clusters(fitted$labels, column, levels(fitted$anchor.clusters)))) {
    stop("the clusters in '", cluster.name, "' have been changed cell by cell since, and would be ",
         "overwritten; give cluster.name, the name of another column.", call. = FALSE)
  }
}

# Names that the user gave to clusters that are about to be overwritten, by a new run or by other
# cells' clusters. R's objects are overwritten when asked to, so it is said and not refused.
warn_of_lost_names <- function(object, cluster.name, now) {
  kept <- if (inherits(object, "Seurat")) kept_seurat(object) else kept_sce(object)
  before <- as.character(unique(cells_of(object)[[cluster.name]]))
  if (is_ours(kept) && identical(kept$cluster.name, cluster.name)) {
    before <- union(before, tryCatch(with_names(fitted_for(kept, object), object)$names,
                                     error = function(e) NULL))
  }
  lost <- setdiff(before[!is.na(before) & !grepl("^[0-9]+$", before)], c(now, unassigned))
  if (length(lost) > 0) {
    warning("the clusters in '", cluster.name, "' are overwritten, and with them the names ",
            listed(lost), ".", call. = FALSE)
  }
}

# The table of the cells' columns.
cells_of <- function(object) {
  if (inherits(object, "Seurat")) object[[]] else SummarizedExperiment::colData(object)
}
