# What plots are coloured by: clusters, confidence, any column of the cells' metadata, or a gene.

# The values of `color.by` for each cell, and what the legend calls them.
coloured_by <- function(object, results, color.by) {
  if (identical(color.by, c("cluster", "confidence"))) {
    color.by <- "cluster"
  }
  if (!is_name(color.by)) {
    stop_for("color.by", color.by, paste("\"cluster\", \"confidence\", the name of a column of the",
                                         "cells' metadata, or of a gene"))
  }
  columns <- if (inherits(object, "bgformer")) NULL else cells_of(object)
  if (color.by %in% colnames(columns)) {
    values <- columns[[color.by]]
    values <- if (is.numeric(values)) values else as.factor(values)
    title <- color.by
  } else if (color.by == "cluster") {
    values <- results$clusters
    title <- "Cluster"
  } else if (color.by == "confidence") {
    values <- results$confidence
    title <- "Confidence"
  } else {
    values <- expression_of(object, results, color.by)
    title <- color.by
  }
  list(values = unname(values), title = title,
       colours = if (is.factor(values)) colours_of(values, results, results$clusters))
}

# Log-normalised counts of one gene, relative to the counts of the median cell.
expression_of <- function(object, results, gene) {
  found <- if (inherits(object, "Seurat")) {
    counts_of_seurat(object, results$assay, "counts", verbose = FALSE)
  } else if (inherits(object, "SingleCellExperiment")) {
    counts_of_sce(object, NULL, "counts")
  }
  if (!gene %in% rownames(found$counts)) {
    stop("color.by = '", shown(gene), "' is neither a column of the cells' metadata nor a gene",
         if (is.null(found)) "; a list of class 'bgformer' has only \"cluster\" and \"confidence\"",
         ".", call. = FALSE)
  }
  of_gene <- totals <- numeric(ncol(found$counts))
  for (from in seq(1, ncol(found$counts), by = cells_per_block(found$counts))) {
    at <- from:min(from + cells_per_block(found$counts) - 1, ncol(found$counts))
    block <- cells_at(found$counts, at, found$where)
    of_gene[at] <- block[gene, ]
    totals[at] <- colSums(block)
  }
  log1p(of_gene / pmax(totals, 1) * stats::median(totals))
}

# The colour of cells of no cluster.
grey <- "#999999"

# The colour of each level: a cluster's own, wherever its name appears. Other groups have the colour
# of the cluster that they share most cells with, if these are half of either, or one that no
# cluster has.
colours_of <- function(values, results, clusters = NULL) {
  own <- c(setNames(results$colours, results$names), setNames(grey, unassigned))
  own <- own[!duplicated(names(own))]
  levels <- levels(values)
  if (all(levels %in% names(own))) {
    return(own[levels])
  }
  taken <- character()
  if (!any(levels %in% names(own)) && !is.null(clusters)) {
    pairs <- resembled(table(values, clusters))
    taken <- if (length(pairs) > 0) own
    own <- setNames(own[pairs], names(pairs))
  }
  own <- own[intersect(levels, names(own))]
  new <- setdiff(levels, names(own))
  free <- c(setdiff(distant_colours, c(own, taken)), setdiff(distant_colours, own), distant_colours)
  c(own, setNames(rep_len(free, length(new)), new))[levels]
}

# The cluster, by its name, of each group that has one; `shared` are the cells of both.
resembled <- function(shared) {
  pairs <- character()
  for (at in order(-shared)) {
    group <- rownames(shared)[row(shared)[at]]
    cluster <- colnames(shared)[col(shared)[at]]
    least <- min(sum(shared[group, ]), sum(shared[, cluster])) / 2
    if (shared[at] > least && !group %in% names(pairs) && !cluster %in% pairs) {
      pairs[[group]] <- cluster
    }
  }
  pairs
}

# Differences above .8 take half of the scale: most cells are there.
confidence_scale <- function() {
  ggplot2::scale_colour_gradientn(
    colours = rev(viridis_colours), values = c(0, 0.25, 0.5, 0.7, 0.8, 0.85, 0.9, 0.95, 1),
    limits = c(0, 1), breaks = c(0, 0.5, 0.8, 0.9, 1), name = "Confidence"
  )
}

viridis_colours <- c("#440154", "#472D7B", "#3B528B", "#2C728E", "#21918C", "#28AE80", "#5EC962",
                     "#ADDC30", "#FDE725")

colour_scale <- function(by) {
  if (by$title == "Confidence") {
    return(confidence_scale())
  }
  if (!is.factor(by$values)) {
    return(ggplot2::scale_colour_viridis_c(direction = -1, name = by$title))
  }
  ggplot2::scale_colour_manual(values = by$colours, name = by$title, drop = FALSE,
                               labels = counted(by$values), guide = big_points(by$values))
}

# "B cells (345)".
counted <- function(groups) {
  paste0(levels(groups), " (", format(as.vector(table(groups)), big.mark = ",", trim = TRUE), ")")
}

big_points <- function(groups, rows = 16) {
  ggplot2::guide_legend(ncol = ceiling(nlevels(groups) / rows), override.aes = list(size = 3))
}

# An order to draw cells in. Small groups come last, so that nothing hides them; high values too.
# Within a group, the order has nothing to do with that of the cells.
drawing_order <- function(values) {
  mixed <- (seq_along(values) * 0.6180339887) %% 1
  if (!is.factor(values)) {
    return(order(values, mixed, na.last = FALSE))
  }
  sizes <- as.vector(table(values)[values])
  rare <- is_rare(values)
  order(rare, -sizes * rare, mixed)
}

# Which cells are of groups with less than 3 % of them.
is_rare <- function(values) {
  if (!is.factor(values)) {
    return(rep(FALSE, length(values)))
  }
  (as.vector(table(values)[values]) < 0.03 * length(values)) %in% TRUE
}
