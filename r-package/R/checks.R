# What is wrong is said in one sentence, in R's words, before Python starts.

need_package <- function(name, command) {
  if (!requireNamespace(name, quietly = TRUE)) {
    stop("the R package '", name, "' is needed and not installed; run ", command, ".",
         call. = FALSE)
  }
}

need_single_cell_experiment <- function() {
  need_package("SingleCellExperiment", "BiocManager::install(\"SingleCellExperiment\")")
}

is_name <- function(x) {
  is.character(x) && length(x) == 1 && !is.na(x) && nzchar(x) && is_utf8(x)
}

# What as_utf8() can translate. Bytes that nothing is declared of are UTF-8 in any locale, or wrong.
is_utf8 <- function(x) {
  declared <- Encoding(x)
  declared == "latin1" | (declared != "bytes" & validUTF8(x))
}

# Python, files and plots need UTF-8.
as_utf8 <- function(x) {
  bare <- Encoding(x) == "unknown"
  Encoding(x[bare]) <- "UTF-8"
  enc2utf8(x)
}

# A name as messages show it: on one line, whatever is in it.
shown <- function(names) {
  encodeString(as.character(names))
}

# A value as messages show it.
described <- function(x) {
  if (is.null(x)) {
    "NULL"
  } else if (!is.atomic(x) || is.object(x) || length(x) != 1) {
    paste0("of class '", class(x)[1], "' and length ", length(x))
  } else if (is.character(x) && !is.na(x)) {
    paste0("\"", shown(x), "\"", if (!is_utf8(x)) ", which is not valid UTF-8")
  } else {
    format(x, digits = 4)
  }
}

stop_for <- function(argument, x, wanted) {
  stop(argument, " must be ", wanted, "; it is ", described(x), ".", call. = FALSE)
}

check_name <- function(x, argument, wanted) {
  if (!is_name(x)) {
    stop_for(argument, x, wanted)
  }
}

check_names <- function(reduction.name = "x", reduction.key = "X_", cluster.name = "x") {
  check_name(reduction.name, "reduction.name", "one name, such as \"bgformer\"")
  if (!is_name(reduction.key) || !grepl("^[[:alnum:]]+_$", reduction.key)) {
    stop_for("reduction.key", reduction.key,
             "letters and digits with a closing underscore, such as \"BGF_\"")
  }
  check_name(cluster.name, "cluster.name", "one name, such as \"bgformer_clusters\"")
}

# `own`: names of what bgformer wrote, which it may write over.
check_own <- function(names, there, own, argument, given, kind) {
  taken <- setdiff(intersect(names, there), own)
  if (length(taken) > 0) {
    stop(argument, " = '", shown(given), "' would write over the ", kind, " '", shown(taken[1]),
         "', which is not from bgformer; choose another name.", call. = FALSE)
  }
}

# What to do in place of an argument that other tools or the Python module have. It is said here and
# not by Python, which would have to be started, and the counts handed over, to refuse a typo.
object_hints <- c(
  seed = "use `seed.use`", n_clusters = "use `n.clusters`", batch_key = "use `batch.var`",
  slot = "use `layer`", key_added = "use `cluster.name` and `reduction.name`",
  copy = "it always returns a changed copy"
)
no_layers <- "give the matrix of counts itself"
matrix_hints <- replace(
  c(object_hints, layer = no_layers, assay = no_layers),
  c("slot", "key_added", "copy"), c(no_layers, rep("for a matrix it returns a list", 2))
)

check_flag <- function(x, name) {
  if (!isTRUE(x) && !isFALSE(x)) {
    stop_for(name, x, "TRUE or FALSE")
  }
}

check_device <- function(device) {
  check_name(device, "device", "\"auto\", \"cpu\" or one GPU, such as \"cuda\"")
}

