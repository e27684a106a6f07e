library(testthat)
library(bgformer)

test_check("bgformer")
