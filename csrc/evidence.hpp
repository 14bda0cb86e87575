// The maximum of a column's evidence L(t) next to a starting point. Spec: hubfast/ops/evidence/reference.py.
#pragma once

#include <cstddef>

namespace hubfast {

struct Maximum {
  double value;      // L / n, nats per sample
  double log_t;      // t = alpha / beta
  double quadratic;  // Q(t) = n / beta
  bool converged;
};

// lambda, energy: k values each, lambda >= 0; residual = |y|^2 - sum energy; count = n.
Maximum climb(const double* lambda, const double* energy, std::size_t k, double residual,
              double count, double log_t, double grid_step, double tolerance, int max_steps);

}  // namespace hubfast