check_settings <- function(device, verbose, separate.process, checkpoint.dir, further,
                           hints = object_hints) {
  check_flag(verbose, "verbose")
  check_flag(separate.process, "separate.process")
  if (!is.null(checkpoint.dir)) {
    check_name(checkpoint.dir, "checkpoint.dir", "NULL or the name of one folder")
    if (!separate.process) {
      stop("checkpoint.dir needs separate.process = TRUE.", call. = FALSE)
    }
  }
  check_device(device)
  wrong <- intersect(names(further), names(hints))
  if (length(wrong) > 0) {
    stop("RunBGFormer() has no argument '", wrong[1], "'; ", hints[[wrong[1]]], ".",
         call. = FALSE)
  }
}

check_dots <- function(...) {
  if (...length() > 0) {
    named <- setdiff(...names(), "")
    which <- if (length(named) > 0) listed(named) else "without a name"
    stop("unknown argument ", which, "; remove it.", call. = FALSE)
  }
}

# What Python can be given as an integer. Which integers make sense, Python says.
is_whole <- function(x) {
  is_number(x) && x == round(x) && abs(x) <= .Machine$integer.max
}

is_number <- function(x) {
  is.numeric(x) && !is.object(x) && length(x) == 1 && is.finite(x)
}

as_count <- function(x, name) {
  if (is.null(x)) {
    return(NULL)
  }
  if (!is_whole(x)) {
    limit <- if (is_number(x) && x == round(x)) paste(" of at most", .Machine$integer.max)
    stop_for(name, x, paste0("one whole number", limit))
  }
  as.integer(x)
}

as_number <- function(x, name) {
  if (is.null(x)) {
    return(NULL)
  }
  if (!is_number(x)) {
    stop_for(name, x, "one number")
  }
  as.numeric(x)
}

is_one_value <- function(x) {
  is.atomic(x) && !is.object(x) && length(x) == 1 && !is.na(x)
}

# R users write 50, Python wants an integer. Text that is not UTF-8 would end the process there.
as_python <- function(x, name) {
  if (!is_one_value(x) || (is.character(x) && !is_utf8(x))) {
    stop_for(name, x, "one value")
  }
  if (is_whole(x)) as.integer(x) else if (is.character(x)) as_utf8(x) else x
}

batch_column <- function(batch.var, cells) {
  if (is.null(batch.var)) {
    return(NULL)
  }
  check_name(batch.var, "batch.var", "the name of one column of the cells' metadata")
  if (!batch.var %in% colnames(cells)) {
    stop("batch.var = '", shown(batch.var), "' is not a column of the cells' metadata (there: ",
         listed(colnames(cells)), ").", call. = FALSE)
  }
  cells[[batch.var]]
}

# One value per cell, with none missing, that are names of batches as text.
check_batch <- function(batch, n) {
  if (is.null(batch)) {
    return(invisible())
  }
  if (!(is.atomic(batch) && is.null(dim(batch)))) {
    stop_for("batch.var", batch, "a vector or factor with one value per cell")
  }
  if (anyNA(batch)) {
    stop("batch.var: ", sum(is.na(batch)), " of ", n, " cells have no batch; fill in the missing ",
         "values first.", call. = FALSE)
  }
  check_utf8(unique(as.character(batch)), "batch", "batch.var")
}

# Batches of a matrix in the order of its cells, which they may name.
batch_in_order <- function(batch, cells) {
  if (is.null(names(batch)) || is.null(cells) || identical(names(batch), cells)) {
    return(batch)
  }
  if (anyDuplicated(cells) || !setequal(names(batch), cells)) {
    stop("the names of batch.var are not those of the cells; name each value by its cell, or give ",
         "unname(batch.var) if the values are in the order of the cells.", call. = FALSE)
  }
  batch[cells]
}

check_unique <- function(names, what, where, remedy) {
  twice <- names[duplicated(names)]
  if (length(twice) > 0) {
    stop(length(twice), " ", what, " names of ", where, " are duplicated (the first: '",
         shown(twice[1]), "'); make them unique with ", remedy, ".", call. = FALSE)
  }
}

check_named <- function(names, what, where) {
  if (anyNA(names)) {
    stop(sum(is.na(names)), " of ", length(names), " ", what, " names of ", where,
         " are missing (the first: number ", which(is.na(names))[1], "); give every ", what,
         " a name.", call. = FALSE)
  }
  check_utf8(names, what, where)
}

