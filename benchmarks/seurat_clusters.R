# Cluster counts with Seurat at several resolutions. peers.py calls it as
#   Rscript benchmarks/seurat_clusters.R FOLDER SEED RESOLUTION...
# It reads FOLDER/counts.mtx (genes x cells). It writes FOLDER/clusters.csv, with a column for each
# resolution, and FOLDER/seconds.csv, with the seconds of FindClusters at each.
# Everything else is at the defaults of Seurat 4.3: 2000 variable genes (vst), 50 PCs (FindNeighbors
# uses the first 10), 20 neighbours, Louvain.

arguments <- commandArgs(trailingOnly = TRUE)
folder <- arguments[1]
seed <- as.integer(arguments[2])
resolutions <- arguments[-(1:2)]
suppressPackageStartupMessages(library(Seurat))

counts <- as(Matrix::readMM(file.path(folder, "counts.mtx")), "CsparseMatrix")
dimnames(counts) <- list(paste0("gene", seq_len(nrow(counts))),
                         paste0("cell", seq_len(ncol(counts))))
object <- CreateSeuratObject(counts)
object <- NormalizeData(object, verbose = FALSE)
object <- FindVariableFeatures(object, verbose = FALSE)
object <- ScaleData(object, verbose = FALSE)
object <- RunPCA(object, seed.use = seed, verbose = FALSE)
object <- FindNeighbors(object, verbose = FALSE)

clusters <- list()
seconds <- list()
for (resolution in resolutions) {
  started <- proc.time()[["elapsed"]]
  object <- FindClusters(object, resolution = as.numeric(resolution), random.seed = seed,
                         verbose = FALSE)
  seconds[[resolution]] <- proc.time()[["elapsed"]] - started
  clusters[[resolution]] <- as.character(Idents(object))
}
write.csv(data.frame(clusters, check.names = FALSE), file.path(folder, "clusters.csv"),
          row.names = FALSE)
write.csv(data.frame(seconds, check.names = FALSE), file.path(folder, "seconds.csv"),
          row.names = FALSE)
