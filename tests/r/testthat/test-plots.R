skip_if_not_installed("ggplot2")
skip_if_not_installed("ggrepel")

object <- run(seurat_object(), max_steps = 20, n.clusters = 3)
with_umap <- suppressWarnings(
  Seurat::RunUMAP(object, reduction = "bgformer", dims = 1:10, verbose = FALSE)
)

# Draws a plot for real; a warning or an error of ggplot2 would show here.
draw <- function(plot) {
  testthat::expect_s3_class(plot, "ggplot")
  file <- tempfile(fileext = ".png")
  ggplot2::ggsave(file, plot, width = 4, height = 4, dpi = 50)
  testthat::expect_gt(file.size(file), 1000)
  ggplot2::ggplot_build(plot)
}

# The layers whose data have the column.
layers_with <- function(built, column) {
  Filter(function(data) column %in% names(data), built$data)
}

test_that("cells are drawn in the UMAP made from these results, in the clusters' colours", {
  plot <- BGFormerPlot(with_umap)
  expect_identical(plot$labels$x, "UMAP 1")
  built <- draw(plot)
  points <- built$data[[1]]
  umap <- Seurat::Embeddings(with_umap, "umap")
  expect_setequal(points$x, unname(umap[, 1]))
  cell <- match(points$x, umap[, 1])
  expect_identical(nrow(unique(data.frame(points$colour, with_umap$bgformer_clusters[cell]))), 3L)
  expect_length(unique(points$colour), 3)
  labels <- layers_with(built, "label")[[1]]
  expect_identical(labels$label, c("0", "1", "2"))
  nearest <- match(labels$x, umap[, 1]) # each label is on a cell of its cluster
  expect_identical(as.character(with_umap$bgformer_clusters[nearest]), labels$label)
})

test_that("without a UMAP of these results the plane is the latent's, and the axes say so", {
  axis <- "^Latent principal axis 1 \\([0-9]+ %\\)$"
  expect_match(BGFormerPlot(object)$labels$x, axis)
  expect_match(BGFormerPlot(run(sce_object()))$labels$x, axis)
  expect_match(BGFormerPlot(run(counts))$labels$x, axis)
  # of a later run: the UMAP shows an earlier latent space
  expect_match(BGFormerPlot(run(with_umap))$labels$x, axis)
  # of something else, under the same name
  other <- Seurat::RunPCA(Seurat::ScaleData(Seurat::NormalizeData(with_umap, verbose = FALSE),
                                            verbose = FALSE),
                          features = rownames(counts), npcs = 5, verbose = FALSE)
  other <- Seurat::RunUMAP(other, reduction = "pca", dims = 1:5, verbose = FALSE)
  expect_match(BGFormerPlot(other)$labels$x, axis)
  expect_identical(BGFormerPlot(other, reduction = "umap")$labels$x, "UMAP 1")
})

test_that("a SingleCellExperiment is drawn in the reduction that is named", {
  sce <- run(sce_object())
  at <- matrix(seq_len(2 * ncol(counts)), ncol = 2)
  SingleCellExperiment::reducedDim(sce, "UMAP") <- at
  plot <- BGFormerPlot(sce)
  expect_identical(plot$labels$y, "UMAP 2")
  expect_setequal(draw(plot)$data[[1]]$y, at[, 2])
  expect_match(error_of(BGFormerPlot(sce, reduction = "TSNE")),
               "reduction 'TSNE' is not in the object \\(there: 'BGFORMER', 'UMAP'\\)")
})

test_that("the confidence has a scale from 0 to 1", {
  plot <- BGFormerPlot(with_umap, color.by = "confidence")
  expect_identical(plot$scales$get_scales("colour")$limits, c(0, 1))
  draw(plot)
})

