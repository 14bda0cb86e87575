// Gram matrices, band forms and the evidence on NumPy arrays; called by hubfast/ops/linalg/native.py.
#include <pybind11/stl.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <tuple>

#include "arrays.hpp"
#include "band.hpp"
#include "bindings.hpp"
#include "evidence.hpp"
#include "lapack.hpp"
#include "moments.hpp"
#include "parallel.hpp"
#include "resolvent.hpp"
#include "row_gram.hpp"

namespace py = pybind11;

namespace {

using hubfast::array;
using hubfast::Array;
using hubfast::check_matrix;
using hubfast::check_shape;
using hubfast::length;
using hubfast::Strided;
using Released = py::gil_scoped_release;

// gram (width, width) += rows' rows in row-major order; only its upper triangle.
void add_gram(Array<double> gram, const Array<double>& rows) {
  check_matrix(rows, "rows");
  const int count = length(rows), width = length(rows, 1);
  check_shape(gram, "gram", {width, width});
  const double one = 1;
  const double* from = rows.data();
  double* to = gram.mutable_data();
  const Released released;
  hubfast::lapack::library.dsyrk("L", "N", &width, &count, &one, from, &width, &one, to, &width);
}

// Adds to sum and cubic (width), and returns the sum of |x|^4 over the rows.
double add_moments(const Array<double>& rows, Array<double> sum, Array<double> cubic) {
  check_matrix(rows, "rows");
  check_shape(sum, "sum", {rows.shape(1)});
  check_shape(cubic, "cubic", {rows.shape(1)});
  const double* from = rows.data();
  double *first = sum.mutable_data(), *third = cubic.mutable_data();
  const Released released;
  return hubfast::add_moments(from, length(rows), length(rows, 1), first, third);
}

// gram (count, count) = rows' inner products, of floats or doubles.
template <class T>
void row_gram(const Array<T>& rows, Array<double> gram, int threads) {
  check_matrix(rows, "rows");
  check_shape(gram, "gram", {rows.shape(0), rows.shape(0)});
  const T* from = rows.data();
  double* to = gram.mutable_data();
  const Released released;
  hubfast::row_gram(from, length(rows), length(rows, 1), to, threads);
}

constexpr int kPadding =
    8;  // doubles between rows: rows a power of two apart would share cache sets

// From the upper triangle of gram (n, n): its band (n, width + 1), reflectors (n, n + padding) and
// their triangular factors, as `reduce_to_band` gives them.
std::tuple<Array<double>, Array<double>, Array<double>> reduce(const Array<double>& gram) {
  check_matrix(gram, "gram");
  const int n = length(gram), stride = n + kPadding, width = hubfast::kBandwidth;
  check_shape(gram, "gram", {n, n});
  Array<double> band({n, width + 1}), reflectors({n, stride}),
      factors({n / width + 1, width, width});
  const double* from = gram.data();
  double *to_band = band.mutable_data(), *work = reflectors.mutable_data(),
         *to_factors = factors.mutable_data();
  {
    const Released released;
    for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
      std::memcpy(work + i * stride + i, from + i * n + i, sizeof(double) * (n - i));
    }
    hubfast::reduce_to_band(n, work, stride, to_factors, to_band);
  }
  return {band, reflectors, factors};
}

// rows (count, n) <- rows Q, or rows Q' if `back`.
void rotate(const Array<double>& reflectors, const Array<double>& factors, bool back,
            Strided<double> rows) {
  const int n = length(reflectors), width = hubfast::kBandwidth;
  check_shape(reflectors, "reflectors", {n, n + kPadding});
  check_shape(factors, "factors", {n / width + 1, width, width});
  const auto to = hubfast::rows_of(rows, "rows");
  check_shape(rows, "rows", {to.count, n});
  const double *v = reflectors.data(), *t = factors.data();
  const Released released;
  hubfast::rotate(n, v, n + kPadding, t, back, to.data, to.stride, to.count);
}

