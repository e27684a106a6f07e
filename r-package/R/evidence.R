#' Plot the evidence for each cluster
#'
#' Compares each cluster with the cluster nearest to it: how many cells lie between the two, and how
#' many genes differ.
#'
#' Clusters left of the dashed line are apart from their nearest cluster: hardly a cell lies between
#' them. Clusters right of the dotted line are split only because you asked for a number or a
#' resolution; with few marker genes and no gap (a pale point), they may be parts of one type.
#'
#' Of a subset, only clusters with cells in it are drawn, and a point shows their number there.
#' Positions and colours are those of the last clustering.
#'
#' @inheritParams BGFormerPlot
#' @param cluster.name Column of subclusters that [SubclusterBGFormer()] made, such as
#'   `"bgformer_subclusters"`, to compare the parts of clusters under the names that they got there;
#'   `NULL` for the clusters.
#'
#' @return A ggplot object, whose `data` is the table of evidence with the names of the clusters. It
#'   has one point per cluster. From left to right: the share of links with the nearest cluster, 0
#'   if no cell lies between them. From bottom to top: the number of genes that tell the two apart,
#'   on a square root scale. The area is the number of cells, drawn as a twentieth of the largest if
#'   it is less, and the colour is the depth of the gap. The label "8 > 6" is of cluster 8, with 6
#'   as its nearest. Two clusters that are nearest to each other share a place and a label:
#'   "1 <> 3".
#'
#' @examplesIf bgformer_available() && requireNamespace("ggplot2", quietly = TRUE)
#' pbmc <- readRDS(system.file("extdata", "pbmc700.rds", package = "bgformer"))
#' \donttest{
#' EvidencePlot(RunBGFormer(pbmc$counts, resolution = 0.8, max_steps = 20))
#' }
#' @seealso [RunBGFormer()] describes the table.
#' @export
EvidencePlot <- function(object, label = TRUE, cluster.name = NULL) {
  check_plot(label)
  results <- results_in(object, "EvidencePlot")
  table <- if (is.null(cluster.name)) {
    evidence_of_clusters(results)
  } else {
    evidence_of_parts(object, results, cluster.name)
  }
  table <- table[table$n_cells > 0, ]
  if (nrow(table) == 0) {
    stop("none of the ", nrow(results$weights), " cells is in a cluster that EvidencePlot() has ",
         "evidence for; give cells of such clusters.", call. = FALSE)
  }
  table <- table[order(-table$n_cells), ] # small points in front
  table$area <- pmax(table$n_cells, smallest_area * max(table$n_cells))
  shares <- ask_python(function(python) python$link_shares())
  right <- max(table$links, 0.2) # room to explain the dotted line
  plot <- ggplot2::ggplot(table, ggplot2::aes(x = .data$links, y = .data$n_markers)) +
    ggplot2::geom_vline(xintercept = c(shares$island, shares$one_type),
                        linetype = c("dashed", "dotted"), colour = "grey30") +
    ggplot2::annotate("text", x = c(shares$island, shares$one_type), y = Inf, vjust = -0.4,
                      label = c("apart ", " merged by default"), hjust = c(1, 0), size = 3.2,
                      colour = "grey30") +
    ggplot2::geom_point(ggplot2::aes(size = .data$area, fill = .data$gap), shape = 21,
                        colour = "grey20", stroke = 0.3, alpha = 0.8) +
    ggplot2::scale_fill_viridis_c(limits = c(0, 1), direction = -1, name = "Depth of\nthe gap") +
    ggplot2::scale_size_area(limits = c(0, max(table$area)), max_size = largest_point,
                             name = "Cells", breaks = few_breaks,
                             labels = function(n) format(n, big.mark = ",", trim = TRUE),
                             guide = ggplot2::guide_legend(override.aes = list(fill = "grey40"))) +
    ggplot2::scale_x_continuous(limits = c(0, right), expand = c(0.1, 0, 0.05, 0)) +
    ggplot2::scale_y_sqrt(limits = c(0, max(table$n_markers, 1)), breaks = whole_breaks) +
    ggplot2::coord_cartesian(clip = "off") + ggplot2::theme_classic(base_size = 12) +
    ggplot2::theme(plot.margin = ggplot2::margin(t = 18, r = 6, b = 6, l = 6)) +
    ggplot2::labs(x = "Share of links with the nearest cluster", y = "Marker genes against it")
  if (label) {
    plot <- plot + label_layer(data.frame(x = table$links, y = table$n_markers,
                                          label = evidence_labels(table)),
                               points = largest_point * sqrt(table$area / max(table$area)))
  }
  plot
}

# Size of the largest point, as of geom_point().
largest_point <- 9

evidence_of_clusters <- function(results) {
  table <- results$evidence
  if (nrow(table) < 2) {
    stop("there is only one cluster, so EvidencePlot() has none to compare it with; call ",
         "ReclusterBGFormer() with a resolution first.", call. = FALSE)
  }
  nearest <- match(table$nearest, table$cluster)
  table$cluster <- factor(results$names, unique(results$names))
  table$nearest <- results$names[nearest]
  table$row <- seq_len(nrow(table))
  table$nearest.row <- nearest
  table$n_cells <- tabulate(results$labels, nrow(table))
  table
}

evidence_of_parts <- function(object, results, cluster.name) {
  check_name(cluster.name, "cluster.name", "the name of one column of subclusters")
  parts <- results$subclusters[[cluster.name]]
  if (is.null(parts)) {
    stop("cluster.name = '", shown(cluster.name), "' is not a column of subclusters (there: ",
         listed(names(results$subclusters)), "); SubclusterBGFormer() makes one.", call. = FALSE)
  }
  table <- parts$evidence
  if (nrow(table) == 0) {
    stop("'", shown(cluster.name), "' has no evidence, because no cluster was divided; call ",
         "SubclusterBGFormer() with a resolution first.", call. = FALSE)
  }
  column <- as.character(cells_of(object)[[cluster.name]])
  known <- c(table$cluster, parts$splits$cluster, as.character(results$clusters))
  if (length(column) > 0 && all(column %in% known)) { # parts that were renamed cannot be counted
    table$n_cells <- as.vector(table(factor(column, table$cluster)))
  }
  table$row <- seq_len(nrow(table))
  table$nearest.row <- match(table$nearest, table$cluster)
  table$cluster <- factor(table$cluster, unique(table$cluster))
  table
}

# What is written at each point. Two clusters that are nearest to each other are at one place, so
# the first of them has the label of both.
evidence_labels <- function(table) {
  other <- match(table$nearest.row, table$row)
  mutual <- !is.na(other) & table$nearest.row[other] == table$row
  first <- !mutual | seq_along(other) < other
  ifelse(first, paste(table$cluster, ifelse(mutual, "<>", ">"), table$nearest), "")
}
