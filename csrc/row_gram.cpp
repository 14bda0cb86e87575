#include "row_gram.hpp"

#include <algorithm>

#include "parallel.hpp"
#include "vector.hpp"

namespace hubfast {
namespace {

constexpr int kTile = 4;  // rows by rows: 16 sums that stay in registers

template <class T>
HUBFAST_INLINE void widen(const T* at, Lanes& to) {
  typedef T Narrow __attribute__((vector_size(kLanes * sizeof(T)), aligned(sizeof(T))));
  to = __builtin_convertvector(*reinterpret_cast<const Narrow*>(at), Lanes);
}

// Rows `first` and on against rows up to themselves, in tiles; what is past the end repeats the
// last row.
template <class T>
HUBFAST_INLINE void multiply_rows(const T* rows, int count, std::size_t width, int first,
                                  double* gram) {
  const T *a[kTile], *b[kTile];
  for (int i = 0; i < kTile; ++i) a[i] = rows + std::min(first + i, count - 1) * width;
  for (int second = 0; second <= first; second += kTile) {
    for (int j = 0; j < kTile; ++j) b[j] = rows + std::min(second + j, count - 1) * width;
    Lanes sum[kTile][kTile] = {};
    std::size_t k = 0;
    for (; k + kLanes <= width; k += kLanes) {
      Lanes right[kTile];
      for (int j = 0; j < kTile; ++j) widen(b[j] + k, right[j]);
      for (int i = 0; i < kTile; ++i) {
        Lanes left;
        widen(a[i] + k, left);
        for (int j = 0; j < kTile; ++j) sum[i][j] += left * right[j];
      }
    }
    for (int i = 0; i < std::min(kTile, count - first); ++i) {
      for (int j = 0; j < std::min(kTile, count - second); ++j) {
        const Lanes& s = sum[i][j];
        double total = (s[0] + s[1]) + (s[2] + s[3]);
        for (std::size_t l = k; l < width; ++l) total += double(a[i][l]) * double(b[j][l]);
        const std::size_t row = first + i, column = second + j;
        gram[row * count + column] = gram[column * count + row] = total;
      }
    }
  }
}

HUBFAST_VECTOR_CLONES
void multiply(const float* rows, int count, std::size_t width, int first, double* gram) {
  multiply_rows(rows, count, width, first, gram);
}

HUBFAST_VECTOR_CLONES
void multiply(const double* rows, int count, std::size_t width, int first, double* gram) {
  multiply_rows(rows, count, width, first, gram);
}

template <class T>
void row_gram_of(const T* rows, int count, std::size_t width, double* gram, int threads) {
  const int blocks = (count + kTile - 1) / kTile;
  openmp_for(blocks, threads, [&](int task) {  // the longest first
    multiply(rows, count, width, (blocks - 1 - task) * kTile, gram);
  });
}

}  // namespace

void row_gram(const float* rows, int count, std::size_t width, double* gram, int threads) {
  row_gram_of(rows, count, width, gram, threads);
}

void row_gram(const double* rows, int count, std::size_t width, double* gram, int threads) {
  row_gram_of(rows, count, width, gram, threads);
}

}  // namespace hubfast
