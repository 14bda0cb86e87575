// Newton's climb to the maximum of the evidence L next to a starting point, with bisection where it
// would leave the bracket. Written once for every C++ form of the search: those differ in how they
// sum over a column. Spec: hubfast/ops/evidence/reference.py.
#pragma once

#include <cmath>

#ifdef __CUDACC__
#define HUBFAST_BOTH __host__ __device__ __forceinline__
#else
#define HUBFAST_BOTH inline
#endif

namespace hubfast::search {

struct Sums {
  double gamma = 0;  // sum lambda / (t + lambda)
  double kept = 0;   // sum s (1 - s), with s = t / (t + lambda)
  double q0 = 0;     // sum z^2 s, and the residual
  double q1 = 0;     // sum z^2 s (1 - s)
  double q2 = 0;     // sum z^2 s (1 - s) (1 - 2 s)
};

struct Summit {
  double log_t;
  bool converged;
};

// `sums_at(t)` gives the sums at t; the summit lies within `grid_step` of `log_t`.
template <class SumsAt>
HUBFAST_BOTH Summit climb_by_newton(double log_t, double grid_step, double count, double tolerance,
                                    int max_steps, const SumsAt& sums_at) {
  double low = log_t - grid_step, high = log_t + grid_step;
  bool converged = false;
  for (int step = 0; step < max_steps && !converged; ++step) {
    const Sums sums = sums_at(std::exp(log_t));
    const double ratio = sums.q1 / sums.q0;
    const double slope = sums.gamma - count * ratio;  // 2 n dL / d log t
    const double curvature = -sums.kept - count * (sums.q2 / sums.q0 - ratio * ratio);
    (slope > 0 ? low : high) = log_t;
    double following = log_t - slope / curvature;
    if (!(curvature < 0 && following >= low && following <= high)) following = (low + high) / 2;
    converged = std::fabs(following - log_t) < tolerance;
    log_t = following;
  }
  return {log_t, converged};
}

}  // namespace hubfast::search
