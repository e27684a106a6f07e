#' How clusters split as the resolution grows
#'
#' Clusters the anchors at each resolution, without training, and returns where the cells of each
#' cluster come from and the evidence for each cluster: a clustering tree (Zappia and Oshlack 2018,
#' \doi{10.1093/gigascience/giy083}) with evidence. `ClusterTreePlot()` draws it.
#'
#' @inheritParams BGFormerPlot
#' @param resolutions Resolutions to cluster at; `NULL` takes eleven, from 0.1 to 5.
#'
#' @return `ClusterTree()` returns a list of two data frames.
#'
#'   `nodes` has a row for each cluster at each resolution, in ascending order:
#'   * `resolution`, `n_clusters`: the resolution and its number of clusters;
#'   * `cluster`, `n_cells`: the cluster and its number of cells. The clusters are those of
#'     [ReclusterBGFormer()] at this resolution, by their numbers: `"0"` is the largest. Unassigned
#'     cells do not count;
#'   * `parent`: the cluster at the next lower resolution that most of its cells come from; `NA` at
#'     the lowest resolution;
#'   * `nearest`, `links`, `gap`, `gap_p`, `n_markers`, `markers`: the table of evidence that
#'     [RunBGFormer()] describes;
#'   * `supported`: `FALSE` if there is no evidence for the split from the nearest cluster: they
#'     share at least 0.16 of their links, as two halves of a single type do, and there is no gap
#'     between them (p of 0.001 or more).
#'
#'   `edges` has a row for each pair of clusters at successive resolutions that share cells:
#'   * `resolution_from`, `from`: the lower resolution and the cluster there;
#'   * `resolution`, `to`: the higher resolution and the cluster there;
#'   * `n_cells`, `share`: the number of cells that are in both clusters, and their share of the
#'     cells of `to`.
#'
#'   `ClusterTreePlot()` returns a ggplot object, whose `data` are the clusters that are drawn. Each
#'   row is a resolution, with its number of clusters on the right, and each circle is a cluster. A
#'   line leads to a cluster from each cluster at the resolution before that at least a tenth of its
#'   cells come from. Wider lines have more cells, and darker ones a larger share of the cluster. A
#'   hollow circle with dashed lines is a cluster without evidence (`supported` is `FALSE`). The
#'   largest part of a cluster has its colour, and the clusters in the object have their own
#'   colours; the row with their resolution is grey. Resolutions that give the same clusters share a
#'   row. Sizes suit a figure of about 7 x 4.5 inches; in one with very many clusters, numbers that
#'   do not fit into their circle are left out.
#'
#' @examplesIf bgformer_available() && requireNamespace("ggplot2", quietly = TRUE)
#' pbmc <- readRDS(system.file("extdata", "pbmc700.rds", package = "bgformer"))
#' \donttest{
#' result <- RunBGFormer(pbmc$counts, max_steps = 20)
#' tree <- ClusterTree(result)
#' subset(tree$nodes, !supported)
#' ClusterTreePlot(result)
#' }
#' @seealso [ReclusterBGFormer()] for the clusters at one of the resolutions, [EvidencePlot()] for
#'   their evidence.
#' @export
ClusterTree <- function(object, resolutions = NULL) {
  wanted <- wanted_resolutions(resolutions)
  tree <- tree_of(results_in(object, "ClusterTree"), wanted)
  list(nodes = tree$nodes, edges = tree$edges)
}

#' @rdname ClusterTree
#' @export
ClusterTreePlot <- function(object, resolutions = NULL) {
  check_plot()
  wanted <- wanted_resolutions(resolutions)
  results <- results_in(object, "ClusterTreePlot")
  drawing <- tree_of(results, wanted)$drawing
  rows <- drawing$rows
  rows$row <- seq_len(nrow(rows)) - 1
  unit <- min(largest_circle, page_width / drawing$width, page_height / nrow(rows))
  nodes <- drawing$nodes
  # none if a number of clusters was asked for: the resolution is NaN then
  used <- rows[which(rows$lowest <= results$resolution & results$resolution <= rows$highest), ]
  ggplot2::ggplot(nodes, ggplot2::aes(x = .data$x, y = .data$row)) +
    used_row(used, results$n.clusters) + tree_edges(drawing, unit) + tree_nodes(nodes) +
    tree_numbers(nodes, nodes$diameter * unit) +
    ggplot2::scale_size_continuous(
      name = "Cells", range = c(drawing$smallest, 1) * unit / points_of_size, breaks = few_breaks,
      limits = c(0, max(nodes$n_cells)),
      labels = function(n) format(n, big.mark = ",", trim = TRUE),
      guide = ggplot2::guide_legend(override.aes = list(fill = "grey50", colour = "grey50"),
                                    order = 1)
    ) +
    ggplot2::scale_x_continuous(limits = c(0, drawing$width), breaks = NULL, expand = c(0, 0)) +
    ggplot2::scale_y_reverse(
      breaks = rows$row, labels = rows$label, limits = c(max(rows$row) + 0.5, -0.5),
      expand = c(0, 0), sec.axis = ggplot2::dup_axis(labels = rows$n_clusters, name = "Clusters")
    ) +
    ggplot2::coord_cartesian(clip = "off") + ggplot2::labs(x = NULL, y = "Resolution") +
    ggplot2::theme_classic(base_size = 12) +
    ggplot2::theme(axis.line = ggplot2::element_blank(), axis.ticks = ggplot2::element_blank(),
                   legend.title = ggplot2::element_text(size = 10),
                   legend.key.width = grid::unit(24, "pt"))
}

