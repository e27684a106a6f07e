#' Plot the cells, coloured by cluster or by confidence
#'
#' Draws the cells in a UMAP of the latent space, or along its first two principal axes.
#'
#' @param object What [RunBGFormer()] or [PredictBGFormer()] returned: a Seurat object, a
#'   SingleCellExperiment or a list of class `bgformer`.
#' @param color.by `"cluster"`, `"confidence"`, the name of a column of the cells' metadata (such as
#'   an earlier clustering), or the name of a gene, whose log-normalised counts are drawn.
#' @param reduction Name of the reduction to draw in, such as `"umap"`; its first two dimensions are
#'   drawn. For a Seurat object, `NULL` takes the UMAP (or t-SNE) that Seurat last made from these
#'   results, as by `RunUMAP(object, reduction = "bgformer", dims = 1:32)`, or else that of
#'   [RunBGFormerUMAP()]. For a SingleCellExperiment, it takes that of [RunBGFormerUMAP()], or else
#'   its `"UMAP"`, of which it is not recorded what it was made from; for a list of class
#'   `bgformer`, its `umap`. Without one, `NULL` takes the first two principal axes of the latent
#'   space. The axis titles say which it is, with the share of the variance.
#' @param label `TRUE` or `FALSE`: write the names of the clusters into the plot.
#' @param pt.size Size of the points; `NULL` chooses one by the number of cells.
#' @param ... Further arguments of [ggplot2::geom_point()], such as `alpha`.
#'
#' @return A ggplot object, to which layers, scales and themes can be added. The colours of the
#'   clusters can also be told apart by colour-blind readers, and stay with a cluster when the
#'   resolution changes. Groups of another column, such as known types, have the colours of the
#'   clusters that they share most cells with. Groups with less than 3 % of the cells are drawn last
#'   and with an outline, and the legend says how many cells each group has. Half of the colours of
#'   the confidence are for values above 0.8.
#'
#' @examplesIf bgformer_available() && requireNamespace("ggplot2", quietly = TRUE)
#' pbmc <- readRDS(system.file("extdata", "pbmc700.rds", package = "bgformer"))
#' \donttest{
#' result <- RunBGFormer(pbmc$counts, resolution = 0.8, max_steps = 20)
#' BGFormerPlot(result)
#' BGFormerPlot(result, color.by = "confidence") + ggplot2::ggtitle("700 blood cells")
#' }
#' @seealso [RunBGFormerUMAP()], [AnchorPlot()], [ResolutionPlot()], [EvidencePlot()],
#'   [ClusterTreePlot()].
#' @export
BGFormerPlot <- function(object, color.by = c("cluster", "confidence"), reduction = NULL,
                         label = TRUE, pt.size = NULL, ...) {
  check_plot(label)
  results <- results_in(object, "BGFormerPlot")
  by <- coloured_by(object, results, color.by)
  at <- plane_of(object, results, reduction)
  cells <- data.frame(x = at[, 1], y = at[, 2], colour = by$values)
  size <- if (is.null(pt.size)) point_size(nrow(cells)) else as_number(pt.size, "pt.size")
  if (size <= 0) {
    stop_for("pt.size", pt.size, "a number above 0")
  }
  drawn <- cells[drawing_order(by$values), ]
  points <- function(data = NULL) {
    ggplot2::geom_point(ggplot2::aes(colour = .data$colour), data, shape = 16, size = size, ...)
  }
  rare <- drawn[is_rare(drawn$colour), ]
  plot <- ggplot2::ggplot(drawn, ggplot2::aes(x = .data$x, y = .data$y)) + points() +
    if (nrow(rare) > 0) {
      list(ggplot2::geom_point(data = rare, shape = 16, size = size + 0.7, colour = "grey15"),
           points(rare))
    }
  plot <- plot + colour_scale(by) + plane_theme() +
    ggplot2::labs(x = colnames(at)[1], y = colnames(at)[2])
  if (label && is.factor(by$values)) {
    plot <- plot + beside_few(label_places(cells, by$values), on = 60)
  }
  plot
}

