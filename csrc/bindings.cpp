// hubfast._native: NumPy arrays in, so that no torch header is needed.
#include "bindings.hpp"

#include <pybind11/pybind11.h>

#include <sstream>
#include <string>

#include "lapack.hpp"

namespace py = pybind11;

namespace {

// One letter per argument of a C signature "void (char *, int *, alias_of_double *)": c, i or d.
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

}  // namespace

PYBIND11_MODULE(_native, m) {
  m.doc() = "hubfast's native core: NumPy arrays in, checked, never copied";
  load_lapack();
  bind_linear_algebra(m);
  bind_convolution(m);
}
