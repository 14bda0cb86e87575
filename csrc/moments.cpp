#include "moments.hpp"

#include <algorithm>

#include "vector.hpp"

namespace hubfast {

HUBFAST_VECTOR_CLONES
double add_moments(const double* rows, std::size_t count, std::size_t width, double* sum,
                   double* cubic) {
  constexpr std::size_t together = 4;  // rows a pass over `sum` and `cubic`
  double quartic = 0;
  for (std::size_t first = 0; first < count; first += together) {
    const double* x[together];
    double square[together];
    for (std::size_t r = 0; r < together; ++r) {
      x[r] = rows + std::min(first + r, count - 1) * width;
      double length = 0;
#pragma omp simd reduction(+ : length)
      for (std::size_t j = 0; j < width; ++j) length += x[r][j] * x[r][j];
      square[r] = length;
      if (first + r < count) quartic += length * length;
    }
    if (first + together <= count) {
#pragma omp simd
      for (std::size_t j = 0; j < width; ++j) {
        sum[j] += (x[0][j] + x[1][j]) + (x[2][j] + x[3][j]);
        cubic[j] += (square[0] * x[0][j] + square[1] * x[1][j]) +
                    (square[2] * x[2][j] + square[3] * x[3][j]);
      }
      continue;
    }
    for (std::size_t r = 0; first + r < count; ++r) {
      for (std::size_t j = 0; j < width; ++j) {
        sum[j] += x[r][j];
        cubic[j] += square[r] * x[r][j];
      }
    }
  }
  return quartic;
}

}  // namespace hubfast
