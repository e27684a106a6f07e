# Seeded cases of campaign.R. Each is a list of `what` (its description) and `try`, a function that
# calls bgformer, checks what came back, and calls wrong() if it is not right.

wrong <- function(...) {
  stop(errorCondition(paste0(...), class = "wrong"))
}

pick <- function(x) x[[sample.int(length(x), 1)]]

# Three groups of cells.
some_counts <- function(n = sample(30:100, 1), genes = 60) {
  rate <- matrix(rgamma(3 * genes, 0.5), genes)[, rep_len(1:3, n)]
  counts <- matrix(rpois(genes * n, 1 + 4 * rate), genes)
  dimnames(counts) <- list(paste0("gene", seq_len(genes)), paste0("cell", seq_len(n)))
  as(counts, "dgCMatrix")
}

as_seurat <- function(counts) suppressWarnings(SeuratObject::CreateSeuratObject(counts))
as_sce <- function(counts) {
  SingleCellExperiment::SingleCellExperiment(assays = list(counts = counts))
}

# Values of one count, and names, that cannot be used ...
spoil <- function(value) function(m) replace(as.matrix(m), 7, value)
name_one <- function(which, name) function(m) {
  dimnames(m)[[which]][2] <- name
  m
}
unusable <- list(
  negative = spoil(-1), fractional = spoil(0.5), missing = spoil(NA), infinite = spoil(Inf),
  huge = spoil(1e300), "not a number" = spoil(NaN),
  text = function(m) matrix(as.character(as.matrix(m)), nrow(m)),
  complex = function(m) as.matrix(m) + 1i,
  "empty cell" = function(m) {
    m[, 3] <- 0
    m
  },
  "no cells" = function(m) m[, 0], "no genes" = function(m) m[0, ], tiny = function(m) m[, 1:5],
  "index out of range" = function(m) {
    attr(m, "i")[2] <- 1000L
    m
  },
  "pointer out of range" = function(m) {
    attr(m, "p")[2] <- 100000L
    m
  },
  "gene twice" = name_one(1, "gene1"), "cell twice" = name_one(2, "cell1"),
  "gene missing" = name_one(1, NA), "cell not UTF-8" = name_one(2, "c\xe9ll"),
  "gene not UTF-8" = name_one(1, "g\xe9ne")
)
# ... the same counts in another form ...
same <- list(
  dense = as.matrix, triplets = function(m) as(m, "TsparseMatrix"),
  integer = function(m) {
    m <- as.matrix(m)
    storage.mode(m) <- "integer"
    m
  },
  "explicit zeros" = function(m) {
    zeros <- as(as.matrix(m) + 1, "dgCMatrix")
    zeros@x <- zeros@x - 1
    zeros
  },
  "by row" = function(m) as(m, "RsparseMatrix"), "no names" = function(m) unname(as.matrix(m)),
  "latin1 name" = name_one(2, `Encoding<-`("c\xe9ll", "latin1")),
  "line break" = name_one(2, "ce\nll"), "tab and quotes" = name_one(1, "ge\t\"'ne"),
  "empty name" = name_one(1, ""), "on disk" = function(m) DelayedArray::DelayedArray(m)
)
# ... and counts of another kind, of which all that can be said is that results are possible.
other <- list(
  logical = function(m) as.matrix(m) > 2, pattern = function(m) as(m > 2, "nMatrix"),
  transposed = Matrix::t, "large counts" = function(m) m * 1e6,
  "empty genes" = function(m) {
    m[1:20, ] <- 0
    m
  }
)

check_result <- function(result, cells) {
  if (is.list(result) && !is.factor(result$clusters)) wrong("clusters are no factor")
  clusters <- if (is.list(result)) result$clusters else result$bgformer_clusters
  confidence <- if (is.list(result)) result$confidence else result$bgformer_confidence
  if (length(clusters) != cells || anyNA(clusters)) wrong("not every cell has a cluster")
  levels <- as.character(seq_len(nlevels(clusters)) - 1)
  if (!identical(levels(clusters), levels)) wrong("levels are ", toString(levels(clusters)))
  if (any(table(clusters) == 0)) wrong("a cluster is empty")
  if (!all(is.finite(confidence) & confidence >= 0 & confidence <= 1)) wrong("confidence")
  as.vector(clusters)
}

fit <- function(object, ...) {
  suppressWarnings(RunBGFormer(object, max_steps = 2, verbose = FALSE, ...))
}

