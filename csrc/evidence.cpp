#include "evidence.hpp"

#include <cmath>

#include "newton.hpp"
#include "vector.hpp"

namespace hubfast {
namespace {

using search::Sums;

// One pass yields everything a Newton step needs; plain torch makes ten.
HUBFAST_VECTOR_CLONES
void accumulate(const double* lambda, const double* energy, std::size_t k, double t, Sums* out) {
  double gamma = 0, kept = 0, q0 = 0, q1 = 0, q2 = 0;
#pragma omp simd reduction(+ : gamma, kept, q0, q1, q2)
  for (std::size_t i = 0; i < k; ++i) {
    const double s = t / (t + lambda[i]);
    const double variance = s * (1 - s);
    gamma += 1 - s;
    kept += variance;
    q0 += energy[i] * s;
    q1 += energy[i] * variance;
    q2 += energy[i] * variance * (1 - 2 * s);
  }
  *out = {gamma, kept, q0, q1, q2};
}

double log_determinant(const double* lambda, std::size_t k, double t) {
  double sum = 0;
  for (std::size_t i = 0; i < k; ++i) sum += std::log1p(lambda[i] / t);
  return sum;
}

}  // namespace

Maximum climb(const double* lambda, const double* energy, std::size_t k, double residual,
              double count, double log_t, double grid_step, double tolerance, int max_steps) {
  Sums sums;
  const auto sums_at = [&](double t) {
    accumulate(lambda, energy, k, t, &sums);
    sums.q0 += residual;
    return sums;
  };
  const search::Summit top =
      search::climb_by_newton(log_t, grid_step, count, tolerance, max_steps, sums_at);
  const double t = std::exp(top.log_t), pi = 3.14159265358979323846;
  const double quadratic = sums_at(t).q0;
  const double value = -0.5 * (1 + std::log(2 * pi) + std::log(quadratic / count)) -
                       log_determinant(lambda, k, t) / (2 * count);
  return {value, top.log_t, quadratic, top.converged};
}

}  // namespace hubfast
