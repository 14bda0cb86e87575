// Mixed convolutions on NumPy arrays; called by hubfast/ops/zoo_conv/native.py.
#include <pybind11/stl.h>

#include <array>
#include <utility>

#include "arrays.hpp"
#include "bindings.hpp"
#include "mixed_conv.hpp"

namespace py = pybind11;

namespace {

using hubfast::array;
using hubfast::Array;
using hubfast::check_shape;
using hubfast::length;
using Released = py::gil_scoped_release;

// A side of the window: size, kernel, stride, padding, dilation.
hubfast::Side side(const std::array<int, 5>& s) { return {s[0], s[1], s[2], s[3], s[4]}; }

// A convolution with its operands: weights (models, rows, channels, taps), gates (samples, models),
// images (samples, channels, area).
class Convolution {
 public:
  Convolution(const std::array<int, 5>& y, const std::array<int, 5>& x, Array<float> weights,
              Array<float> gates, Array<float> images)
      : weights_(std::move(weights)), gates_(std::move(gates)), images_(std::move(images)) {
    if (weights_.ndim() != 4) throw py::value_error("weights must have 4 dimensions");
    const hubfast::Window window{side(y), side(x)};
    const int models = length(weights_), rows = length(weights_, 1), channels = length(weights_, 2),
              samples = length(gates_);
    check_shape(weights_, "weights", {models, rows, channels, window.taps()});
    check_shape(gates_, "gates", {samples, models});
    check_shape(images_, "images", {samples, channels, window.area()});
    conv_ = {samples, models,          rows,          channels,
             window,  weights_.data(), gates_.data(), images_.data()};
  }

  void forward(Array<float> y, int threads) const {
    check_shape(y, "y", {conv_.samples, conv_.rows, conv_.window.pixels()});
    float* to = y.mutable_data();
    const Released released;
    hubfast::forward(conv_, to, threads);
  }

  void input_gradient(const Array<float>& d_y, Array<float> d_x, int threads) const {
    check_shape(d_y, "d_y", {conv_.samples, conv_.rows, conv_.window.pixels()});
    check_shape(d_x, "d_x", {conv_.samples, conv_.channels, conv_.window.area()});
    if (conv_.window.taps() > hubfast::kMostTaps) throw py::value_error("kernel is too large");
    const float* from = d_y.data();
    float* to = d_x.mutable_data();
    const Released released;
    hubfast::input_gradient(conv_, from, to, threads);
  }

  void weight_gradient(const Array<float>& d_y, Array<float> d_weights, Array<float> d_gates,
                       int threads) const {
    check_shape(d_y, "d_y", {conv_.samples, conv_.rows, conv_.window.pixels()});
    check_shape(d_weights, "d_weights",
                {conv_.models, conv_.rows, conv_.channels, conv_.window.taps()});
    check_shape(d_gates, "d_gates", {conv_.samples, conv_.models});
    const float* from = d_y.data();
    float *to_weights = d_weights.mutable_data(), *to_gates = d_gates.mutable_data();
    const Released released;
    hubfast::weight_gradient(conv_, from, to_weights, to_gates, threads);
  }

 private:
  Array<float> weights_, gates_, images_;  // held: `conv_` points into them
  hubfast::MixedConv conv_;
};

}  // namespace

void bind_convolution(py::module_& m) {
  m.attr("MOST_TAPS") = hubfast::kMostTaps;
  py::class_<Convolution>(m, "MixedConv")
      .def(py::init<const std::array<int, 5>&, const std::array<int, 5>&, Array<float>,
                    Array<float>, Array<float>>(),
           py::kw_only(), py::arg("y"), py::arg("x"), array("weights"), array("gates"),
           array("images"))
      .def("forward", &Convolution::forward, array("y"), py::arg("threads"))
      .def("input_gradient", &Convolution::input_gradient, array("d_y"), array("d_x"),
           py::arg("threads"))
      .def("weight_gradient", &Convolution::weight_gradient, array("d_y"), array("d_weights"),
           array("d_gates"), py::arg("threads"));
}
