#include "evidence.hpp"

#include <cmath>

#include "vector.hpp"

namespace hubfast {
namespace {

struct Sums {
  double gamma = 0;   // sum lambda / (t + lambda)
  double kept = 0;    // sum s (1 - s), with s = t / (t + lambda)
  double q0 = 0;      // sum z^2 s
  double q1 = 0;      // sum z^2 s (1 - s)
  double q2 = 0;      // sum z^2 s (1 - s) (1 - 2 s)
};

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
  double low = log_t - grid_step, high = log_t + grid_step;
  bool converged = false;
  Sums sums;
  for (int step = 0; step < max_steps && !converged; ++step) {
    accumulate(lambda, energy, k, std::exp(log_t), &sums);
    const double q0 = sums.q0 + residual, ratio = sums.q1 / q0;
    const double slope = sums.gamma - count * ratio;  // 2 n dL / d log t
    const double curvature = -sums.kept - count * (sums.q2 / q0 - ratio * ratio);
    (slope > 0 ? low : high) = log_t;
    double following = log_t - slope / curvature;
    if (!(curvature < 0 && following >= low && following <= high)) following = (low + high) / 2;
    converged = std::fabs(following - log_t) < tolerance;
    log_t = following;
  }
  const double t = std::exp(log_t), pi = 3.14159265358979323846;
  accumulate(lambda, energy, k, t, &sums);
  const double quadratic = sums.q0 + residual;
  const double value = -0.5 * (1 + std::log(2 * pi) + std::log(quadratic / count)) -
                       log_determinant(lambda, k, t) / (2 * count);
  return {value, log_t, quadratic, converged};
}

}  // namespace hubfast
