// Tiles of matrix products in float32 that stay in registers, and how their operands are laid out.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <new>

#include "vector.hpp"

namespace hubfast {

constexpr int kFloats = 16;  // of a vector: one register of AVX-512, two of AVX2
constexpr int kPanel = 64;   // floats of a row of a panel, and of a tile
constexpr int kTileRows = 6;
typedef float Floats __attribute__((vector_size(kFloats * sizeof(float))));
typedef float UnalignedFloats __attribute__((vector_size(kFloats * sizeof(float)), aligned(4)));

// The vector at an address, to read and to write: of 64 bytes' alignment, or of a float's.
HUBFAST_INLINE const Floats& aligned(const float* at) {
  return *reinterpret_cast<const Floats*>(at);
}
HUBFAST_INLINE Floats& aligned(float* at) { return *reinterpret_cast<Floats*>(at); }
HUBFAST_INLINE const UnalignedFloats& unaligned(const float* at) {
  return *reinterpret_cast<const UnalignedFloats*>(at);
}
HUBFAST_INLINE UnalignedFloats& unaligned(float* at) {
  return *reinterpret_cast<UnalignedFloats*>(at);
}

// The first floats of a vector, then zeros.
HUBFAST_INLINE Floats load_partial(int count, const float* from) {
  Floats found{};
  for (int i = 0; i < count; ++i) found[i] = from[i];
  return found;
}

HUBFAST_INLINE float total(const Floats& lanes) {
  float sum = 0;
  for (int i = 0; i < kFloats; ++i) sum += lanes[i];
  return sum;
}

constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

struct Free {
  void operator()(float* at) const { ::operator delete[](at, std::align_val_t(sizeof(Floats))); }
};
using Buffer = std::unique_ptr<float[], Free>;

// Zeros, aligned for whole vectors.
inline Buffer buffer(std::size_t count) {
  const auto at = ::operator new[](count * sizeof(float), std::align_val_t(sizeof(Floats)));
  Buffer made(static_cast<float*>(at));
  std::fill_n(made.get(), count, 0.f);
  return made;
}

// A left operand: its entry (r, i) is at from[r * row + i * step].
struct MatrixView {
  const float* from;
  std::ptrdiff_t row, step;
};

template <int Vectors>
HUBFAST_INLINE void multiply_vectors(int steps, MatrixView a, const float* panel, float* tile,
                                     bool add) {
  Floats sum[kTileRows][Vectors] = {};  // added to the tile last: long chains of sums are inexact
  for (int i = 0; i < steps; ++i, a.from += a.step, panel += kPanel) {
    Floats b[Vectors];
    for (int v = 0; v < Vectors; ++v) b[v] = aligned(panel + v * kFloats);
    for (int r = 0; r < kTileRows; ++r) {
      for (int v = 0; v < Vectors; ++v) sum[r][v] += a.from[r * a.row] * b[v];
    }
  }
  for (int r = 0; r < kTileRows; ++r) {
    for (int v = 0; v < Vectors; ++v) {
      Floats& to = aligned(tile + r * kPanel + v * kFloats);
      to = add ? to + sum[r][v] : sum[r][v];
    }
  }
}

// tile (6, width) (+)= a (6, steps) times panel (steps, width), in whole vectors. 24 registers of
// sums where `wide` says that there are 32, else 12 of 16.
HUBFAST_INLINE void multiply_tile(bool wide, int steps, int width, MatrixView a, const float* panel,
                                  float* tile, bool add) {
  const int vectors = ceil_div(width, kFloats);
  if (!wide) {
    for (int v = 0; v < vectors; ++v) {
      multiply_vectors<1>(steps, a, panel + v * kFloats, tile + v * kFloats, add);
    }
    return;
  }
  switch (vectors) {
    case 1:
      return multiply_vectors<1>(steps, a, panel, tile, add);
    case 2:
      return multiply_vectors<2>(steps, a, panel, tile, add);
    case 3:
      return multiply_vectors<3>(steps, a, panel, tile, add);
    default:
      return multiply_vectors<4>(steps, a, panel, tile, add);
  }
}

template <int Vectors>
HUBFAST_INLINE void copy_vectors(int count, const float* from, std::ptrdiff_t stride,
                                 float* panel) {
  for (int i = 0; i < count; ++i, from += stride, panel += kPanel) {
    for (int v = 0; v < Vectors; ++v) aligned(panel + v * kFloats) = unaligned(from + v * kFloats);
  }
}

// A panel of `count` rows of `width` floats, `stride` apart, and zeros to the next whole vector.
HUBFAST_INLINE void pack(int count, int width, const float* from, std::ptrdiff_t stride,
                         float* panel) {
  const int vectors = width / kFloats, rest = width % kFloats;
  switch (vectors) {
    case 0:
      break;
    case 1:
      copy_vectors<1>(count, from, stride, panel);
      break;
    case 2:
      copy_vectors<2>(count, from, stride, panel);
      break;
    case 3:
      copy_vectors<3>(count, from, stride, panel);
      break;
    default:
      copy_vectors<4>(count, from, stride, panel);
  }
  from += vectors * kFloats;
  panel += vectors * kFloats;
  for (int i = 0; rest && i < count; ++i, from += stride, panel += kPanel) {
    aligned(panel) = load_partial(rest, from);
  }
}

// Swaps what lies off the diagonal of each 2 Step x 2 Step block of 16 x 16 floats.
template <int Step>
HUBFAST_INLINE void swap_blocks(Floats* rows) {
  typedef int Places __attribute__((vector_size(kFloats * sizeof(int))));
  Places upper, lower;
  for (int i = 0; i < kFloats; ++i) {
    upper[i] = i & Step ? kFloats + i - Step : i;
    lower[i] = i & Step ? kFloats + i : i + Step;
  }
  for (int i = 0; i < kFloats; ++i) {
    if (i & Step) continue;
    const Floats above = rows[i], below = rows[i + Step];
#ifdef __clang__
    for (int j = 0; j < kFloats; ++j) {
      rows[i][j] = j & Step ? below[j - Step] : above[j];
      rows[i + Step][j] = j & Step ? below[j] : above[j + Step];
    }
#else
    rows[i] = __builtin_shuffle(above, below, upper);
    rows[i + Step] = __builtin_shuffle(above, below, lower);
#endif
  }
}

// A panel of `count` rows, the columns of from (width, count), whose rows are `stride` apart.
HUBFAST_INLINE void pack_transposed(int count, int width, const float* from, std::ptrdiff_t stride,
                                    float* panel) {
  const int whole_width = width / kFloats * kFloats, whole_count = count / kFloats * kFloats;
  for (int k = 0; k < whole_width; k += kFloats) {
    for (int j = 0; j < whole_count; j += kFloats) {
      Floats rows[kFloats];
      for (int i = 0; i < kFloats; ++i) rows[i] = unaligned(from + (k + i) * stride + j);
      swap_blocks<8>(rows);
      swap_blocks<4>(rows);
      swap_blocks<2>(rows);
      swap_blocks<1>(rows);
      for (int i = 0; i < kFloats; ++i) aligned(panel + (j + i) * kPanel + k) = rows[i];
    }
    for (int j = whole_count; j < count; ++j) {
      for (int i = k; i < k + kFloats; ++i) panel[j * kPanel + i] = from[i * stride + j];
    }
  }
  for (int j = 0; width > whole_width && j < count; ++j) {
    aligned(panel + j * kPanel + whole_width) = Floats{};
    for (int k = whole_width; k < width; ++k) panel[j * kPanel + k] = from[k * stride + j];
  }
}

// Puts the first rows and columns of a tile where they belong, in rows `stride` apart.
HUBFAST_INLINE void store_tile(int rows, int width, const float* tile, float* to,
                               std::ptrdiff_t stride, bool add) {
  for (int r = 0; r < rows; ++r, tile += kPanel, to += stride) {
    int j = 0;
    for (; j + kFloats <= width; j += kFloats) {
      unaligned(to + j) = add ? unaligned(to + j) + aligned(tile + j) : aligned(tile + j);
    }
    for (; j < width; ++j) to[j] = add ? to[j] + tile[j] : tile[j];
  }
}

}  // namespace hubfast
