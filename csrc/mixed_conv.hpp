// Convolutions with weights mixed for each sample, tile by tile inside the matrix product.
#pragma once

#include <cstddef>

#include "window.hpp"

namespace hubfast {

// y_b = conv(x_b, W_b) with W_b = sum_m gates[b, m] weights[m]: the product of W_b (rows, inner)
// and the patches (inner, pixels) of x_b. All arrays are whole, row by row.
struct MixedConv {
  int samples, models, rows, channels;
  Window window;
  const float* weights;  // (models, rows, inner)
  const float* gates;    // (samples, models)
  const float* x;        // (samples, channels, area)

  int inner() const { return channels * window.taps(); }
  std::size_t model_size() const { return static_cast<std::size_t>(rows) * inner(); }
};

constexpr int kMostTaps = 126;  // that `input_gradient` takes

// y (samples, rows, pixels).
void forward(const MixedConv& conv, float* y, int threads);

// d_x (samples, channels, area) from d_y (samples, rows, pixels); conv.x is not read.
void input_gradient(const MixedConv& conv, const float* d_y, float* d_x, int threads);

// d_weights (models, rows, inner) and d_gates (samples, models). The order of sums depends on
// shapes alone, not on threads.
void weight_gradient(const MixedConv& conv, const float* d_y, float* d_weights, float* d_gates,
                     int threads);

}  // namespace hubfast