// log det(B + t I) (shifts) and y'(B + t I)^-1 y (shifts, count) for the rows y of rows (count, n).
std::tuple<Array<double>, Array<double>> quadratic_forms(const Array<double>& band,
                                                         Strided<double> rows,
                                                         const Array<double>& t, int threads) {
  const int n = length(band), shifts = length(t);
  check_shape(band, "band", {n, hubfast::kBandwidth + 1});
  const auto y = hubfast::rows_of(rows, "rows");
  check_shape(rows, "rows", {y.count, n});
  check_shape(t, "t", {shifts});
  Array<double> log_det(shifts), forms({shifts, y.count});
  const double *from = band.data(), *at = t.data();
  double *to_log_det = log_det.mutable_data(), *to_forms = forms.mutable_data();
  {
    const Released released;
    hubfast::quadratic_forms(n, from, y.count, y.data, y.stride, shifts, at, to_log_det, to_forms,
                             threads);
  }
  return {log_det, forms};
}

// (B + t_c I)^-1 y_c for the rows y of rows (count, n), a shift each.
Array<double> solve(const Array<double>& band, const Array<double>& rows, const Array<double>& t,
                    int threads) {
  const int n = length(band), count = length(rows);
  check_shape(band, "band", {n, hubfast::kBandwidth + 1});
  check_shape(rows, "rows", {count, n});
  check_shape(t, "t", {count});
  Array<double> solutions({count, n});
  const double *from = band.data(), *y = rows.data(), *at = t.data();
  double* to = solutions.mutable_data();
  {
    const Released released;
    hubfast::solve(n, from, count, y, at, to, threads);
  }
  return solutions;
}

// Climbs from log_t (columns) for each column of energy (columns, k): log t, value and quadratic
// form where it arrives, and how many columns did not converge.
std::tuple<Array<double>, Array<double>, Array<double>, int> climb(
    const Array<double>& eigenvalues, const Array<double>& energy, const Array<double>& residual,
    double count, const Array<double>& log_t, double grid_step, double tolerance, int max_steps,
    int threads) {
  constexpr int block = 16;
  const int columns = length(residual);
  const std::size_t k = eigenvalues.size();
  check_shape(energy, "energy", {columns, eigenvalues.size()});
  check_shape(residual, "residual", {columns});
  check_shape(log_t, "log_t", {columns});
  Array<double> arrived(columns), value(columns), quadratic(columns);
  const double *lambda = eigenvalues.data(), *y = energy.data(), *rest = residual.data(),
               *start = log_t.data();
  double *to_t = arrived.mutable_data(), *to_value = value.mutable_data(),
         *to_quadratic = quadratic.mutable_data();
  std::atomic<int> failed{0};
  {
    const Released released;
    hubfast::parallel_for((columns + block - 1) / block, threads, [&](int task) {
      for (int c = task * block; c < std::min(columns, (task + 1) * block); ++c) {
        const auto found = hubfast::climb(lambda, y + c * k, k, rest[c], count, start[c], grid_step,
                                          tolerance, max_steps);
        to_t[c] = found.log_t;
        to_value[c] = found.value;
        to_quadratic[c] = found.quadratic;
        failed += !found.converged;
      }
    });
  }
  return {arrived, value, quadratic, failed.load()};
}

}  // namespace

void bind_linear_algebra(py::module_& m) {
  m.def("add_gram", &add_gram, array("gram"), array("rows"));
  m.def("add_moments", &add_moments, array("rows"), array("sum"), array("cubic"));
  m.def("row_gram", &row_gram<float>, array("rows"), array("gram"), py::arg("threads"));
  m.def("row_gram", &row_gram<double>, array("rows"), array("gram"), py::arg("threads"));
  m.attr("BANDWIDTH") = hubfast::kBandwidth;
  m.attr("PADDING") = kPadding;
  m.def("reduce", &reduce, array("gram"));
  m.def("rotate", &rotate, array("reflectors"), array("factors"), py::arg("back"), array("rows"));
  m.def("quadratic_forms", &quadratic_forms, array("band"), array("rows"), array("t"),
        py::arg("threads"));
  m.def("solve", &solve, array("band"), array("rows"), array("t"), py::arg("threads"));
  m.def("climb", &climb, py::kw_only(), array("eigenvalues"), array("energy"), array("residual"),
        py::arg("count"), array("log_t"), py::arg("grid_step"), py::arg("tolerance"),
        py::arg("max_steps"), py::arg("threads"));
}
