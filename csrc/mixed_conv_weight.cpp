// The gradients of weights and gates: those of a few samples' mixed weights at a time, in cache.
#include <algorithm>
#include <vector>

#include "mixed_conv.hpp"
#include "parallel.hpp"
#include "tile.hpp"

namespace hubfast {
namespace {

constexpr int kTaskRows = 132;  // at most, of a task: its weights and their gradients stay in L2
constexpr int kTasks = 16;      // wanted, where there are rows enough
constexpr int kPixels = 256;    // of a sum at a time
constexpr int kSamples = 4;     // and models whose sums are in registers together
constexpr int kModels = 5;

struct Block {
  int row, rows, first, width;  // of a model's weights (rows, inner): some rows, some columns
};

// found (rows, kPanel) = d_y_b x_b' in this block, for one sample; x (width, pixels) its patches.
HUBFAST_INLINE void mixed_gradient(bool wide, const Block& block, int pixels, const float* d_y,
                                   const float* x, float* panel, float* found) {
  alignas(sizeof(Floats)) float ragged[kTileRows * kPixels];
  const std::size_t stride = pixels;
  for (int j = 0; j < pixels; j += kPixels) {
    const int count = std::min(kPixels, pixels - j);
    pack_transposed(count, block.width, x + j, pixels, panel);
    for (int r = 0; r < block.rows; r += kTileRows) {
      MatrixView left{d_y + r * stride + j, pixels, 1};
      if (r + kTileRows > block.rows) {  // a tile reads whole rows: not past the last one
        std::fill_n(ragged, kTileRows * kPixels, 0.f);
        for (int i = r; i < block.rows; ++i) {
          std::copy_n(d_y + i * stride + j, count, ragged + (i - r) * kPixels);
        }
        left = {ragged, kPixels, 1};
      }
      multiply_tile(wide, count, block.width, left, panel, found + r * kPanel, j > 0);
    }
  }
}

// What found (kSamples, entries) says of Models models with gates (kSamples, Models): adds to
// d_weights (Models, entries) and to d_gates, `stride` between samples.
template <int Models>
HUBFAST_INLINE void reduce(std::size_t entries, const float* gates, const float* found,
                           const float* weights, float* d_weights, float* d_gates, int stride) {
  Floats sum[kSamples][Models] = {};
  for (std::size_t j = 0; j < entries; j += kFloats) {
    Floats d[kSamples];
    for (int b = 0; b < kSamples; ++b) d[b] = aligned(found + b * entries + j);
    for (int m = 0; m < Models; ++m) {
      const Floats weight = aligned(weights + m * entries + j);
      Floats change = aligned(d_weights + m * entries + j);
      for (int b = 0; b < kSamples; ++b) {
        change += gates[b * Models + m] * d[b];
        sum[b][m] += weight * d[b];
      }
      aligned(d_weights + m * entries + j) = change;
    }
  }
  for (int b = 0; b < kSamples; ++b) {
    for (int m = 0; m < Models; ++m) d_gates[b * stride + m] += total(sum[b][m]);
  }
}

// `reduce` for all models, samples from `sample` on; weights and d_weights (models, entries).
HUBFAST_INLINE void reduce_all(const MixedConv& p, int sample, std::size_t entries,
                               const float* found, const float* weights, float* d_weights,
                               float* d_gates) {
  const int samples = std::min(kSamples, p.samples - sample);
  for (int first = 0; first < p.models; first += kModels) {
    const int models = std::min(kModels, p.models - first);
    float gates[kSamples * kModels] = {};
    for (int b = 0; b < samples; ++b) {
      std::copy_n(p.gates + (sample + b) * p.models + first, models, gates + b * models);
    }
    const float* w = weights + first * entries;
    float *d_w = d_weights + first * entries, *d_g = d_gates + sample * p.models + first;
    switch (models) {
      case 1:
        reduce<1>(entries, gates, found, w, d_w, d_g, p.models);
        break;
      case 2:
        reduce<2>(entries, gates, found, w, d_w, d_g, p.models);
        break;
      case 3:
        reduce<3>(entries, gates, found, w, d_w, d_g, p.models);
        break;
      case 4:
        reduce<4>(entries, gates, found, w, d_w, d_g, p.models);
        break;
      default:
        reduce<5>(entries, gates, found, w, d_w, d_g, p.models);
    }
  }
}

// d_gates: zeros, room for whole groups of samples.
HUBFAST_VECTOR_CLONES
void weight_part(bool wide, const MixedConv& p, const Block& block, const PaddedImages& images,
                 const float* d_y, float* d_weights, float* d_gates) {
  const Window& w = p.window;
  const std::size_t pixels = w.pixels(), model = p.model_size(),
                    corner = static_cast<std::size_t>(block.row) * p.inner() + block.first,
                    entries = ceil_div(block.rows, kTileRows) * kTileRows * kPanel;
  const Buffer panel = buffer(kPixels * kPanel), found = buffer(kSamples * entries),
               weights = buffer(p.models * entries), change = buffer(p.models * entries),
               patches = buffer(w.is_image() ? 0 : kPanel * pixels + kSlack);
  for (int m = 0; m < p.models; ++m) {
    pack(block.rows, block.width, p.weights + m * model + corner, p.inner(),
         weights.get() + m * entries);
  }
  for (int b = 0; b < p.samples; b += kSamples) {
    const int samples = std::min(kSamples, p.samples - b);
    for (int i = b; i < b + samples; ++i) {
      const float* x = images[static_cast<std::size_t>(i) * p.channels];
      if (w.is_image()) {
        x += block.first * pixels;
      } else {
        unfold(w, x, block.first, block.width, patches.get());
        x = patches.get();
      }
      const float* d = d_y + (static_cast<std::size_t>(i) * p.rows + block.row) * pixels;
      mixed_gradient(wide, block, w.pixels(), d, x, panel.get(), found.get() + (i - b) * entries);
    }
    std::fill(found.get() + samples * entries, found.get() + kSamples * entries, 0.f);
    reduce_all(p, b, entries, found.get(), weights.get(), change.get(), d_gates);
  }
  for (int m = 0; m < p.models; ++m) {
    store_tile(block.rows, block.width, change.get() + m * entries, d_weights + m * model + corner,
               p.inner(), false);
  }
}

}  // namespace

void weight_gradient(const MixedConv& p, const float* d_y, float* d_weights, float* d_gates,
                     int threads) {
  const int across = ceil_div(p.inner(), kPanel);
  const int down = std::max(ceil_div(p.rows, kTaskRows),
                            std::min(ceil_div(p.rows, 4 * kTileRows), ceil_div(kTasks, across)));
  const int rows = ceil_div(ceil_div(p.rows, down), kTileRows) * kTileRows;
  const int tasks = ceil_div(p.rows, rows) * across;
  const PaddedImages images(p.window, p.samples * p.channels, p.x, threads);
  const bool wide = wide_registers();
  const std::size_t groups = ceil_div(p.samples, kSamples), room = groups * kSamples * p.models;
  std::vector<float> found(tasks * room);  // each task's own: their sum has an order
  openmp_for(tasks, threads, [&](int task) {
    const int row = task / across * rows, first = task % across * kPanel;
    const Block block{row, std::min(rows, p.rows - row), first,
                      std::min(kPanel, p.inner() - first)};
    weight_part(wide, p, block, images, d_y, d_weights, found.data() + task * room);
  });
  for (int i = 0; i < p.samples * p.models; ++i) {
    double sum = 0;
    for (int task = 0; task < tasks; ++task) sum += found[task * room + i];
    d_gates[i] = static_cast<float>(sum);
  }
}

}  // namespace hubfast