test_that("cells are coloured by a column, an earlier clustering, or a gene", {
  by_donor <- draw(BGFormerPlot(with_umap, color.by = "donor"))
  expect_length(unique(by_donor$data[[1]]$colour), 2)
  finer <- ReclusterBGFormer(with_umap, n.clusters = 5, cluster.name = "five")
  expect_length(unique(draw(BGFormerPlot(finer, color.by = "five"))$data[[1]]$colour), 5)
  three <- draw(BGFormerPlot(finer, color.by = "bgformer_clusters"))
  expect_length(unique(three$data[[1]]$colour), 3)
  values <- BGFormerPlot(with_umap, color.by = "LYZ")$data$colour
  lyz <- counts["LYZ", ]
  expect_identical(sum(values > 0), sum(lyz > 0))
  expect_false(is.unsorted(values)) # cells that express it are drawn last
  sce <- BGFormerPlot(run(sce_object(), max_steps = 20, n.clusters = 3), color.by = "LYZ")
  expect_equal(sort(sce$data$colour), values)
  expect_match(error_of(BGFormerPlot(with_umap, color.by = "nothing")),
               "color.by = 'nothing' is neither a column of the cells' metadata nor a gene")
  expect_match(error_of(BGFormerPlot(run(counts), color.by = "LYZ")), "a list of class 'bgformer'")
})

test_that("rare clusters are drawn last, and the legend counts", {
  fit <- run(blood$counts, max_steps = 20, resolution = 1)
  plot <- BGFormerPlot(fit)
  sizes <- table(fit$clusters)
  rare <- names(sizes)[sizes < 0.03 * sum(sizes)]
  expect_gt(length(rare), 0)
  expect_setequal(utils::tail(as.character(plot$data$colour), sum(sizes[rare])), rare)
  labels <- plot$scales$get_scales("colour")$labels
  expect_identical(labels[1], paste0("0 (", sizes[[1]], ")"))
  layers <- draw(plot)$data # all cells, then the rare ones in front of an outline
  expect_identical(vapply(layers[2:3], nrow, 1L), rep(sum(sizes[rare]), 2))
  expect_gt(layers[[2]]$size[1], layers[[3]]$size[1])
  expect_setequal(layers[[3]]$colour, layers[[1]]$colour[utils::tail(seq_along(fit$clusters),
                                                                     sum(sizes[rare]))])
})

test_that("known types have the colours of the clusters that they share most cells with", {
  typed <- object
  typed$known <- c("T", "B", "other")[as.integer(typed$bgformer_clusters)]
  typed$known[1:5] <- "few"
  own <- setNames(Seurat::Tool(typed, "RunBGFormer")$colours, c("T", "B", "other"))
  plot <- BGFormerPlot(typed, color.by = "known")
  drawn <- plot$scales$get_scales("colour")$palette(4)
  expect_identical(drawn[names(own)], own)
  expect_false(drawn[["few"]] %in% own) # no cluster is mostly of these
})

test_that("the label of a group in several parts is on one of them", {
  at <- data.frame(x = c(seq(0, 1, 0.1), seq(9, 10, 0.2)), y = 0)
  place <- bgformer:::label_places(at, factor(rep("a", nrow(at))))
  expect_identical(place$x, 0.5)
})

test_that("a cluster keeps its colour when the resolution changes", {
  colour_of <- function(object) {
    data <- BGFormerPlot(object, label = FALSE)
    drawn <- ggplot2::layer_data(data)
    setNames(drawn$colour, paste(drawn$x, drawn$y))
  }
  finer <- ReclusterBGFormer(with_umap, n.clusters = 4)
  before <- colour_of(with_umap)
  after <- colour_of(finer)[names(before)]
  expect_gt(mean(before == after), 0.6)
  expect_length(unique(after), 4)
})

test_that("names that were given to the clusters are drawn, and plots can be added to", {
  named <- with_umap
  levels(named$bgformer_clusters) <- c("T", "B", "monocytes")
  plot <- BGFormerPlot(named, label = FALSE) + ggplot2::ggtitle("blood")
  expect_identical(plot$labels$title, "blood")
  expect_identical(plot$scales$get_scales("colour")$palette(3)[["monocytes"]], "#009E73")
  expect_length(layers_with(draw(plot), "label"), 0)
})

