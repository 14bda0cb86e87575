// hubfast._native: raw addresses in, so that no torch header is needed; see hubfast/ops/linalg/native.py.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <sstream>
#include <string>

#include "band.hpp"
#include "evidence.hpp"
#include "lapack.hpp"
#include "mixed_conv.hpp"
#include "moments.hpp"
#include "parallel.hpp"
#include "resolvent.hpp"
#include "row_gram.hpp"

namespace py = pybind11;

namespace {

using Address = std::uintptr_t;
using Released = py::call_guard<py::gil_scoped_release>;

const double* in(Address address) { return reinterpret_cast<const double*>(address); }
double* out(Address address) { return reinterpret_cast<double*>(address); }
float* floats(Address address) { return reinterpret_cast<float*>(address); }

// One letter an argument of a C signature "void (char *, int *, alias_of_double *)": c, i or d.
std::string letters(const std::string& signature) {
  std::istringstream list(signature.substr(signature.find('(') + 1));
  std::string found, type;
  while (std::getline(list, type, ',')) {
    type.erase(0, type.find_first_not_of(' '));
    found += type.rfind("char *", 0) == 0 ? 'c' : type.rfind("int *", 0) == 0 ? 'i' : 'd';
  }
  return found;
}

// Takes a routine from SciPy's table; another integer type, say, would be called wrongly.
template <class Function>
void take(const py::dict& table, const char* name, const char* expected, Function*& target) {
  const auto capsule = py::reinterpret_borrow<py::object>(table[name]);
  const char* signature = PyCapsule_GetName(capsule.ptr());
  if (letters(signature) != expected) {
    throw py::import_error(std::string("SciPy's ") + name + " has another signature: " + signature);
  }
  target = reinterpret_cast<Function*>(PyCapsule_GetPointer(capsule.ptr(), signature));
}

void load_lapack() {
  auto& to = hubfast::lapack::library;
  const py::dict blas = py::module_::import("scipy.linalg.cython_blas").attr("__pyx_capi__");
  const py::dict lapack = py::module_::import("scipy.linalg.cython_lapack").attr("__pyx_capi__");
  take(blas, "dsyrk", "cciiddiddi", to.dsyrk);
  take(blas, "dsyr2k", "cciiddididdi", to.dsyr2k);
  take(blas, "dsymm", "cciiddididdi", to.dsymm);
  take(blas, "dgemm", "cciiiddididdi", to.dgemm);
  take(blas, "dtrmm", "cccciiddidi", to.dtrmm);
  take(lapack, "dgeqrt3", "iididii", to.dgeqrt3);
  take(lapack, "dgemqrt", "cciiiididididi", to.dgemqrt);
}

// gram (width, width) += rows' rows in row-major order; only its upper triangle.
void add_gram(Address gram, int width, Address rows, int count) {
  const double one = 1;
  hubfast::lapack::library.dsyrk("L", "N", &width, &count, &one, in(rows), &width, &one, out(gram),
                                 &width);
}

double add_moments(Address rows, int count, int width, Address sum, Address cubic) {
  return hubfast::add_moments(in(rows), count, width, out(sum), out(cubic));
}

// gram (count, count) = rows' inner products, of floats or doubles.
void row_gram(Address rows, bool doubles, int count, std::size_t width, Address gram, int threads) {
  if (doubles) {
    hubfast::row_gram(in(rows), count, width, out(gram), threads);
  } else {
    hubfast::row_gram(floats(rows), count, width, out(gram), threads);
  }
}

// Row-major upper triangle of gram (n, n) into work (n, stride), reduced there.
void reduce(int n, Address gram, Address work, int stride, Address factors, Address band) {
  for (int i = 0; i < n; ++i) {
    std::memcpy(out(work) + static_cast<std::size_t>(i) * stride + i,
                in(gram) + static_cast<std::size_t>(i) * n + i, sizeof(double) * (n - i));
  }
  hubfast::reduce_to_band(n, out(work), stride, out(factors), out(band));
}

void rotate(int n, Address work, int stride, Address factors, bool back, Address columns,
            int column_stride, int count) {
  hubfast::rotate(n, in(work), stride, in(factors), back, out(columns), column_stride, count);
}

void quadratics(int n, Address band, int count, Address columns, int stride, int shifts, Address t,
                Address log_det, Address quadratics, int threads) {
  hubfast::quadratics(n, in(band), count, in(columns), stride, shifts, in(t), out(log_det),
                      out(quadratics), threads);
}

void solve(int n, Address band, int count, Address columns, Address t, Address solutions,
           int threads) {
  hubfast::solve(n, in(band), count, in(columns), in(t), out(solutions), threads);
}

// Climbs from log_t[c] for each of the columns; energy is (columns, k), row by row.
// Returns how many columns did not converge.
int climb(Address eigenvalues, Address energy, Address residual, std::size_t k, int columns,
          double count, Address log_t, Address value, Address quadratic, double grid_step,
          double tolerance, int max_steps, int threads) {
  constexpr int block = 16;
  std::atomic<int> failed{0};
  hubfast::parallel_for((columns + block - 1) / block, threads, [&](int task) {
    for (int c = task * block; c < std::min(columns, (task + 1) * block); ++c) {
      const auto found =
          hubfast::climb(in(eigenvalues), in(energy) + c * k, k, in(residual)[c], count,
                         in(log_t)[c], grid_step, tolerance, max_steps);
      out(log_t)[c] = found.log_t;
      out(value)[c] = found.value;
      out(quadratic)[c] = found.quadratic;
      failed += !found.converged;
    }
  });
  return failed;
}

// A side of the window: size, kernel, stride, padding, dilation.
hubfast::Side side(const std::array<int, 5>& s) { return {s[0], s[1], s[2], s[3], s[4]}; }

hubfast::MixedConv mixed_conv(int samples, int models, int rows, int channels,
                              const std::array<int, 5>& y, const std::array<int, 5>& x,
                              Address weights, Address gates, Address images) {
  return {samples, models, rows, channels, {side(y), side(x)}, floats(weights), floats(gates),
          floats(images)};
}

void mixed_forward(const hubfast::MixedConv& conv, Address y, int threads) {
  hubfast::forward(conv, floats(y), threads);
}

void mixed_input_gradient(const hubfast::MixedConv& conv, Address d_y, Address d_x, int threads) {
  hubfast::input_gradient(conv, floats(d_y), floats(d_x), threads);
}

void mixed_weight_gradient(const hubfast::MixedConv& conv, Address d_y, Address d_weights,
                           Address d_gates, int threads) {
  hubfast::weight_gradient(conv, floats(d_y), floats(d_weights), floats(d_gates), threads);
}

}  // namespace

