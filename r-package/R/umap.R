#' UMAP of the latent space
#'
#' Computes a two-dimensional UMAP (McInnes et al. 2018, arXiv:1802.03426) from the results of
#' [RunBGFormer()] or [PredictBGFormer()], in which [BGFormerPlot()] and [AnchorPlot()] then draw
#' the cells. Python's `bgf.tl.umap()` returns the same coordinates. Up to 10,000 cells are
#' optimised together. Of more cells, 3,000 landmarks are: cells of all anchors, and those furthest
#' from their anchors, which rare types can be. The other cells are then optimised among the
#' landmarks. 100,000 cells take about ten seconds.
#'
#' @param object What [RunBGFormer()] or [PredictBGFormer()] returned: a Seurat object, a
#'   SingleCellExperiment or a list of class `bgformer`.
#' @param reduction.name Name under which the UMAP is stored. A reduction that bgformer did not
#'   write is never overwritten.
#' @param ... Not used.
#'
#' @return The object with the UMAP: in a Seurat object a reduction with the key `BGFUMAP_`, in a
#'   SingleCellExperiment a `reducedDim()`, and in a list of class `bgformer` the element `umap`, a
#'   matrix of cells x 2. The seed of the results gives the same UMAP every time. It replaces an
#'   earlier one, and [RunBGFormer()] removes it from an object that is clustered again, because it
#'   shows the earlier latent space. [ReclusterBGFormer()] keeps it.
#'
#'   Fewer than four cells are placed along the principal axes of their latent space instead.
#'
#' @examplesIf bgformer_available()
#' \donttest{
#' blood <- readRDS(system.file("extdata", "pbmc700.rds", package = "bgformer"))
#' result <- RunBGFormer(blood$counts, max_steps = 20, verbose = FALSE)
#' result <- RunBGFormerUMAP(result)
#' head(result$umap)
#' }
#' @seealso [BGFormerPlot()]. `Seurat::RunUMAP(object, reduction = "bgformer", dims = 1:32)` makes
#'   Seurat's own UMAP of the same latent space.
#' @export
RunBGFormerUMAP <- function(object, ...) {
  UseMethod("RunBGFormerUMAP")
}

#' @rdname RunBGFormerUMAP
#' @export
RunBGFormerUMAP.Seurat <- function(object, reduction.name = "bgformer_umap", ...) {
  need_package("SeuratObject", "install.packages(\"SeuratObject\")")
  check_dots(...)
  fitted <- fitted_for(kept_in(object, "RunBGFormerUMAP"), object)
  check_place_of_umap(object, reduction.name, fitted)
  places <- umap_places(fitted, colnames(object))
  object <- without_umap(object)
  object[[reduction.name]] <- SeuratObject::CreateDimReducObject(
    embeddings = places, key = umap_key, assay = fitted$assay
  )
  slot(object, "tools")[[tool_name]] <- with_umap_name(kept_seurat(object), reduction.name)
  command <- SeuratObject::LogSeuratCommand(object, return.command = TRUE)
  slot(command, "assay.used") <- fitted$assay # no argument to read it from here
  object[[slot(command, "name")]] <- command
  object
}

#' @rdname RunBGFormerUMAP
#' @export
RunBGFormerUMAP.SingleCellExperiment <- function(object, reduction.name = "BGFORMER_UMAP", ...) {
  need_single_cell_experiment()
  check_dots(...)
  fitted <- fitted_for(kept_in(object, "RunBGFormerUMAP"), object)
  check_place_of_umap(object, reduction.name, fitted)
  places <- umap_places(fitted, colnames(object))
  object <- without_umap(object)
  SingleCellExperiment::reducedDim(object, reduction.name) <- places
  S4Vectors::metadata(object)$bgformer <- with_umap_name(kept_sce(object), reduction.name)
  object
}

#' @rdname RunBGFormerUMAP
#' @export
RunBGFormerUMAP.bgformer <- function(object, ...) {
  check_dots(...)
  kept <- kept_in(object, "RunBGFormerUMAP")
  check_cells_of_list(object)
  object$umap <- umap_places(fitted_for(kept, object), rownames(object$embedding))
  object
}

#' @export
RunBGFormerUMAP.default <- function(object, ...) {
  stop("RunBGFormerUMAP() takes ", what_holds_results, "; this is of class '",
       class(object)[1], "'.", call. = FALSE)
}

umap_key <- "BGFUMAP_"

# Cells x 2, from Python.
umap_places <- function(fitted, cells) {
  answer <- ask_python(function(python) {
    python$umap(latent = unname(fitted$embedding), weights = weights_for_python(fitted$weights),
                anchors = unname(fitted$anchors), seed = fitted$seed)
  })
  matrix(answer$places, ncol = 2, dimnames = list(cells, paste0(umap_key, 1:2)))
}

check_place_of_umap <- function(object, reduction.name, fitted) {
  check_names(reduction.name = reduction.name)
  if (inherits(object, "Seurat")) {
    check_name_seurat(object, reduction.name)
  }
  if (reduction.name == fitted$reduction.name) {
    stop("reduction.name = '", reduction.name, "' is the reduction with the latent space; choose ",
         "another name.", call. = FALSE)
  }
  check_reduction(reduction.name, reduction_names(object), cells_of(object), fitted)
}

with_umap_name <- function(kept, reduction.name) {
  kept$umap.name <- reduction.name
  kept$reductions <- union(kept$reductions, reduction.name)
  kept
}

# Name of the UMAP that was made from the results in an object; NULL if there is none. Python
# drops its own UMAP when the cells are clustered again, and so does R, because `kept` is new then.
umap_of_results <- function(object, kept) {
  name <- kept$umap.name
  if (is_name(name) && name %in% reduction_names(object)) {
    columns <- colnames(reduction_of(object, name))
    if (identical(columns, paste0(umap_key, 1:2))) name # not something else in its place
  }
}

# The object without the UMAP of the results that it holds.
without_umap <- function(object) {
  seurat <- inherits(object, "Seurat")
  name <- umap_of_results(object, if (seurat) kept_seurat(object) else kept_sce(object))
  if (!is.null(name) && seurat) {
    object[[name]] <- NULL
  } else if (!is.null(name)) {
    SingleCellExperiment::reducedDim(object, name) <- NULL
  }
  object
}
