# Counts on disk for Python, in a folder of plain arrays that bgformer.r.store describes. They are
# cut and written a block of cells at a time, so that a matrix that is on disk, or in a form that
# Python cannot read, is never in memory as a whole.

# Values of a block if it were dense: 256 MB.
block_values <- 2^25

is_in_memory <- function(x) {
  is.matrix(x) || inherits(x, "Matrix")
}

# Runs `answer(folder)` on a folder with the counts, which is gone afterwards whatever happens.
with_stored <- function(found, arguments, checkpoint.dir, answer) {
  counts <- found$counts
  folder <- tempfile("bgformer-")
  dir.create(folder)
  on.exit(unlink(folder, recursive = TRUE))
  write_counts(found, folder)
  write_lines(names_of(colnames(counts), "cell", ncol(counts)), file.path(folder, "cells"))
  genes <- if (is.null(found$features)) rownames(counts) else found$features
  write_request(folder, names_of(genes, "gene", nrow(counts)), found$batch, found$batch.var,
                arguments, checkpoint.dir)
  answer(folder)
}

write_counts <- function(found, folder) {
  counts <- found$counts
  files <- lapply(c(data = "data", indices = "indices", indptr = "indptr"), function(name) {
    file(file.path(folder, name), "wb")
  })
  on.exit(lapply(files, close))
  cells <- names_or_numbers(counts)
  written <- 0 # a double counts beyond 2^31
  empty <- integer()
  write_to(files$indptr, written)
  for (from in seq(1, ncol(counts), by = cells_per_block(counts))) {
    at <- from:min(from + cells_per_block(counts) - 1, ncol(counts))
    block <- cells_at(counts, at, found$where)
    if (!is.null(found$features)) {
      block <- block[match(found$features, rownames(counts)), , drop = FALSE]
    }
    check_values(block, found, cells[at])
    empty <- c(empty, at[empty_cells(block)])
    write_to(files$data, block@x, size = 4L)
    write_to(files$indices, block@i)
    write_to(files$indptr, written + block@p[-1])
    written <- written + length(block@x)
  }
  check_empty(empty, cells, found)
}

# Cells of a block. What is compressed in chunks is read in whole ones where a block has room, as a
# chunk is read again for each block that has a part of it.
cells_per_block <- function(counts) {
  n <- max(1, block_values %/% nrow(counts))
  chunk <- if (inherits(counts, "DelayedMatrix")) DelayedArray::chunkdim(counts)[2]
  if (is.null(chunk) || chunk > n) n else n - n %% chunk
}

cells_at <- function(counts, at, where) {
  readable(as_sparse(counts[, at, drop = FALSE]), counts,
           paste0("cells ", at[1], " to ", at[length(at)], " of ", where))
}

# Names of an HDF5Matrix are in its file, which may be gone.
check_readable <- function(counts, where) {
  readable(dimnames(counts), counts, where)
}

readable <- function(what, counts, where) {
  tryCatch(what, error = function(e) {
    stop(where, ", of class '", class(counts)[1], "', cannot be read (", first_line(e), ").",
         call. = FALSE)
  })
}

# What the disk has no room for is a warning of writeBin(), and half a file.
write_to <- function(connection, values, ...) {
  tryCatch(
    writeBin(values, connection, ...),
    warning = function(w) {
      stop("the counts cannot be written into the temporary folder '", tempdir(), "' (",
           first_line(w), "); make room there, or set TMPDIR to another folder before R starts.",
           call. = FALSE)
    }
  )
}

# One name a line: one that is broken into lines would shift all that follow.
write_lines <- function(names, path) {
  writeLines(gsub("[\r\n]+", " ", names), path, useBytes = TRUE)
}

write_request <- function(folder, genes, batch, batch.var, arguments, checkpoint.dir) {
  batches <- factor(as_utf8(as.character(batch)))
  if (!is.null(batch)) {
    writeBin(as.integer(batches) - 1L, file.path(folder, "batch"))
  }
  request <- list(
    genes = I(genes), batch_key = batch.var, batches = I(levels(batches)),
    arguments = lapply(arguments, exactly),
    checkpoint = if (!is.null(checkpoint.dir)) absolute(checkpoint.dir)
  )
  if (length(arguments) == 0) {
    request$arguments <- setNames(list(), character())
  }
  json <- jsonlite::toJSON(request, auto_unbox = TRUE, null = "null", json_verbatim = TRUE)
  writeLines(enc2utf8(json), file.path(folder, "request.json"), useBytes = TRUE)
}

# The process has another working directory. normalizePath() does nothing to what does not exist.
absolute <- function(path) {
  path <- path.expand(path)
  if (grepl("^([/\\\\]|[A-Za-z]:)", path)) path else file.path(getwd(), path)
}

# jsonlite would leave out the last digits.
exactly <- function(x) {
  if (is.double(x) && length(x) == 1 && is.finite(x)) {
    return(structure(sprintf("%.17g", x), class = "json"))
  }
  x
}

# The answer that Python wrote into the folder, with its arrays.
read_answer <- function(folder) {
  read <- function(part) {
    if (!is.list(part)) {
      return(part)
    }
    if (is.null(part$array)) {
      return(lapply(part, read))
    }
    n <- prod(unlist(part$shape))
    values <- readBin(file.path(folder, part$array), part$type, n)
    if (length(part$shape) > 1) array(values, part$shape) else values
  }
  read(jsonlite::read_json(file.path(folder, answer_file), simplifyVector = TRUE,
                           simplifyDataFrame = FALSE, simplifyMatrix = FALSE))
}

answer_file <- "answer.json"
