skip_if_not_installed("ggplot2")

object <- run(seurat_object(blood$counts), max_steps = 20)

# Draws a plot at the size that it is made for; a warning of ggplot2 would show here.
draw <- function(plot) {
  file <- tempfile(fileext = ".png")
  ggplot2::ggsave(file, plot, width = 7, height = 4.5, dpi = 50)
  testthat::expect_gt(file.size(file), 1000)
  ggplot2::ggplot_build(plot)
}

# The layer of circles, of numbers, and so on.
layer_of <- function(plot, geom) {
  at <- vapply(plot$layers, function(layer) inherits(layer$geom, geom), logical(1))
  ggplot2::layer_data(plot, which(at))
}

test_that("clusters and evidence are those of ReclusterBGFormer() at each resolution", {
  tree <- ClusterTree(object, resolutions = c(3, 0.5))
  expect_named(tree, c("nodes", "edges"))
  expect_identical(unique(tree$nodes$resolution), c(0.5, 3))
  for (resolution in c(0.5, 3)) {
    now <- ReclusterBGFormer(object, resolution = resolution)
    table <- Seurat::Tool(now, "RunBGFormer")$evidence
    here <- tree$nodes[tree$nodes$resolution == resolution, names(table)]
    expect_equal(here, table, ignore_attr = "row.names")
    expect_identical(here$n_cells, as.vector(table(now$bgformer_clusters)))
  }
  expect_equal(sum(tree$edges$n_cells), ncol(object))
  expect_equal(as.vector(tapply(tree$edges$share, tree$edges$to, sum)),
               rep(1, sum(tree$nodes$resolution == 3)))
})

test_that("a subset has the clusters of its cells, and one resolution has no edges", {
  some <- object[, object$bgformer_clusters %in% c("0", "1")]
  tree <- ClusterTree(some, resolutions = c(0.5, 3))
  expect_equal(sum(tree$edges$n_cells), ncol(some))
  now <- ReclusterBGFormer(some, resolution = 3)
  expect_identical(tree$nodes$n_cells[tree$nodes$resolution == 3],
                   as.vector(table(now$bgformer_clusters)))
  one <- ClusterTree(object, resolutions = 1)
  expect_identical(nrow(one$edges), 0L)
  expect_type(one$edges$from, "character")
  draw(ClusterTreePlot(object, resolutions = 1))
})

test_that("unassigned cells are in no cluster", {
  is_b <- blood$cell_type == "CD19+ B"
  new <- is_b | rep(c(TRUE, FALSE), length.out = 700)
  reference <- RunBGFormer(blood$counts[, !new], verbose = FALSE)
  predicted <- suppressWarnings(PredictBGFormer(blood$counts[, new], reference, verbose = FALSE))
  assigned <- sum(predicted$clusters != "unassigned")
  expect_lt(assigned, sum(new))
  tree <- ClusterTree(predicted, resolutions = c(0.5, 3))
  expect_identical(as.vector(tapply(tree$nodes$n_cells, tree$nodes$resolution, sum)),
                   rep(assigned, 2))
  draw(ClusterTreePlot(predicted))
  object <- suppressWarnings(PredictBGFormer(seurat_object(blood$counts[, new]), reference,
                                             verbose = FALSE))
  apart <- object[, object$bgformer_clusters == "unassigned"]
  expect_match(error_of(ClusterTree(apart)),
               paste("none of the", ncol(apart), "cells is in a cluster"))
})

test_that("each cluster is a circle in the row of its resolution, hollow without evidence", {
  plot <- ClusterTreePlot(object)
  draw(plot)
  nodes <- plot$data
  circles <- layer_of(plot, "GeomPoint")
  expect_identical(-circles$y, as.numeric(nodes$row)) # the lowest resolution is on top
  expect_equal(circles$x, nodes$x)
  expect_false(is.unsorted(circles$size[order(nodes$n_cells)]))
  expect_true(any(nodes$supported) && !all(nodes$supported))
  expect_identical(circles$fill == "white", !nodes$supported)
  expect_identical(layer_of(plot, "GeomText")$label, nodes$cluster)
  lines <- layer_of(plot, "GeomSegment")
  expect_true(all(paste(lines$xend, lines$yend) %in% paste(circles$x, circles$y)))
  expect_true(all(paste(lines$x, lines$y) %in% paste(circles$x, circles$y)))
  # all clusters of other rows than the first are below another
  expect_true(all(paste(circles$x, circles$y)[nodes$row > 0] %in% paste(lines$xend, lines$yend)))
  everything <- ClusterTree(object)$nodes
  kept <- merge(nodes[c("resolution", "cluster", "n_cells")], everything)
  expect_identical(nrow(kept), nrow(nodes))
})

test_that("clusters have the colours that they have in the object, and their row is marked", {
  object <- ReclusterBGFormer(object, resolution = 1)
  results <- Seurat::Tool(object, "RunBGFormer")
  plot <- ClusterTreePlot(object, resolutions = c(0.2, 1, 3))
  nodes <- plot$data
  here <- nodes[nodes$resolution == 1, ]
  expect_identical(here$colour, results$colours)
  expect_equal(unique(layer_of(plot, "GeomRect")$ymin), -(here$row[1] - 0.5))
  numbered <- ReclusterBGFormer(object, n.clusters = 4) # has no resolution
  for (other in list(ClusterTreePlot(object, resolutions = c(2, 3)), ClusterTreePlot(numbered))) {
    expect_false(any(vapply(other$layers, function(l) inherits(l$geom, "GeomRect"), logical(1))))
    draw(other)
  }
})

test_that("bad input is refused in one sentence", {
  for (ask in c(ClusterTree, ClusterTreePlot)) {
    expect_match(error_of(ask(seurat_object())), "this object has no bgformer model")
    expect_match(error_of(ask(1)), "takes what RunBGFormer\\(\\) returned")
    for (wrong in list(numeric(), c(1, -1), "1", NA_real_)) {
      expect_match(error_of(ask(object, resolutions = wrong)),
                   "resolutions must be numbers above 0")
    }
  }
})