matrix_case <- function() {
  group <- pick(list(unusable = unusable, same = same, other = other))
  kind <- sample(names(group), 1)
  holder <- sample(c("matrix", "sce", "seurat"), 1, prob = c(2, 1, 1))
  if (kind %in% c("no names", "on disk", "by row") && holder == "seurat") holder <- "matrix"
  own_process <- runif(1) < 0.1
  list(what = paste(kind, "in", holder, if (own_process) "(separate process)"), try = function() {
    counts <- some_counts()
    m <- group[[kind]](counts)
    # what the object's own package refuses never gets here
    object <- tryCatch(switch(holder, matrix = m, sce = as_sce(m), seurat = as_seurat(m)),
                       error = function(e) NULL)
    if (is.null(object)) return("not made")
    result <- fit(object, separate.process = own_process, resolution = 1)
    labels <- check_result(result, ncol(m))
    # Seurat and SingleCellExperiment may have made something usable of it
    if (identical(group, unusable) && holder == "matrix") wrong("unusable counts gave clusters")
    plain <- if (identical(group, same)) as.vector(fit(counts, resolution = 1)$clusters)
    if (!is.null(plain) && !identical(labels, plain)) {
      wrong("labels differ from those of the same counts in a dgCMatrix")
    }
  })
}

odd <- list(
  "NULL" = NULL, "NA" = NA, "NA text" = NA_character_, "NaN" = NaN, Inf, -1, 0, 1.5, 1e10, 3, TRUE,
  FALSE, "", "a", "a b", "a/b", "a\nb", "b\xe9", "_index", c("a", "b"), 1:3, list(1), list(),
  factor("a"), character(), identity, Sys.Date(), quote(x), new.env(), matrix(1, 2, 2), 2 + 1i,
  as.raw(1), data.frame(a = 1)
)

fitted_objects <- function() {
  set.seed(1)
  counts <- some_counts(60)
  bare <- counts
  colnames(bare) <- NULL
  list(counts = counts, seurat = fit(as_seurat(counts), resolution = 1),
       sce = fit(as_sce(counts), resolution = 1), unnamed = fit(as_sce(bare), resolution = 1),
       list = fit(counts, resolution = 1))
}

argument_case <- function(made) {
  kind <- sample(c("seurat", "sce", "list"), 1)
  object <- made[[kind]]
  start <- switch(kind, seurat = as_seurat(made$counts), sce = as_sce(made$counts),
                  list = made$counts)
  calls <- list(
    RunBGFormer = list(start, c("assay", "layer", "features", "n.clusters", "resolution",
                                "batch.var", "reduction.name", "reduction.key", "cluster.name",
                                "device", "seed.use", "verbose", "max_steps", "n_anchors",
                                "n_latent", "min_cells", "n_top_genes", "objective",
                                "separate.process", "nonsense")),
    ReclusterBGFormer = list(object, c("resolution", "n.clusters", "cluster.name", "nonsense")),
    PredictBGFormer = list(start, c("reference", "assay", "layer", "reduction.name",
                                    "reduction.key", "cluster.name", "device", "verbose")),
    SaveBGFormer = list(object, c("object", "path", "overwrite")),
    LoadBGFormer = list(NULL, c("path", "reduction.key")),
    BGFormerPlot = list(object, c("object", "color.by", "reduction", "label", "pt.size")),
    AnchorPlot = list(object, c("object", "reduction", "label")),
    ResolutionPlot = list(object, c("object", "resolutions")),
    EvidencePlot = list(object, c("object", "label")),
    ClusterTree = list(object, c("object", "resolutions")),
    ClusterTreePlot = list(object, c("object", "resolutions"))
  )
  caller <- sample(names(calls), 1, prob = c(8, 4, 4, 2, 1, 2, 1, 1, 1, 1, 1))
  argument <- sample(calls[[caller]][[2]], 1)
  at <- sample.int(length(odd), 1)
  given <- list(calls[[caller]][[1]])
  if (caller == "LoadBGFormer") given <- list(path = tempfile())
  if (caller == "SaveBGFormer") given <- c(given, path = tempfile())
  if (caller == "PredictBGFormer") given <- c(given, reference = list(object), verbose = FALSE)
  if (caller == "RunBGFormer") given <- c(given, max_steps = 2, verbose = FALSE)
  if (argument == "object") given[[1]] <- NULL
  given[argument] <- odd[at]
  shown <- paste(deparse(odd[[at]], nlines = 1), collapse = "")
  list(what = sprintf("%s(<%s>, %s = %s)", caller, kind, argument, shown), try = function() {
    old <- setwd(tempdir())
    on.exit(setwd(old))
    result <- suppressWarnings(suppressMessages(do.call(caller, given, quote = TRUE)))
    standard <- !argument %in% c("cluster.name", "reduction.name")
    if (grepl("^(Run|Re|Predict)", caller) && standard) check_result(result, ncol(made$counts))
    if (inherits(result, "ggplot")) {
      grDevices::pdf(NULL)
      on.exit(grDevices::dev.off(), add = TRUE)
      suppressWarnings(print(result))
    }
  })
}

