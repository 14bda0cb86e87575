#include "mixed_conv.hpp"

#include <algorithm>
#include <numeric>

#include "parallel.hpp"
#include "tile.hpp"

namespace hubfast {
namespace {

constexpr int kSteps = 256;      // of a sum before its result is put away: operands stay in L2
constexpr int kSamples = 4;      // whose weights are mixed together
constexpr int kMixedRows = 126;  // of mixed weights at a time, whole tiles
constexpr int kStride = kSteps + kFloats, kStrideAcross = 144;  // between mixed rows; see `mix`
constexpr int kColumns = 4;  // pixels past the last whole vector that are not worth another one
using Column = float[kSteps];
static_assert(kMixedRows % kTileRows == 0 && kMixedRows >= kMostTaps);
static_assert(kStrideAcross % kFloats == 0 && kStrideAcross >= kMixedRows);

// The rows and samples of a result that a task computes.
struct Part {
  int row, rows, sample, samples;
};

// Few parts read the operands less often, but every thread should get several. Rows of a part are a
// multiple of `unit`.
class Parts {
 public:
  Parts(int all_rows, int unit, int all_samples, int threads)
      : all_rows_(all_rows),
        unit_(unit),
        all_samples_(all_samples),
        rows_(kMixedRows / unit * unit),
        samples_(all_samples) {
    const int wanted = threads > 1 ? 4 * threads : 1;
    while (count() < wanted && samples_ > 4) samples_ = ceil_div(samples_, 2);
    while (count() < wanted && rows_ > std::max(4 * kTileRows, unit))
      rows_ = up(ceil_div(rows_, 2));
    rows_ = up(ceil_div(all_rows, ceil_div(all_rows, rows_)));
  }

  int count() const { return ceil_div(all_rows_, rows_) * ceil_div(all_samples_, samples_); }

  Part operator[](int task) const {
    const int across = ceil_div(all_samples_, samples_);
    const int row = task / across * rows_, sample = task % across * samples_;
    return {row, std::min(rows_, all_rows_ - row), sample,
            std::min(samples_, all_samples_ - sample)};
  }

 private:
  int up(int rows) const { return ceil_div(rows, unit_) * unit_; }