#' Plot the anchors
#'
#' Draws each anchor in the plane of [BGFormerPlot()], with the cells behind it in grey. An anchor
#' is drawn at the cell nearest to the mean of its cells. Anchors that share cells are linked, and
#' the clusters are found from these links.
#'
#' @inheritParams BGFormerPlot
#'
#' @return A ggplot object. The area of a point is the share of all cells' weight that is on the
#'   anchor, at least a twentieth of the largest, and its colour is the anchor's cluster. A line is
#'   darker the more cells two anchors share.
#'
#' @examplesIf bgformer_available() && requireNamespace("ggplot2", quietly = TRUE)
#' pbmc <- readRDS(system.file("extdata", "pbmc700.rds", package = "bgformer"))
#' \donttest{
#' AnchorPlot(RunBGFormer(pbmc$counts, resolution = 0.8, max_steps = 20))
#' }
#' @export
AnchorPlot <- function(object, reduction = NULL, label = TRUE) {
  check_plot(label)
  results <- results_in(object, "AnchorPlot")
  at <- plane_of(object, results, reduction)
  mass <- colSums(results$weights)
  anchors <- data.frame(anchor_places(results$weights, at),
                        share = pmax(mass, smallest_area * max(mass)) / sum(mass),
                        cluster = named_clusters(as.integer(results$anchor.clusters),
                                                 results$names))
  used <- mass > 0 # a subset of the cells may leave anchors without any
  links <- anchor_links(results$weights, anchors)
  plot <- ggplot2::ggplot(anchors[used, ], ggplot2::aes(x = .data$x, y = .data$y)) +
    ggplot2::geom_point(data = data.frame(x = at[, 1], y = at[, 2]), colour = "grey88",
                        shape = 16, size = point_size(nrow(at)) / 2) +
    ggplot2::geom_segment(
      ggplot2::aes(xend = .data$xend, yend = .data$yend, alpha = .data$strength), links,
      colour = "grey25", linewidth = 0.3
    ) +
    ggplot2::geom_point(ggplot2::aes(size = .data$share, fill = .data$cluster), shape = 21,
                        colour = "grey20", stroke = 0.2) +
    ggplot2::scale_fill_manual(values = colours_of(anchors$cluster, results), name = "Cluster",
                               guide = big_points(anchors$cluster, rows = 10)) +
    ggplot2::scale_size_area(limits = c(0, max(anchors$share)), name = "Share of cells",
                             max_size = 7 * min(1, sqrt(400 / sum(used))),
                             labels = percent, breaks = few_breaks,
                             guide = ggplot2::guide_legend(override.aes = list(fill = "grey40"))) +
    ggplot2::scale_alpha_continuous(range = c(0.08, 0.8), guide = "none") +
    plane_theme() + ggplot2::labs(x = colnames(at)[1], y = colnames(at)[2])
  if (label) {
    plot <- plot + beside_few(label_places(anchors[used, ], anchors$cluster[used]), on = 10)
  }
  plot
}

# For each anchor, which of its cells is nearest to their mean, and where that is; an anchor without
# cells is nowhere.
anchor_places <- function(weights, at) {
  mean <- as.matrix(Matrix::crossprod(weights, at)) / colSums(weights)
  anchor <- rep(seq_len(ncol(weights)), diff(weights@p))
  cell <- weights@i + 1L
  away <- rowSums((at[cell, , drop = FALSE] - mean[anchor, , drop = FALSE])^2)
  nearest <- order(anchor, away)
  first <- nearest[match(seq_len(ncol(weights)), anchor[nearest])]
  data.frame(x = at[cell[first], 1], y = at[cell[first], 2])
}

# Fainter links would only cover the rest.
faintest_link <- 0.15

# Pairs of anchors that share cells; a link's strength is the cosine of their weights.
anchor_links <- function(weights, anchors) {
  shared <- Matrix::summary(Matrix::triu(Matrix::crossprod(weights), 1))
  lengths <- sqrt(colSums(weights^2))
  strength <- shared$x / (lengths[shared$i] * lengths[shared$j])
  strong <- strength >= faintest_link
  pairs <- shared[strong, ]
  data.frame(x = anchors$x[pairs$i], y = anchors$y[pairs$i], xend = anchors$x[pairs$j],
             yend = anchors$y[pairs$j], strength = strength[strong])
}

