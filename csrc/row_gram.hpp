// Inner products of the rows of a matrix.
#pragma once

#include <cstddef>

namespace hubfast {

// gram (count, count) = X X' in float64, both triangles, of rows X (count, width). Sums are in the
// same order for any number of threads.
void row_gram(const float* rows, int count, std::size_t width, double* gram, int threads);
void row_gram(const double* rows, int count, std::size_t width, double* gram, int threads);

}  // namespace hubfast