test_that("anchors are drawn by their mass, in their clusters' colours, and linked", {
  built <- draw(AnchorPlot(with_umap))
  kept <- Seurat::Tool(with_umap, "RunBGFormer")
  points <- layers_with(built, "stroke")
  anchors <- points[[length(points)]]
  mass <- Matrix::colSums(kept$weights)
  expect_identical(nrow(anchors), sum(mass > 0))
  shares <- pmax(mass[mass > 0] / max(mass), 0.05) # the smallest are still seen
  expect_equal(anchors$size / max(anchors$size), unname(sqrt(shares)))
  expect_length(unique(anchors$fill), 3)
  umap <- Seurat::Embeddings(with_umap, "umap")
  cell <- match(anchors$x, umap[, 1]) # each anchor is at a cell of its own
  expect_true(all(kept$weights[cbind(cell, which(mass > 0))] > 0))
  links <- layers_with(built, "xend")[[1]]
  expect_gt(nrow(links), 0)
  ends <- paste(links$xend, links$yend)
  expect_true(all(ends %in% paste(anchors$x, anchors$y)))
})

test_that("a subset, a prediction and a list have anchors too", {
  draw(AnchorPlot(with_umap[, 1:30]))
  draw(AnchorPlot(PredictBGFormer(counts[, 1:50], object)))
  draw(AnchorPlot(run(sce_object()), label = FALSE))
})

test_that("clusters and stability are drawn over the resolutions", {
  plot <- ResolutionPlot(ReclusterBGFormer(object, resolution = 0.5), resolutions = c(2, 0.5))
  built <- draw(plot)
  table <- plot$data
  expect_identical(table$resolution, c(0.5, 2, 0.5, 2))
  at_half <- table$value[table$panel == "Clusters"][1]
  found <- nlevels(ReclusterBGFormer(object, resolution = 0.5)$bgformer_clusters)
  expect_equal(at_half, found)
  stability <- table$value[table$panel == "Stability"]
  expect_true(all(stability > 0 & stability <= 1))
  expect_identical(unique(layers_with(built, "xintercept")[[1]]$xintercept), 0.5)
  # clusters by number have no resolution: the number is marked
  numbered <- draw(ResolutionPlot(object, resolutions = c(0.5, 2)))
  expect_identical(layers_with(numbered, "yintercept")[[1]]$yintercept, 3)
})

test_that("the evidence for each cluster is drawn, of every kind of object", {
  fine <- ReclusterBGFormer(object, resolution = 3)
  table <- Seurat::Tool(fine, "RunBGFormer")$evidence
  table <- table[order(-table$n_cells), ]
  built <- draw(EvidencePlot(fine))
  points <- layers_with(built, "stroke")
  points <- points[[length(points)]]
  expect_equal(points$x, table$links)
  expect_equal(points$y, sqrt(table$n_markers))
  expect_equal(points$size / max(points$size),
               sqrt(pmax(table$n_cells / max(table$n_cells), 0.05)))
  expect_length(unique(points$fill), length(unique(table$gap)))
  labels <- Filter(function(data) nrow(data) == nrow(table), layers_with(built, "label"))[[1]]$label
  nearest <- setNames(table$nearest, table$cluster)
  mutual <- nearest[as.character(nearest)] == names(nearest)
  expect_setequal(labels[!mutual], paste(names(nearest), ">", nearest)[!mutual])
  both <- strsplit(setdiff(labels[mutual], ""), " <> ") # named once
  expect_setequal(unlist(both), names(nearest)[mutual])
  expect_length(both, sum(mutual) / 2)
  expect_identical(layers_with(built, "xintercept")[[1]]$xintercept, c(0.08, 0.16))

  named <- object
  levels(named$bgformer_clusters) <- c("T", "B", "monocytes")
  expect_identical(levels(EvidencePlot(named)$data$cluster), c("T", "B", "monocytes"))
  draw(EvidencePlot(ReclusterBGFormer(run(sce_object()), n.clusters = 2), label = FALSE))
  draw(EvidencePlot(PredictBGFormer(counts[, 1:50], object)))
  expect_match(error_of(EvidencePlot(ReclusterBGFormer(object, n.clusters = 1))),
               "there is only one cluster")
})

