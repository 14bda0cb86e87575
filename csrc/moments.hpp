// The sums over samples that shrinkage estimates need, in one pass over the rows.
#pragma once

#include <cstddef>

namespace hubfast {

// Adds to sum (width) x, to cubic (width) |x|^2 x; returns the sum of |x|^4. rows: (count, width).
double add_moments(const double* rows, std::size_t count, std::size_t width, double* sum,
                   double* cubic);

}  // namespace hubfast
