// The whole search for a column's maximum evidence, written once for a CUDA block and for one CPU
// thread: grid, Newton with bisection, second peak, both limits. Spec: hubfast/ops/evidence/reference.py.
#pragma once

#include "newton.hpp"

namespace hubfast::search {

constexpr int kMaxGrid = 3072;  // steps of 0.5 in log t from 1e-300 to the largest double

struct Settings {
  double grid_step, curvature, flat, t_floor, t_ceiling, tolerance;
  int max_steps;
};

struct Column {
  const double* lambda;  // (k)
  const double* energy;  // (k)
  int k;
  double residual, count;
};

struct Found {
  double value, t, quadratic;
  bool converged;
};

struct Range {
  double low, high;        // of log t
  double smallest, slope;  // least positive lambda; sum of energy / lambda
  double log_det, total;   // sum of log lambda; |y|^2
  double positive;         // how many lambda are
};

HUBFAST_BOTH double larger(double a, double b) { return a > b ? a : b; }
HUBFAST_BOTH double smaller(double a, double b) { return a < b ? a : b; }

HUBFAST_BOTH double profile_value(double quadratic, double log_det, double count) {
  constexpr double one_plus_log_two_pi = 2.8378770664093453;
  return -0.5 * (one_plus_log_two_pi + std::log(quadratic / count)) - log_det / (2 * count);
}

// A Team has rank() of size() threads that walk a column together, and the same in a warp of it:
// lane() of lanes(), warp() of warps(). sum, least and warp_sum return the same bits to each thread.
template <class Team>
HUBFAST_BOTH Range search_range(const Team& team, const Column& y, const Settings& set) {
  double smallest = INFINITY, largest = 0, slope = 0, log_det = 0, total = 0, positive = 0;
  for (int i = team.rank(); i < y.k; i += team.size()) {
    const double lambda = y.lambda[i];
    total += y.energy[i];
    if (!(lambda > 0)) continue;
    smallest = smaller(smallest, lambda);
    largest = larger(largest, lambda);
    slope += y.energy[i] / lambda;
    log_det += std::log(lambda);
    positive += 1;
  }
  smallest = team.least(smallest);
  largest = -team.least(-largest);
  slope = team.sum(slope);
  log_det = team.sum(log_det);
  total = team.sum(total) + y.residual;
  positive = team.sum(positive);
  double bound = smallest * set.t_floor;
  if (y.residual > 0) bound = positive * y.residual / larger(2 * y.count * slope, 1e-300);
  const double low = larger(smaller(bound, smallest), 1e-300);
  return {std::log(low), std::log(largest) + std::log(set.t_ceiling), smallest, slope, log_det,
          total, positive};
}

// L / n at exp(log_t), by one warp. The logarithms are of products of many factors: they would
// dominate, and a value of the grid only has to rank.
template <class Team>
HUBFAST_BOTH double grid_value(const Team& team, const Column& y, double log_t) {
  const double t = std::exp(log_t);
  double quadratic = 0, log_s = 0, product = 1;
  for (int i = team.lane(); i < y.k; i += team.lanes()) {
    const double s = t / (t + y.lambda[i]);
    quadratic += y.energy[i] * s;
    if (s < 1e-100) {
      log_s += std::log(t) - std::log(t + y.lambda[i]);
      continue;
    }
    product *= s;
    if (product < 1e-100) {
      log_s += std::log(product);
      product = 1;
    }
  }
  quadratic = team.warp_sum(quadratic) + y.residual;
  return profile_value(quadratic, -team.warp_sum(log_s + std::log(product)), y.count);
}

// The highest point of the grid, and a second peak that may be higher between points, or -1.
HUBFAST_BOTH void peaks(const double* grid, int points, const Settings& set, int* first,
                        int* second) {
  *first = 0;
  for (int j = 1; j < points; ++j) {
    if (grid[j] > grid[*first]) *first = j;
  }
  *second = -1;
  double height = grid[*first] - set.grid_step * set.grid_step * set.curvature / 2;
  for (int j = 1; j < points - 1; ++j) {
    const bool peak = grid[j] - grid[j - 1] > set.flat && grid[j + 1] - grid[j] < -set.flat;
    if (j == *first || !peak || !(grid[j] > height)) continue;
    height = grid[j];
    *second = j;
  }
}

template <class Team>
HUBFAST_BOTH Found climb(const Team& team, const Column& y, double log_t, const Settings& set) {
  const auto sums_at = [&](double t) {
    Sums own;
    for (int i = team.rank(); i < y.k; i += team.size()) {
      const double s = t / (t + y.lambda[i]), variance = s * (1 - s), energy = y.energy[i];
      own.gamma += 1 - s;
      own.kept += variance;
      own.q0 += energy * s;
      own.q1 += energy * variance;
      own.q2 += energy * variance * (1 - 2 * s);
    }
    return Sums{team.sum(own.gamma), team.sum(own.kept), team.sum(own.q0) + y.residual,
                team.sum(own.q1), team.sum(own.q2)};
  };
  const Summit top =
      climb_by_newton(log_t, set.grid_step, y.count, set.tolerance, set.max_steps, sums_at);
  const double t = std::exp(top.log_t);
  double quadratic = 0, log_det = 0;
  for (int i = team.rank(); i < y.k; i += team.size()) {
    quadratic += y.energy[i] * (t / (t + y.lambda[i]));
    log_det += std::log1p(y.lambda[i] / t);
  }
  quadratic = team.sum(quadratic) + y.residual;
  return {profile_value(quadratic, team.sum(log_det), y.count), t, quadratic, top.converged};
}

// `grid` is scratch for kMaxGrid values that the whole team sees.
template <class Team>
HUBFAST_BOTH Found maximum(const Team& team, const Column& y, const Settings& set, double* grid) {
  const Range range = search_range(team, y, set);
  const Found silent{profile_value(range.total, 0, y.count), INFINITY, range.total, true};
  if (!(range.positive > 0)) return silent;
  const double steps = std::ceil((range.high - range.low) / set.grid_step) + 1;
  const int points = static_cast<int>(smaller(steps, kMaxGrid));
  for (int j = team.warp(); j < points; j += team.warps()) {
    const double value = grid_value(team, y, range.low + set.grid_step * j);
    if (team.lane() == 0) grid[j] = value;
  }
  team.wait();
  int first, second;
  peaks(grid, points, set, &first, &second);
  Found best{-INFINITY, 0, 0, true};
  bool converged = true;
  for (int j = first; j >= 0; j = j == first ? second : -1) {
    const Found found = climb(team, y, range.low + set.grid_step * j, set);
    converged = converged && found.converged;
    if (!(found.value <= best.value)) best = found;
  }
  if (y.residual == 0 && range.positive == y.count) {  // L is finite for t -> 0
    const double t = range.smallest * set.t_floor;
    const double value = profile_value(range.slope, range.log_det, y.count);
    if (value >= best.value) best = {value, t, t * range.slope, converged};
  }
  if (silent.value >= best.value) best = silent;
  best.converged = converged;
  return best;
}

}  // namespace hubfast::search
