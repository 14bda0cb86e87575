// hubfast._cuda: addresses, shapes and a stream in; no torch header. See hubfast/native_cuda.py.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "cuda_evidence.hpp"

namespace py = pybind11;

namespace {

using Address = std::uintptr_t;
// eigenvalues, energy, residual, count, k, columns
using Entry = std::tuple<Address, Address, Address, double, int, int>;
// grid_step, curvature, flat, t_floor, t_ceiling, tolerance, max_steps
using Options = std::tuple<double, double, double, double, double, double, int>;

hubfast::search::Settings settings(const Options& options) {
  const auto [step, curvature, flat, floor, ceiling, tolerance, steps] = options;
  return {step, curvature, flat, floor, ceiling, tolerance, steps};
}

const double* in(Address address) { return reinterpret_cast<const double*>(address); }

void evidence(const std::vector<Entry>& entries, const Options& options, Address out,
              Address missed, Address stream) {
  if (entries.size() > hubfast::kModels) throw std::invalid_argument("too many models a launch");
  hubfast::Models models{};
  int pairs = 0;
  for (const auto& [eigenvalues, energy, residual, count, k, columns] : entries) {
    pairs += columns;
    models.entries[models.used++] = {in(eigenvalues), in(energy), in(residual), count, k, pairs};
  }
  if (pairs == 0) return;
  const int error = hubfast::launch_evidence(models, settings(options), pairs,
                                             reinterpret_cast<double*>(out),
                                             reinterpret_cast<int*>(missed),
                                             reinterpret_cast<void*>(stream));
  if (error) throw std::runtime_error(std::string("CUDA: ") + hubfast::error_text(error));
}

}  // namespace

PYBIND11_MODULE(_cuda, m) {
  m.doc() = "hubfast's CUDA kernels: addresses of device memory, shapes and a stream in";
  m.attr("MODELS") = hubfast::kModels;
  m.attr("ARCHITECTURES") = HUBFAST_ARCHITECTURES;
  m.def("evidence", &evidence, py::call_guard<py::gil_scoped_release>());
}
