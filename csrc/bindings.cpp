// hubfast._native: raw addresses in, so that no torch header is needed; see hubfast/native.py.
#include <pybind11/pybind11.h>

#include <cstdint>

#include "evidence.hpp"

namespace py = pybind11;

namespace {

template <typename T>
T* at(std::uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

// Climbs from log_t[c] for each of the columns; energy is (columns, k), row by row.
// Returns how many columns did not converge.
std::size_t climb(std::uintptr_t lambda, std::uintptr_t energy, std::uintptr_t residual,
                  std::size_t k, std::size_t columns, double count, std::uintptr_t log_t,
                  std::uintptr_t value, std::uintptr_t quadratic, double grid_step,
                  double tolerance, int max_steps) {
  py::gil_scoped_release release;
  std::size_t failed = 0;
  for (std::size_t c = 0; c < columns; ++c) {
    const auto found =
        hubfast::climb(at<const double>(lambda), at<const double>(energy) + c * k, k,
                       at<const double>(residual)[c], count, at<double>(log_t)[c], grid_step,
                       tolerance, max_steps);
    at<double>(log_t)[c] = found.log_t;
    at<double>(value)[c] = found.value;
    at<double>(quadratic)[c] = found.quadratic;
    failed += !found.converged;
  }
  return failed;
}

}  // namespace

PYBIND11_MODULE(_native, m) {
  m.doc() = "hubfast's native core: addresses, shapes and options in, results written in place";
  m.def("climb", &climb, py::arg("eigenvalues"), py::arg("energy"), py::arg("residual"),
        py::arg("k"), py::arg("columns"), py::arg("count"), py::arg("log_t"), py::arg("value"),
        py::arg("quadratic"), py::arg("grid_step"), py::arg("tolerance"), py::arg("max_steps"));
}