#' Plot clusters and their stability over the resolution
#'
#' Clusters the anchors at each resolution, without training, and draws how many clusters there are
#' and how stable they are: the mean adjusted Rand index (1 at most) with the clusters of a
#' bootstrap sample of the cells. A flat part of the upper curve does not show that its number of
#' clusters is right: clusters of several types can be as stable as those of one. [EvidencePlot()]
#' shows what separates the clusters.
#'
#' @inheritParams BGFormerPlot
#' @param resolutions Resolutions to try; `NULL` tries several, from 0.1 to 2.
#'
#' @return A ggplot object, whose `data` has a row for each resolution and panel. The dotted line is
#'   the resolution of the clusters in the object, or their number if you gave one.
#'
#' @examplesIf bgformer_available() && requireNamespace("ggplot2", quietly = TRUE)
#' pbmc <- readRDS(system.file("extdata", "pbmc700.rds", package = "bgformer"))
#' \donttest{
#' ResolutionPlot(RunBGFormer(pbmc$counts, max_steps = 20))
#' }
#' @export
ResolutionPlot <- function(object, resolutions = NULL) {
  check_plot()
  wanted <- wanted_resolutions(resolutions)
  results <- results_in(object, "ResolutionPlot")
  answer <- ask_python(function(python) {
    python$resolutions(weights = weights_for_python(results$weights), wanted = wanted,
                       seed = results$seed)
  })
  panels <- factor(c("Clusters", "Stability"), c("Clusters", "Stability"))
  table <- data.frame(resolution = as.vector(answer$resolution),
                      value = c(answer$n_clusters, answer$stability),
                      panel = rep(panels, each = length(answer$resolution)))
  numbers <- table[table$panel == "Clusters", ]
  ggplot2::ggplot(table, ggplot2::aes(x = .data$resolution, y = .data$value)) +
    used_resolution(results, panels[1]) +
    ggplot2::geom_line(colour = distant_colours[1]) +
    ggplot2::geom_point(colour = distant_colours[1], size = 2) +
    ggplot2::geom_text(ggplot2::aes(label = .data$value), numbers, vjust = -0.8, size = 3.2) +
    ggplot2::facet_wrap("panel", ncol = 1, scales = "free_y", strip.position = "left") +
    ggplot2::scale_y_continuous(breaks = whole_breaks, expand = c(0.05, 0, 0.2, 0)) +
    ggplot2::labs(x = "Resolution", y = NULL) +
    ggplot2::theme_classic(base_size = 12) +
    ggplot2::theme(strip.background = ggplot2::element_blank(), strip.placement = "outside",
                   strip.text = ggplot2::element_text(size = 12))
}

# As Python takes them; checked here, because Python need not be started to refuse what it cannot be
# given.
wanted_resolutions <- function(resolutions) {
  if (is.null(resolutions)) {
    return(NULL)
  }
  if (!is.numeric(resolutions) || length(resolutions) == 0 ||
        !all(is.finite(resolutions) & resolutions > 0)) {
    stop_for("resolutions", resolutions, "numbers above 0")
  }
  array(sort(unique(as.numeric(resolutions))))
}

used_resolution <- function(results, panel) {
  if (is.nan(results$resolution)) {
    number <- data.frame(panel = panel, number = results$n.clusters)
    return(ggplot2::geom_hline(ggplot2::aes(yintercept = .data$number), number,
                               linetype = "dotted", colour = "grey30"))
  }
  ggplot2::geom_vline(xintercept = results$resolution, linetype = "dotted", colour = "grey30")
}

# Numbers of clusters are whole; stability, up to 1, is not.
whole_breaks <- function(limits) {
  breaks <- pretty(limits)
  if (limits[2] > 1.1) breaks[breaks == round(breaks)] else breaks
}

point_size <- function(n) {
  max(0.2, min(2, 60 / sqrt(n)))
}

percent <- function(x) {
  paste(format(100 * x, trim = TRUE), "%")
}

# Points with less are drawn with this share of the largest area, so that they are seen.
smallest_area <- 0.05

# Two or three areas are enough to read the others.
few_breaks <- function(limits) {
  breaks <- pretty(c(0, limits[2]), 3)
  breaks[breaks > 0 & breaks <= limits[2]]
}