  int all_rows_, unit_, all_samples_, rows_, samples_;
};

// to[b] (rows, width), `stride` between rows, = sum_m gates[b, m] from[m] for Samples samples, and
// anything to the next whole vector.
template <int Samples>
HUBFAST_INLINE void mix_samples(const MixedConv& p, const float* gates, const float* from, int rows,
                                int width, float* to, int stride, int size) {
  const std::size_t model = p.model_size();
  const float* const end = p.weights + model;
  for (int r = 0; r < rows; ++r, from += p.inner(), to += stride) {
    for (int j = 0; j < width; j += kFloats) {
      const std::ptrdiff_t left = end - from - j;
      Floats sum[Samples] = {};
      for (int m = 0; m < p.models; ++m) {
        const float* at = from + m * model + j;
        const Floats weight = left >= kFloats ? Floats(unaligned(at)) : load_partial(left, at);
        for (int b = 0; b < Samples; ++b) sum[b] += gates[b * p.models + m] * weight;
      }
      for (int b = 0; b < Samples; ++b) aligned(to + b * size + j) = sum[b];
    }
  }
}

HUBFAST_INLINE void mix(const MixedConv& p, int sample, int samples, const float* from, int rows,
                        int width, float* to, int stride, int size) {
  const float* gates = p.gates + sample * p.models;
  switch (samples) {
    case 1:
      return mix_samples<1>(p, gates, from, rows, width, to, stride, size);
    case 2:
      return mix_samples<2>(p, gates, from, rows, width, to, stride, size);
    case 3:
      return mix_samples<3>(p, gates, from, rows, width, to, stride, size);
    default:
      return mix_samples<4>(p, gates, from, rows, width, to, stride, size);
  }
}

// The first Columns of `column` after mixed (rows, steps): vectors lie along the sum ...
template <int Columns>
HUBFAST_INLINE void multiply_along(int rows, int steps, MatrixView mixed, const Column* column,
                                   float* y, std::ptrdiff_t stride, bool add) {
  const int most = steps / kFloats * kFloats;
  for (int first = 0; first < rows; first += kTileRows, mixed.from += kTileRows * mixed.row) {
    Floats sum[kTileRows][Columns] = {};
    for (int i = 0; i < most; i += kFloats) {
      for (int r = 0; r < kTileRows; ++r) {
        const Floats left = aligned(mixed.from + r * mixed.row + i);
        for (int c = 0; c < Columns; ++c) sum[r][c] += left * aligned(column[c] + i);
      }
    }
    for (int r = 0; r < std::min(kTileRows, rows - first); ++r) {
      for (int c = 0; c < Columns; ++c) {
        float all = total(sum[r][c]);
        for (int i = most; i < steps; ++i) all += mixed.from[r * mixed.row + i] * column[c][i];
        float& to = y[(first + r) * stride + c];
        to = all + (add ? to : 0);
      }
    }
  }
}

// ... or along the rows, which are next to each other.
template <int Columns>
HUBFAST_INLINE void multiply_across(int rows, int steps, MatrixView mixed, const Column* column,
                                    float* y, std::ptrdiff_t stride, bool add) {
  constexpr int vectors = 4, together = vectors * kFloats;
  for (int first = 0; first < rows; first += together, mixed.from += together) {
    Floats sum[Columns][vectors] = {};
    for (int i = 0; i < steps; ++i) {
      for (int v = 0; v < vectors; ++v) {
        const Floats left = aligned(mixed.from + i * mixed.step + v * kFloats);
        for (int c = 0; c < Columns; ++c) sum[c][v] += column[c][i] * left;
      }
    }
    alignas(sizeof(Floats)) float found[Columns][together];
    for (int c = 0; c < Columns; ++c) {
      for (int v = 0; v < vectors; ++v) aligned(found[c] + v * kFloats) = sum[c][v];
    }
    for (int r = 0; r < std::min(together, rows - first); ++r) {
      for (int c = 0; c < Columns; ++c) {
        float& to = y[(first + r) * stride + c];
        to = found[c][r] + (add ? to : 0);
      }
    }
  }
}

template <int Columns>
HUBFAST_INLINE void multiply_columns(int rows, int steps, MatrixView mixed, const Column* column,
                                     float* y, std::ptrdiff_t stride, bool add) {
  if (mixed.step == 1) {
    multiply_along<Columns>(rows, steps, mixed, column, y, stride, add);
  } else {
    multiply_across<Columns>(rows, steps, mixed, column, y, stride, add);
  }
}

// y (rows, pixels) (+)= mixed (rows, steps) times x (steps, pixels).
HUBFAST_INLINE void multiply(bool wide, int rows, int steps, int pixels, MatrixView mixed,
                             const float* x, float* panel, float* y, bool add) {
  alignas(sizeof(Floats)) float tile[kTileRows * kPanel];
  const int rest = pixels % kFloats;
  const int most = pixels > kFloats && rest <= kColumns ? pixels - rest : pixels;
  for (int j = 0; j < most; j += kPanel) {
    const int width = std::min(kPanel, most - j);
    pack(steps, width, x + j, pixels, panel);
    MatrixView left = mixed;
    for (int r = 0; r < rows; r += kTileRows, left.from += kTileRows * mixed.row) {
      multiply_tile(wide, steps, width, left, panel, tile, false);
      store_tile(std::min(kTileRows, rows - r), width, tile,
                 y + static_cast<std::size_t>(r) * pixels + j, pixels, add);
    }
  }
  alignas(sizeof(Floats)) Column column[kColumns];
  for (int i = 0; i < steps && most < pixels; ++i) {
    for (int c = 0; c < pixels - most; ++c) {
      column[c][i] = x[static_cast<std::size_t>(i) * pixels + most + c];
    }
  }
  switch (pixels - most) {
    case 0:
      return;
    case 1:
      return multiply_columns<1>(rows, steps, mixed, column, y + most, pixels, add);
    case 2:
      return multiply_columns<2>(rows, steps, mixed, column, y + most, pixels, add);
    case 3:
      return multiply_columns<3>(rows, steps, mixed, column, y + most, pixels, add);
    default:
      return multiply_columns<4>(rows, steps, mixed, column, y + most, pixels, add);
  }
}

HUBFAST_VECTOR_CLONES
void forward_part(bool wide, const MixedConv& p, const Part& part, const PaddedImages& images,
                  float* y) {
  const Window& w = p.window;
  const std::size_t pixels = w.pixels(), inner = p.inner();
  constexpr int size = kMixedRows * kStride;
  const Buffer mixed = buffer(kSamples * size), panel = buffer(kSteps * kPanel),
               patches = buffer(w.is_image() ? 0 : kSteps * pixels + kSlack);
  const int end = part.sample + part.samples;
  for (int k = 0; k < p.inner(); k += kSteps) {
    const int steps = std::min(kSteps, p.inner() - k);
    for (int b = part.sample; b < end; ++b) {
      const int now = (b - part.sample) % kSamples;
      if (now == 0) {
        mix(p, b, std::min(kSamples, end - b), p.weights + part.row * inner + k, part.rows, steps,
            mixed.get(), kStride, size);
      }
      const float* x = images[static_cast<std::size_t>(b) * p.channels];
      if (w.is_image()) {
        x += k * pixels;
      } else {
        unfold(w, x, k, steps, patches.get());
        x = patches.get();
      }
      multiply(wide, part.rows, steps, w.pixels(), {mixed.get() + now * size, kStride, 1}, x,
               panel.get(), y + (static_cast<std::size_t>(b) * p.rows + part.row) * pixels, k > 0);
    }
  }
}

HUBFAST_VECTOR_CLONES
void input_part(bool wide, const MixedConv& p, const Part& part, const float* d_y, float* d_x) {
  const Window& w = p.window;
  const std::size_t pixels = w.pixels(), inner = p.inner();
  constexpr int size = kSteps * kStrideAcross;
  const Buffer mixed = buffer(kSamples * size), panel = buffer(kSteps * kPanel),
               patches = buffer(w.is_image() ? 0 : kMixedRows * pixels),
               padded = buffer(w.padded_area());
  const int channels = part.rows / w.taps(), first = part.row / w.taps();
  const int end = part.sample + part.samples;
  for (int o = 0; o < p.rows; o += kSteps) {
    const int steps = std::min(kSteps, p.rows - o);
    for (int b = part.sample; b < end; ++b) {
      const int now = (b - part.sample) % kSamples;
      if (now == 0) {
        mix(p, b, std::min(kSamples, end - b), p.weights + o * inner + part.row, steps, part.rows,
            mixed.get(), kStrideAcross, size);
      }
      const float* d = d_y + (static_cast<std::size_t>(b) * p.rows + o) * pixels;
      float* to = d_x + (static_cast<std::size_t>(b) * p.channels + first) * w.area();
      multiply(wide, part.rows, steps, w.pixels(), {mixed.get() + now * size, 1, kStrideAcross}, d,
               panel.get(), w.is_image() ? to : patches.get(), w.is_image() && o > 0);
      if (!w.is_image()) {
        if (o == 0) std::fill_n(to, static_cast<std::size_t>(channels) * w.area(), 0.f);
        fold(w, patches.get(), channels, padded.get(), to);
      }
    }
  }
}

}  // namespace

void forward(const MixedConv& p, float* y, int threads) {
  const Parts all(p.rows, kTileRows, p.samples, threads);
  const PaddedImages images(p.window, p.samples * p.channels, p.x, threads);
  const bool wide = wide_registers();
  openmp_for(all.count(), threads, [&](int task) { forward_part(wide, p, all[task], images, y); });
}

void input_gradient(const MixedConv& p, const float* d_y, float* d_x, int threads) {
  const int taps = p.window.taps(), tiled = std::lcm(taps, kTileRows);  // whole channels
  const Parts all(p.inner(), tiled <= kMixedRows ? tiled : taps, p.samples, threads);
  const bool wide = wide_registers();
  openmp_for(all.count(), threads, [&](int task) { input_part(wide, p, all[task], d_y, d_x); });
}

}  // namespace hubfast