# In points: the largest circle, the room for circles in a figure of 7 x 4.5 inches, and the width
# of an edge with as many cells as the largest cluster.
largest_circle <- 20
page_width <- 300
page_height <- 0.7 * 300
widest_edge <- 5
# In points: the diameter of a circle of size 1, and the width of a line of linewidth 1.
points_of_size <- 0.75 * 72.27 / 25.4
points_of_linewidth <- 72.27 / 25.4 * 72 / 96

# The row of the resolution of the clusters in the object, of which splits may have been refused.
used_row <- function(row, n.clusters) {
  if (nrow(row) == 0) {
    return(NULL)
  }
  row$said <- if (row$n_clusters == n.clusters) {
    "stored clusters"
  } else {
    paste0("stored resolution\n(", n.clusters, " clusters)")
  }
  list(
    ggplot2::geom_rect(
      ggplot2::aes(ymin = .data$row - 0.5, ymax = .data$row + 0.5, xmin = -Inf, xmax = Inf,
                   fill = .data$said), row, inherit.aes = FALSE
    ),
    ggplot2::scale_fill_manual(values = setNames("grey93", row$said), name = NULL,
                               guide = ggplot2::guide_legend(order = 4))
  )
}

# Edges with most of a cluster's cells are in front.
tree_edges <- function(drawing, unit) {
  edges <- drawing$edges[order(drawing$edges$share), ]
  to <- match(paste(edges$row, edges$to), paste(drawing$nodes$row, drawing$nodes$cluster))
  edges$supported <- factor(drawing$nodes$supported[to], c(TRUE, FALSE))
  width <- widest_edge * sqrt(edges$n_cells / max(drawing$nodes$n_cells)) * unit / largest_circle
  list(
    ggplot2::geom_segment(
      ggplot2::aes(x = .data$x_from, y = .data$row - 1, xend = .data$x, yend = .data$row,
                   colour = .data$share, linetype = .data$supported), edges,
      linewidth = pmax(width, 0.6) / points_of_linewidth
    ),
    ggplot2::scale_colour_gradient(
      low = "grey85", high = "grey35", limits = c(0, 1), breaks = c(1, 0.2),
      labels = c("100 %", "20 %"), name = "Share of a\ncluster's cells",
      guide = ggplot2::guide_legend(override.aes = list(linewidth = 1.2), order = 2)
    )
  )
}

tree_nodes <- function(nodes) {
  # one legend for shape and line, because title and labels are the same
  scale <- function(of, with, without, ...) {
    guide <- ggplot2::guide_legend(order = 3, ...)
    of(values = c("TRUE" = with, "FALSE" = without), name = NULL, breaks = "FALSE",
       labels = "split without\nevidence", guide = if (all(nodes$supported)) "none" else guide)
  }
  list(
    ggplot2::geom_point(
      ggplot2::aes(size = .data$n_cells, shape = factor(.data$supported, c(TRUE, FALSE))),
      fill = ifelse(nodes$supported, nodes$colour, "white"),
      colour = ifelse(nodes$supported, "grey20", nodes$colour),
      stroke = ifelse(nodes$supported, 0.2, 0.9)
    ),
    scale(ggplot2::scale_shape_manual, 21, 21, override.aes = list(size = 3.5, stroke = 0.9)),
    scale(ggplot2::scale_linetype_manual, "solid", "22")
  )
}

# `room` is the diameter of each circle, in points.
tree_numbers <- function(nodes, room) {
  font <- min(max(0.75 * min(room), 5), 7)
  fits <- nchar(nodes$cluster) * 0.62 * font <= room
  light <- c(0.299, 0.587, 0.114) %*% grDevices::col2rgb(nodes$colour) / 255
  colour <- ifelse(nodes$supported & light < 0.55, "white", "black")
  ggplot2::geom_text(ggplot2::aes(label = .data$cluster), nodes[fits, ], size = font * 25.4 / 72.27,
                     colour = colour[fits])
}

tree_of <- function(results, wanted) {
  answer <- ask_python(function(python) {
    python$tree(weights = weights_for_python(results$weights), wanted = wanted,
                seed = results$seed, model = results$model, before = before_for_python(results))
  })
  drawing <- answer$drawing
  list(nodes = as_nodes(answer$nodes), edges = as_edges(answer$edges),
       drawing = list(rows = as_table(drawing$rows, c("row", "n_clusters")),
                      nodes = as_nodes(drawing$nodes), edges = as_edges(drawing$edges),
                      width = drawing$width, smallest = drawing$smallest))
}

as_nodes <- function(columns) {
  table <- as_table(columns, c("n_clusters", "n_cells", "n_markers", "row"))
  table$parent[table$parent == ""] <- NA
  table$supported <- table$supported == 1
  table
}

as_edges <- function(columns) {
  table <- as_table(columns, c("n_cells", "row"))
  for (column in intersect(c("from", "to"), names(table))) {
    table[[column]] <- as.character(table[[column]]) # without rows, Python's list is of no type
  }
  table
}

as_table <- function(columns, whole) {
  table <- as.data.frame(lapply(columns, function(column) as.vector(unlist(column))))
  counted <- intersect(whole, names(table))
  table[counted] <- lapply(table[counted], as.integer)
  table
}
