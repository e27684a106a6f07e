# Draw the figures of markers.py in R, with Seurat's plots after RunBGFormer().
#   Rscript benchmarks/markers.R [FOLDER]
# Run it from the root of the repository. It reads pbmc3k.h5ad from the folder in the environment
# variable BGFORMER_DATA, and writes pbmc3k-markers.png and pbmc3k-umap.png to FOLDER (default:
# demo/output).

arguments <- commandArgs(trailingOnly = TRUE)
folder <- if (length(arguments) > 0) arguments[1] else file.path("demo", "output")
path <- file.path(Sys.getenv("BGFORMER_DATA"), "pbmc3k.h5ad")
if (!file.exists(path)) {
  stop("there is no file '", path, "'; set BGFORMER_DATA to its folder.", call. = FALSE)
}

suppressPackageStartupMessages({
  library(Seurat)
  library(ggplot2)
  library(bgformer)
})
options(Seurat.warn.umap.uwot = FALSE) # a notice, not a warning

read <- reticulate::import_from_path("read_cells", "demo")$read_cells(path, "cell_type")
cells <- CreateSeuratObject(new(
  "dgCMatrix", x = as.numeric(read$x), i = as.integer(read$i), p = as.integer(read$p),
  Dim = c(length(read$genes), length(read$cells)),
  Dimnames = list(gsub("_", "-", read$genes), read$cells)
))
cells$cell_type <- read$labels

cells <- RunBGFormer(cells, verbose = FALSE)
cells <- NormalizeData(cells, verbose = FALSE)
cells <- RunUMAP(
  cells, reduction = "bgformer", dims = seq_len(ncol(cells[["bgformer"]])), verbose = FALSE
)

# Textbook markers of the cell types in this set, from Seurat's tutorial on it.
markers <- list(
  "CD4 T" = c("IL7R", "CCR7", "S100A4"), "CD14+ Mono" = c("CD14", "LYZ"), "B" = "MS4A1",
  "CD8 T" = "CD8A", "FCGR3A+ Mono" = c("FCGR3A", "MS4A7"), "NK" = c("GNLY", "NKG7"),
  "DC" = c("FCER1A", "CST3"), "Platelet" = "PPBP"
)
dir.create(folder, showWarnings = FALSE, recursive = TRUE)
save_picture <- function(file, plot, width, height) {
  ggsave(file.path(folder, file), plot, width = width, height = height, dpi = 150, bg = "white")
}
# DotPlot warns if there are fewer than five clusters, which is possible here.
dots <- suppressWarnings(DotPlot(cells, features = markers)) +
  labs(x = NULL, y = "bgformer cluster") +
  theme(
    axis.text.x = element_text(angle = 45, hjust = 1),
    strip.text = element_text(angle = 90, hjust = 0, size = 10)
  )
save_picture("pbmc3k-markers.png", dots, 11, 5)
save_picture(
  "pbmc3k-umap.png",
  patchwork::wrap_plots(
    DimPlot(cells, group.by = "bgformer_clusters", label = TRUE) + NoLegend(),
    DimPlot(cells, group.by = "cell_type")
  ),
  12, 5
)
