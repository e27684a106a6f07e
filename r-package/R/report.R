#' Write a report of the clusters that opens in a browser
#'
#' Writes one HTML file that needs no network and no R: the cells in their UMAP, coloured by
#' clusters, confidence, columns of the metadata or marker genes; the clusters at 30 resolutions,
#' between which a slider moves, and how they split; what separates each cluster from its nearest
#' one; marker genes; the confidence; and how to repeat all of it. Every stop of the slider shows
#' the clusters that [ReclusterBGFormer()] gives at that resolution.
#'
#' Cells are drawn in the UMAP of [RunBGFormerUMAP()], which is computed for the report if it is not
#' stored.
#'
#' The report holds names of cells, columns of the metadata and expression of marker genes: share it
#' as you would share these. With more than 200,000 cells, a random sample of that many is drawn.
#'
#' @param object A Seurat object or a SingleCellExperiment that [RunBGFormer()] returned, with its
#'   raw counts.
#' @param file The file to write, named .html. An earlier report is replaced; any other file is not.
#' @param assay,layer Where the raw counts are; see [BGFormerMarkers()].
#' @param ... Not used.
#'
#' @return The name of the file, invisibly; open it with `browseURL()`.
#'
#' @examplesIf bgformer_available() && requireNamespace("SeuratObject", quietly = TRUE)
#' \donttest{
#' blood <- readRDS(system.file("extdata", "pbmc700.rds", package = "bgformer"))
#' object <- SeuratObject::CreateSeuratObject(blood$counts)
#' object <- RunBGFormer(object, max_steps = 20, verbose = FALSE)
#' report <- BGFormerReport(object, file.path(tempdir(), "report.html"))
#' # browseURL(report)
#' }
#' @export
BGFormerReport <- function(object, ...) {
  UseMethod("BGFormerReport")
}

#' @rdname BGFormerReport
#' @export
BGFormerReport.Seurat <- function(object, file, assay = NULL, layer = "counts", ...) {
  need_package("SeuratObject", "install.packages(\"SeuratObject\")")
  check_dots(...)
  check_name(file, "file", "the name of one file")
  earlier <- kept_seurat(object)
  if (is.null(assay) && is_ours(earlier)) {
    assay <- earlier$assay
  }
  found <- counts_of_seurat(object, assay, layer, verbose = FALSE)
  write_report(object, found, file)
}

#' @rdname BGFormerReport
#' @export
BGFormerReport.SingleCellExperiment <- function(object, file, assay = NULL, layer = "counts",
                                                ...) {
  need_single_cell_experiment()
  check_dots(...)
  check_name(file, "file", "the name of one file")
  found <- counts_of_sce(object, assay, layer)
  write_report(object, found, file)
}

#' @export
BGFormerReport.default <- function(object, ...) {
  stop_for_class("BGFormerReport", object)
}

write_report <- function(object, found, file) {
  fitted <- fitted_for(kept_in(object, "BGFormerReport"), object)
  fitted <- with_names(fitted, object)
  check_readable(found$counts, found$where)
  check_shape(found$counts, NULL, found$where)
  column <- cells_of(object)[[fitted$cluster.name]]
  numbers <- levels(fitted$anchor.clusters)
  if (!is.null(column) && is.null(names_of_clusters(fitted$labels, column, numbers))) {
    warning("the clusters in '", fitted$cluster.name, "' have been changed cell by cell since; ",
            "the report has those that bgformer found.", call. = FALSE)
  }
  drawn <- umap_of_results(object, fitted)
  umap <- if (!is.null(drawn)) unname(reduction_of(object, drawn))
  given <- c(for_python(fitted), list(unassigned = array(is.na(fitted$labels))))
  ask_about(found, function(python, names, folder) {
    python$report(
      fitted = given, latent = unname(fitted$embedding),
      weights = weights_for_python(fitted$weights),
      columns = columns_for_python(object, fitted), umap = umap, path = path.expand(file),
      folder = folder
    )
  })
  invisible(file)
}

# Columns of the cells' metadata but bgformer's own: numbers, or codes from 0 with their levels.
columns_for_python <- function(object, fitted) {
  cells <- cells_of(object)
  own <- c(fitted$columns, fitted$cluster.name)
  columns <- lapply(setdiff(colnames(cells), own), function(name) {
    values <- cells[[name]]
    if (!is.atomic(values) || !is.null(dim(values))) {
      return(NULL)
    }
    if (is.numeric(values) && !is.factor(values)) {
      return(array(as.double(values)))
    }
    values <- droplevels(as.factor(values))
    codes <- as.integer(values) - 1L
    codes[is.na(codes)] <- -1L
    list(codes = array(codes), levels = array(as_utf8(levels(values))))
  })
  names(columns) <- as_utf8(setdiff(colnames(cells), own))
  Filter(Negate(is.null), columns)
}
