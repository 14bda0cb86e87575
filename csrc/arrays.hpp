// NumPy arrays as the bindings take them: dtype and memory order in the type, shapes checked.
#pragma once

#include <pybind11/numpy.h>

#include <initializer_list>
#include <string>
#include <vector>

namespace hubfast {

namespace py = pybind11;

// Without gaps, row by row. Bound with `noconvert`: a converted copy would be written in vain.
template <class T>
using Array = py::array_t<T, py::array::c_style>;

// Of any strides; see `rows_of`.
template <class T>
using Strided = py::array_t<T, 0>;

template <class Sizes>
std::string shape_text(const Sizes& sizes) {
  std::string text = "(";
  for (const auto size : sizes) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + (sizes.size() == 1 ? ",)" : ")");
}

// Raises ValueError unless `array` has the shape `wanted`.
inline void check_shape(const py::array& array, const char* name,
                        std::initializer_list<py::ssize_t> wanted) {
  bool same = array.ndim() == static_cast<py::ssize_t>(wanted.size());
  for (py::ssize_t i = 0; same && i < array.ndim(); ++i) {
    same = array.shape(i) == wanted.begin()[i];
  }
  if (same) return;
  const std::vector<py::ssize_t> found(array.shape(), array.shape() + array.ndim());
  throw py::value_error(std::string(name) + " must be " + shape_text(wanted) + ", got " +
                        shape_text(found));
}

// Raises ValueError unless `array` is a matrix.
inline void check_matrix(const py::array& array, const char* name) {
  if (array.ndim() != 2) {
    throw py::value_error(std::string(name) + " must be a matrix, got " +
                          std::to_string(array.ndim()) + " dimensions");
  }
}

// A matrix whose rows may lie apart: row i starts at data + i * stride.
template <class T>
struct Rows {
  T* data;
  int count, width, stride;
};

// Raises ValueError unless the entries of a row of the matrix `array` are next to each other.
template <class T>
Rows<T> rows_of(Strided<T>& array, const char* name) {
  check_matrix(array, name);
  constexpr py::ssize_t size = sizeof(T);
  const bool dense = array.shape(1) < 2 || array.strides(1) == size;
  const bool apart = array.shape(0) < 2 ||
                     (array.strides(0) % size == 0 && array.strides(0) >= array.shape(1) * size);
  if (array.size() > 0 && !(dense && apart))
    throw py::value_error(std::string(name) + " must hold dense rows");
  const auto stride = array.shape(0) < 2 ? array.shape(1) : array.strides(0) / size;
  return {array.mutable_data(), static_cast<int>(array.shape(0)), static_cast<int>(array.shape(1)),
          static_cast<int>(stride)};
}

inline int length(const py::array& array, int axis = 0) {
  return static_cast<int>(array.shape(axis));
}

// An array argument: NumPy must not convert it, since results are written in place.
inline py::arg array(const char* name) { return py::arg(name).noconvert(); }

}  // namespace hubfast
