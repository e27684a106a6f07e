# Clusters cells with RunBGFormer() on a Seurat object, prints a table and draws two figures.
#   Rscript demo/demo.R [FILE [LABELS]]      FILE: .h5ad, 10x .h5, or .rds with a Seurat object
# Without FILE: 700 blood cells with known labels. `make demo` sets everything up and runs this.

fail <- function(...) {
  message("demo: ", ...)
  quit(status = 2)
}

arguments <- commandArgs(trailingOnly = TRUE)
path <- if (length(arguments) >= 1) path.expand(arguments[1])
labels <- if (length(arguments) >= 2) arguments[2]
kind <- if (is.null(path)) "h5ad" else tolower(tools::file_ext(path))
if (!kind %in% c("h5ad", "h5", "rds")) {
  fail(path, " is not a file type that this demo reads: give an .h5ad, a 10x .h5 or an .rds file.")
}
if (!is.null(path) && (!file.exists(path) || dir.exists(path))) {
  fail("there is no file ", path, " (working directory: ", getwd(), "); check the path.")
}

suppressPackageStartupMessages({
  library(Seurat)
  library(ggplot2)
  library(bgformer)
})
options(Seurat.limma.wilcox.msg = FALSE) # a notice, not a warning

add_known <- function(object, known) {
  if (!is.null(known)) object$known <- known
  object
}

read_seurat <- function(path) {
  object <- tryCatch(readRDS(path), error = function(e) {
    fail(path, " cannot be read as an .rds file: ", conditionMessage(e), ".")
  })
  if (!inherits(object, "Seurat")) {
    fail(path, " holds an object of class ", class(object)[1], ", not a Seurat object.")
  }
  if (!is.null(labels) && !labels %in% colnames(object[[]])) {
    fail(path, " has no column '", labels, "' of known labels; its columns are: ",
         toString(colnames(object[[]])), ".")
  }
  add_known(object, if (!is.null(labels)) as.character(object[[]][[labels]]))
}

read_with_python <- function(path) {
  reader <- reticulate::import_from_path("read_cells", "demo")
  cells <- tryCatch(reader$read_cells(path, labels), error = function(e) {
    fail(sub("^ValueError: ", "", strsplit(conditionMessage(e), "\n")[[1]][1]))
  })
  # Seurat's rule for gene names, applied here to avoid its warning
  genes <- make.unique(gsub("_", "-", cells$genes))
  counts <- new(
    "dgCMatrix", x = as.numeric(cells$x), i = as.integer(cells$i), p = as.integer(cells$p),
    Dim = c(length(genes), length(cells$cells)), Dimnames = list(genes, cells$cells)
  )
  add_known(CreateSeuratObject(counts), cells$labels)
}

cells <- if (kind == "rds") read_seurat(path) else read_with_python(path)
has_labels <- "known" %in% colnames(cells[[]])
name <- if (is.null(path)) "700 blood cells" else basename(path)
cat(sprintf("%s: %d cells, %d genes\n", name, ncol(cells), nrow(cells)))

# The clustering itself; everything after this line is ordinary Seurat.
seconds <- system.time(cells <- RunBGFormer(cells))[["elapsed"]]

cells <- NormalizeData(cells, verbose = FALSE)
cells <- RunBGFormerUMAP(cells)

blood_markers <- c(
  "CD3D", "IL32", "IL7R", "CCR7", "CD8A", "CD8B", "GZMK", "CCL5", "NKG7", "GNLY", "PRF1",
  "CD79A", "MS4A1", "TNFRSF17", "LYZ", "S100A8", "S100A9", "FCN1", "FCGR3A", "LST1",
  "HLA-DRA", "FCER1A", "CLEC10A", "IRF8", "EGFL7"
)

# The top marker genes of each cluster, at most 24 in total so that their names are readable.
strongest_genes <- function(object) {
  found <- FindAllMarkers(object, only.pos = TRUE, max.cells.per.ident = 200, verbose = FALSE)
  if (nrow(found) == 0) {
    return(head(rownames(object), 24))
  }
  each <- max(1, min(3, 24 %/% nlevels(Idents(object))))
  unique(unlist(lapply(split(found$gene, found$cluster), head, each), use.names = FALSE))
}
markers <- if (is.null(path)) blood_markers else strongest_genes(cells)

dir.create("demo/output", showWarnings = FALSE, recursive = TRUE)
save_picture <- function(file, plot, width, height) {
  file <- file.path("demo/output", file)
  ggsave(file, plot, width = width, height = height, dpi = 150, bg = "white")
  file
}

n_clusters <- nlevels(cells$bgformer_clusters)
left <- BGFormerPlot(cells) + ggtitle(sprintf("bgformer: %d clusters", n_clusters))
# known labels have the colours of the clusters that they share most cells with
right <- if (has_labels) {
  BGFormerPlot(cells, color.by = "known") + ggtitle("known labels")
} else {
  BGFormerPlot(cells, color.by = "confidence") + ggtitle("confidence")
}
pictures <- c(
  save_picture("umap.png", patchwork::wrap_plots(left, right), 12, 4.6),
  save_picture(
    "markers.png",
    # DotPlot() warns about fewer than five clusters, which is a possible result
    suppressWarnings(DotPlot(cells, features = markers, dot.scale = 7)) +
      labs(x = NULL, y = "bgformer cluster") +
      theme(axis.text.x = element_text(angle = 45, hjust = 1, size = 11)),
    11, max(4.4, 3.2 + 0.28 * n_clusters)
  )
)

if (has_labels) {
  cat("\nCells by known label (rows) and cluster (columns)\n")
  options(width = 160)
  print(unclass(table(cells$known, cells$bgformer_clusters, dnn = NULL)))
  agreement <- igraph::compare(
    as.integer(factor(cells$known)), as.integer(cells$bgformer_clusters), "adjusted.rand"
  )
  cat(sprintf("\nARI against the known labels: %.2f\n", agreement))
} else {
  cat("\nCells in each cluster\n")
  print(c(table(cells$bgformer_clusters)))
}
cat(sprintf("Time for RunBGFormer(): %.1f s\n", seconds))
report <- BGFormerReport(cells, "demo/output/report.html")
cat("Figures:", pictures, sep = "\n  ")
cat("\nReport, for a browser:", report, sep = "\n  ")