PYBIND11_MODULE(_native, m) {
  m.doc() = "hubfast's native core: addresses, shapes and options in, results written in place";
  load_lapack();
  m.attr("BANDWIDTH") = hubfast::kBandwidth;
  m.def("add_gram", &add_gram, Released());
  m.def("add_moments", &add_moments, Released());
  m.def("row_gram", &row_gram, Released());
  m.def("reduce", &reduce, Released());
  m.def("rotate", &rotate, Released());
  m.def("quadratics", &quadratics, Released());
  m.def("solve", &solve, Released());
  m.def("climb", &climb, Released(), py::kw_only(), py::arg("eigenvalues"), py::arg("energy"),
        py::arg("residual"), py::arg("k"), py::arg("columns"), py::arg("count"), py::arg("log_t"),
        py::arg("value"), py::arg("quadratic"), py::arg("grid_step"), py::arg("tolerance"),
        py::arg("max_steps"), py::arg("threads"));
  m.attr("MOST_TAPS") = hubfast::kMostTaps;
  py::class_<hubfast::MixedConv>(m, "MixedConv")
      .def(py::init(&mixed_conv), py::kw_only(), py::arg("samples"), py::arg("models"),
           py::arg("rows"), py::arg("channels"), py::arg("y"), py::arg("x"), py::arg("weights"),
           py::arg("gates"), py::arg("images"))
      .def("forward", &mixed_forward, Released())
      .def("input_gradient", &mixed_input_gradient, Released())
      .def("weight_gradient", &mixed_weight_gradient, Released());
}