# What is done to an object after a run: `do(object, ids)` returns both; `ids` are the run's cells.
moves <- list(
  reorder = function(x, ids) {
    at <- sample(ncol(x))
    list(x[, at], if (inherits(x, "Seurat")) NULL else ids[at])
  },
  subset = function(x, ids) {
    at <- sample(ncol(x), max(12, ncol(x) %/% 2))
    list(x[, at], if (inherits(x, "Seurat")) NULL else ids[at])
  },
  rename = function(x, ids) {
    names <- paste0(sample(c("x_", "cell"), 1), sample(ncol(x)))
    if (inherits(x, "Seurat")) x <- SeuratObject::RenameCells(x, new.names = names)
    else colnames(x) <- names
    list(x, ids)
  },
  file = function(x, ids) {
    file <- tempfile()
    saveRDS(x, file)
    list(readRDS(file), ids)
  },
  twice = function(x, ids) {
    if (inherits(x, "Seurat")) return(list(merge(x, x, add.cell.ids = 1:2), "refused"))
    list(x[, c(1, seq_len(ncol(x)))], "refused")
  },
  bound = function(x, ids) {
    if (inherits(x, "Seurat")) return(list(merge(x, x[, 1:20], add.cell.ids = 1:2), "refused"))
    list(BiocGenerics::cbind(x, x), "refused")
  },
  latent = function(x, ids) {
    if (inherits(x, "Seurat")) x@reductions$bgformer@cell.embeddings[3, 2] <- pick(c(NA, 5, Inf))
    else SingleCellExperiment::reducedDim(x)[3, 2] <- pick(c(NA, 5, Inf))
    list(x, "refused")
  },
  dropped = function(x, ids) {
    if (inherits(x, "Seurat")) x[["bgformer"]] <- NULL
    else SingleCellExperiment::reducedDims(x) <- list()
    list(x, "refused")
  },
  part = function(x, ids) {
    part <- sample(c("model", "weights", "anchors", "anchor.clusters", "anchor.support", "seed",
                     "cell.keys", "evidence", "resolution", "n.considered", "run.name"), 1)
    value <- odd[sample(c(1:6, 14, 20, 22), 1)]
    if (inherits(x, "Seurat")) x@tools$RunBGFormer[part] <- value
    else S4Vectors::metadata(x)$bgformer[part] <- value
    list(x, NA) # a number in place of a number may be taken
  }
)

after_case <- function(made) {
  kind <- sample(c("seurat", "sce", "unnamed"), 1)
  # damage comes last, because a subset may be without what is damaged
  done <- c(sample(names(moves)[1:4], sample(3, 1), replace = TRUE),
            if (runif(1) < 0.4) sample(names(moves)[-(1:4)], 1))
  act <- sample(c("ReclusterBGFormer", "SaveBGFormer", "AnchorPlot"), 1)
  list(what = sprintf("%s after %s of %s", act, paste(done, collapse = ", "), kind),
       try = function() {
    x <- made[[kind]]
    ids <- seq_len(ncol(x))
    for (move in done) {
      if (inherits(x, "Seurat")) x$id <- ids
      moved <- moves[[move]](x, ids)
      x <- moved[[1]]
      ids <- if (is.null(moved[[2]])) x$id else moved[[2]]
    }
    follow(act, x, ids, made)
  })
}

# Calls a function on the object, and compares with what the cells `ids` had in the run.
follow <- function(act, x, ids, made) {
  expected <- made$list
  folder <- tempfile()
  if (act == "SaveBGFormer") {
    SaveBGFormer(x, folder)
  } else {
    again <- function(x) ReclusterBGFormer(x, resolution = 1)
    x <- suppressWarnings(if (act == "AnchorPlot") AnchorPlot(x) else again(x))
  }
  if (identical(ids, "refused")) wrong("cells that are not of the run were taken")
  if (anyNA(ids)) return()
  if (act == "SaveBGFormer") {
    loaded <- LoadBGFormer(folder)
    if (!identical(unname(loaded$embedding), unname(expected$embedding[ids, ]))) wrong("latent")
    if (!identical(as.vector(loaded$clusters), as.vector(expected$clusters)[ids])) wrong("clusters")
  } else if (act == "ReclusterBGFormer") {
    kept <- if (inherits(x, "Seurat")) x@tools$RunBGFormer else S4Vectors::metadata(x)$bgformer
    if (!identical(unname(as.matrix(kept$weights)), unname(as.matrix(expected$weights[ids, ])))) {
      wrong("weights are of other cells")
    }
    labels <- check_result(x, length(ids))
    whole <- length(ids) == nrow(expected$weights) # a subset may have other clusters
    if (whole && !identical(labels, as.vector(expected$clusters)[ids])) {
      wrong("labels are of other cells")
    }
  }
}

case_of <- function(seed, number, made) {
  set.seed(seed * 1e5 + number)
  switch(number %% 3 + 1, matrix_case(), argument_case(made), after_case(made))
}
