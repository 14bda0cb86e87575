// csrc/evidence_search.hpp as the host compiles it, for tests/ops/test_cuda.py: a team of one thread.
#include "evidence_search.hpp"

using namespace hubfast::search;

struct Alone {
  int rank() const { return 0; }
  int size() const { return 1; }
  int lane() const { return 0; }
  int lanes() const { return 1; }
  int warp() const { return 0; }
  int warps() const { return 1; }
  void wait() const {}
  double warp_sum(double x) const { return x; }
  double sum(double x) const { return x; }
  double least(double x) const { return x; }
};

static int report(const Found& found, double* out) {
  out[0] = found.value;
  out[1] = found.t;
  out[2] = found.quadratic;
  return found.converged;
}

extern "C" int evidence(const double* lambda, const double* energy, int k, double residual,
                        double count, const Settings* set, double* out) {
  static thread_local double grid[kMaxGrid];
  return report(maximum(Alone{}, {lambda, energy, k, residual, count}, *set, grid), out);
}

// From log t in out[0].
extern "C" int climb(const double* lambda, const double* energy, int k, double residual,
                     double count, const Settings* set, double* out) {
  return report(climb(Alone{}, {lambda, energy, k, residual, count}, out[0], *set), out);
}
