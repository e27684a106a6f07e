#' bgformer: cluster single-cell RNA-seq data with learned anchors
#'
#' [RunBGFormer()] clusters the cells of a Seurat object, a SingleCellExperiment or a matrix of
#' counts; [ReclusterBGFormer()] gives other numbers of clusters without training again;
#' [PredictBGFormer()] places new cells on a fitted reference, [SaveBGFormer()] writes it into a
#' folder; [BGFormerPlot()], [AnchorPlot()], [ResolutionPlot()], [EvidencePlot()] and
#' [ClusterTreePlot()] draw. The model is a Python module that comes with this package and runs
#' inside the R process or in a separate one: [install_bgformer()] installs what it needs,
#' [bgformer_sitrep()] says what is installed. Python starts at the first call that needs it, never
#' on `library(bgformer)`.
#'
#' @importFrom Matrix colSums
#' @importFrom methods as slot slot<-
#' @importFrom stats setNames
#' @keywords internal
"_PACKAGE"

utils::globalVariables(".data") # the columns of a plot's data, within ggplot2::aes()
