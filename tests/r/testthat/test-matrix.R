result <- run(counts)

test_that("a matrix gives a list that prints", {
  expect_s3_class(result, "bgformer")
  expect_named(result$clusters, colnames(counts))
  expect_named(result$confidence, colnames(counts))
  expect_identical(rownames(result$embedding), colnames(counts))
  expect_identical(ncol(result$embedding), ncol(result$anchors))
  expect_output(print(result), sprintf("%d cells in %d clusters", ncol(counts),
                                       result$n.clusters))
})

test_that("every kind of matrix gives the same labels, and is left as it was", {
  dense <- as.matrix(counts)
  whole <- dense
  storage.mode(whole) <- "integer"
  kinds <- list(
    dense = dense, integer = whole, unnamed = unname(dense),
    triplets = methods::as(counts, "TsparseMatrix"), by_row = methods::as(counts, "RsparseMatrix")
  )
  for (kind in names(kinds)) {
    given <- kinds[[kind]]
    labels <- run(given)$clusters
    expect_identical(unname(labels), unname(result$clusters), info = kind)
    expect_identical(given, kinds[[kind]], info = kind)
  }
  expect_identical(sum(counts@x), sum(dense))
})

test_that("the seed decides: the same gives the same, another gives another", {
  expect_identical(run(counts)$embedding, result$embedding)
  expect_false(isTRUE(all.equal(run(counts, seed.use = 1)$embedding, result$embedding)))
  expect_error(run(counts, seed.use = 3e9), "one whole number of at most 2147483647")
})

test_that("batch.var of a matrix is one value per cell", {
  donor <- rep(c("a", "b"), length.out = ncol(counts))
  batched <- run(counts, batch.var = donor)
  expect_false(isTRUE(all.equal(batched$embedding, result$embedding)))
  named <- setNames(donor, colnames(counts))
  expect_identical(run(counts, batch.var = sort(named))$embedding, batched$embedding)
  expect_error(run(counts, batch.var = setNames(donor, seq_along(donor))),
               "the names of batch.var are not those of the cells")
})

test_that("numbers for Python may be written as R users write them", {
  small <- RunBGFormer(counts, max_steps = 2, n_anchors = 30, n_latent = 8, n.top.genes = 100,
                       n.clusters = 3, verbose = FALSE)
  expect_identical(dim(small$anchors), c(30L, 8L))
  expect_length(small$genes, 100)
  expect_identical(small$n.clusters, 3L)
})
