#' Save a fitted model as a folder, and load it
#'
#' `SaveBGFormer()` writes the folder that `bgformer.BGFormer.load()` reads in Python, and
#' `LoadBGFormer()` reads one, whether R wrote it or `save()` of a model in Python. If you only use
#' R, `saveRDS()` of the object is enough: it holds the model.
#'
#' The folder appears complete or not at all. It holds the trained network, the anchors, and the
#' latent space and weights of the cells, and the names and colours of the clusters, but neither
#' counts nor names of cells.
#'
#' @param object What [RunBGFormer()] returned: a Seurat object, a SingleCellExperiment or a list of
#'   class `bgformer`. Of a subset, the cells that it has are saved.
#' @param path The folder.
#' @param overwrite `TRUE` replaces a model that is there; any other file or folder is never
#'   replaced.
#' @param reduction.key Letters and digits with a closing underscore: the latent dimensions are
#'   named `BGF_1`, `BGF_2`, ...
#'
#' @return `SaveBGFormer()`: the path, invisibly. `LoadBGFormer()`: a list of class `bgformer`, as
#'   [RunBGFormer()] returns it for a matrix, without names of cells: a reference for
#'   [PredictBGFormer()].
#'
#' @examplesIf bgformer_available()
#' pbmc <- readRDS(system.file("extdata", "pbmc700.rds", package = "bgformer"))
#' folder <- file.path(tempdir(), "reference")
#' \donttest{
#' SaveBGFormer(RunBGFormer(pbmc$counts, max_steps = 20), folder)
#' query <- PredictBGFormer(pbmc$counts[, 1:100], LoadBGFormer(folder))
#' query
#' }
#' @export
SaveBGFormer <- function(object, path, overwrite = FALSE) {
  check_path(path)
  check_flag(overwrite, "overwrite")
  results <- results_in(object, "SaveBGFormer")
  if (file.exists(path) && !overwrite) {
    stop("'", shown(path), "' exists; choose another name, or replace the model there with ",
         "overwrite = TRUE.", call. = FALSE)
  }
  ask_python(function(python) {
    python$save(
      fitted = for_python(results), latent = unname(results$embedding),
      weights = weights_for_python(results$weights), path = path.expand(path),
      overwrite = overwrite
    )
  })
  invisible(path)
}

#' @rdname SaveBGFormer
#' @export
LoadBGFormer <- function(path, reduction.key = "BGF_") {
  check_path(path)
  check_names(reduction.key = reduction.key)
  answer <- ask_python(function(python) python$load(path = path.expand(path)))
  as_result(answer, NULL, reduction.key)
}

check_path <- function(path) {
  check_name(path, "path", "the name of one folder")
}