check_utf8 <- function(names, what, where) {
  wrong <- if (!is.null(names)) which(!is_utf8(names))
  if (length(wrong) > 0) {
    stop(length(wrong), " of ", length(names), " ", what, " names of ", where, " are not valid ",
         "UTF-8 (the first: '", shown(names[wrong[1]]), "'); convert them, as with ",
         "iconv(names, \"latin1\", \"UTF-8\").", call. = FALSE)
  }
}

check_shape <- function(counts, features, where) {
  n_genes <- if (is.null(features)) nrow(counts) else length(features)
  if (n_genes == 0 || ncol(counts) == 0) {
    stop(where, " is empty (", n_genes, " genes x ", ncol(counts), " cells).", call. = FALSE)
  }
  if (is.null(features)) {
    check_named(rownames(counts), "gene", where)
    check_unique(rownames(counts), "gene", where, "make.unique()")
  }
  check_named(colnames(counts), "cell", where)
  check_unique(colnames(counts), "cell", where, "make.unique()")
}

# All whole numbers up to this one are exact in single precision, in which Python computes.
largest_count <- 2^24

# Values looked at together, as each look makes several vectors of this length.
values_at_once <- 2^20

# `counts` is a dgCMatrix, of all cells or of some; `cells` are their names or numbers.
# `found` is what counts_of_seurat() and the like return.
check_values <- function(counts, found, cells) {
  wrong <- list(
    "values that are missing or infinite" = function(x) !is.finite(x),
    "negative values" = function(x) x < 0,
    "values that are not whole numbers" = function(x) x != round(x),
    "values above 16777216, the largest that is exact" = function(x) x > largest_count
  )
  n <- length(counts@x)
  for (start in seq_len(ceiling(n / values_at_once)) * values_at_once - values_at_once) {
    values <- counts@x[seq(start + 1, min(start + values_at_once, n))]
    if (are_counts(values)) {
      next
    }
    for (what in names(wrong)) {
      bad <- which(wrong[[what]](values))
      if (length(bad) > 0) {
        at <- start + bad[1]
        gene <- place(rownames(counts), counts@i[at] + 1L)
        stop(found$where, " holds ", what, " (", format(counts@x[at], digits = 4), " in gene '",
             shown(gene), "', cell '", shown(cells[findInterval(at - 1, counts@p)]),
             "'), so it is not raw counts; ", found$hint(), ".", call. = FALSE)
      }
    }
  }
}

# A quick look: also FALSE for a count that is more than R's integers hold.
are_counts <- function(values) {
  whole <- suppressWarnings(as.integer(values))
  isTRUE(all(values == whole)) && min(whole) >= 0 && max(whole) <= largest_count
}

# Numbers of the cells without counts, once it is known that no value is negative.
empty_cells <- function(counts) {
  which(colSums(counts) == 0)
}

check_empty <- function(empty, cells, found) {
  if (length(empty) > 0) {
    of <- if (!is.null(found$features)) "the features given of "
    stop(length(empty), " of ", length(cells), " cells have no counts in ", of, found$where,
         " (the first: '", shown(cells[empty[1]]), "'); remove them first.", call. = FALSE)
  }
}

# Of a sparse matrix: an index out of range would end the process.
check_valid <- function(counts) {
  problem <- if (inherits(counts, "Matrix")) methods::validObject(counts, test = TRUE)
  if (is.character(problem)) {
    stop("the matrix of class '", class(counts)[1], "' is damaged (", problem[1], "); make it ",
         "again.", call. = FALSE)
  }
}

looks_like_counts <- function(counts) {
  head <- as_sparse(counts[, seq_len(min(200, ncol(counts))), drop = FALSE])
  length(head@x) > 0 && are_counts(head@x)
}

place <- function(names, at) {
  if (is.null(names)) at else names[at]
}

listed <- function(names, most = 5) {
  if (length(names) == 0) {
    return("none")
  }
  text <- paste0("'", shown(utils::head(names, most)), "'", collapse = ", ")
  if (length(names) > most) paste0(text, ", ...") else text
}