test_that("of a subset, its own clusters are drawn", {
  some <- object[, object$bgformer_clusters != "1"]
  drawn <- EvidencePlot(some)$data
  sizes <- table(some$bgformer_clusters)
  expect_setequal(as.character(drawn$cluster), c("0", "2"))
  expect_identical(drawn$n_cells, as.vector(sizes[as.character(drawn$cluster)]))
})

test_that("of cells of no cluster, no evidence is drawn", {
  is_b <- blood$cell_type == "CD19+ B"
  new <- is_b | rep(c(TRUE, FALSE), length.out = 700)
  reference <- RunBGFormer(blood$counts[, !new], verbose = FALSE)
  predicted <- suppressWarnings(PredictBGFormer(seurat_object(blood$counts[, new]), reference,
                                                verbose = FALSE))
  apart <- predicted[, predicted$bgformer_clusters == "unassigned"]
  expect_gt(ncol(apart), 10)
  expect_match(error_of(EvidencePlot(apart)),
               paste("none of the", ncol(apart), "cells is in a cluster that EvidencePlot"))
  divided <- SubclusterBGFormer(object, cluster = "0", n.clusters = 2, verbose = FALSE)
  other <- divided[, divided$bgformer_clusters == "1"]
  expect_match(error_of(EvidencePlot(other, cluster.name = "bgformer_subclusters")),
               "none of the [0-9]+ cells is in a cluster")
})

test_that("the evidence of subclusters is drawn", {
  divided <- SubclusterBGFormer(object, cluster = "0", n.clusters = 3, verbose = FALSE)
  divided <- SubclusterBGFormer(divided, cluster = "1", n.clusters = 2, verbose = FALSE)
  plot <- EvidencePlot(divided, cluster.name = "bgformer_subclusters")
  draw(plot)
  expect_setequal(as.character(plot$data$cluster), c("0.0", "0.1", "0.2", "1.0", "1.1"))
  sizes <- table(divided$bgformer_subclusters)
  expect_identical(plot$data$n_cells, as.vector(sizes[as.character(plot$data$cluster)]))
  part <- divided[, divided$bgformer_subclusters == "0.1"]
  expect_identical(nrow(EvidencePlot(part, cluster.name = "bgformer_subclusters")$data), 1L)
  expect_match(error_of(EvidencePlot(divided, cluster.name = "donor")),
               "'donor' is not a column of subclusters \\(there: 'bgformer_subclusters'\\)")
  whole <- suppressWarnings(SubclusterBGFormer(object, cluster = "0", n.clusters = 1,
                                               verbose = FALSE))
  expect_match(error_of(EvidencePlot(whole, cluster.name = "bgformer_subclusters")),
               "has no evidence, because no cluster was divided")
})

test_that("the colours are told apart by colour-blind eyes", {
  skip_if_not_installed("colorspace")
  colours <- bgformer:::distant_colours[1:24]
  for (seen in c(identity, colorspace::deutan, colorspace::protan, colorspace::tritan)) {
    lab <- grDevices::convertColor(t(grDevices::col2rgb(seen(colours))) / 255, "sRGB", "Lab")
    expect_gt(min(stats::dist(lab)), 9) # 2.3 can just be seen
  }
})

test_that("bad input is refused in one sentence", {
  for (plot in c(BGFormerPlot, AnchorPlot, ResolutionPlot, EvidencePlot)) {
    expect_match(error_of(plot(seurat_object())), "this object has no bgformer model")
    expect_match(error_of(plot(1)), "takes what RunBGFormer\\(\\) returned")
  }
  expect_match(error_of(BGFormerPlot(object, color.by = "sample")),
               "color.by = 'sample' is neither a column of the cells' metadata nor a gene")
  expect_match(error_of(BGFormerPlot(object, reduction = "pca")), "'pca' is not in the object")
  expect_match(error_of(BGFormerPlot(object, pt.size = "big")), "pt.size must be one number")
  expect_match(error_of(ResolutionPlot(object, resolutions = c(1, -1))),
               "resolutions must be numbers above 0")
})
