# Where results are put in each kind of object; RunBGFormer and ReclusterBGFormer both store here.

tool_name <- "RunBGFormer"

# What is kept beside the cells' columns: all that ReclusterBGFormer() needs.
kept <- function(result, cluster.name) {
  result <- unclass(result)
  result[c("clusters", "confidence", "embedding")] <- NULL
  c(result, cluster.name = cluster.name)
}

confidence_name <- function(cluster.name) {
  paste0(sub("_clusters$", "", cluster.name), "_confidence")
}

store_seurat <- function(object, result, cluster.name) {
  cells <- colnames(object)
  object[[cluster.name]] <- setNames(result$clusters, cells)
  object[[confidence_name(cluster.name)]] <- setNames(result$confidence, cells)
  SeuratObject::Idents(object) <- setNames(result$clusters, cells)
  # `Tool<-` names the entry after its caller, which ReclusterBGFormer() would change
  slot(object, "tools")[[tool_name]] <- kept(result, cluster.name)
  object
}

store_sce <- function(object, result, cluster.name) {
  cells <- SummarizedExperiment::colData(object)
  cells[[cluster.name]] <- unname(result$clusters)
  cells[[confidence_name(cluster.name)]] <- unname(result$confidence)
  SummarizedExperiment::colData(object) <- cells
  S4Vectors::metadata(object)$bgformer <- kept(result, cluster.name)
  object
}
