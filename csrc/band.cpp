#include "band.hpp"

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "lapack.hpp"

namespace hubfast {
namespace {

constexpr int kWidth = kBandwidth;
constexpr double kOne = 1, kZero = 0, kMinusOne = -1, kMinusHalf = -0.5;

void check(int info, const char* routine) {
  if (info) throw std::runtime_error(std::string("LAPACK's ") + routine + " failed");
}

// The reflectors of a panel with their unit diagonal and zeros written out, (m, k).
void copy_reflectors(const double* panel, int stride, int m, int k, double* v) {
  for (int c = 0; c < k; ++c) {
    const double* from = panel + static_cast<std::size_t>(c) * stride;
    double* to = v + static_cast<std::size_t>(c) * m;
    std::fill(to, to + c, 0.0);
    to[c] = 1;
    std::copy(from + c + 1, from + m, to + c + 1);
  }
}

// S <- Q' S Q of the trailing (m, m) with Q = I - V T V': a symmetric update of rank 2 k by
// X = S V T - V (T' V' S V T) / 2.
void update_trailing(double* s, int stride, int m, int k, const double* v, const double* t,
                     double* x, double* inner) {
  const auto& blas = lapack::library;
  blas.dsymm("L", "L", &m, &k, &kOne, s, &stride, v, &m, &kZero, x, &m);
  blas.dtrmm("R", "U", "N", "N", &m, &k, &kOne, t, &kWidth, x, &m);
  blas.dgemm("T", "N", &k, &k, &m, &kOne, v, &m, x, &m, &kZero, inner, &kWidth);
  blas.dtrmm("L", "U", "T", "N", &k, &k, &kOne, t, &kWidth, inner, &kWidth);
  blas.dgemm("N", "N", &m, &k, &k, &kMinusHalf, v, &m, inner, &kWidth, &kOne, x, &m);
  blas.dsyr2k("L", "N", &m, &k, &kMinusOne, v, &m, x, &m, &kOne, s, &stride);
}

// Row i of the band, from the lower triangle.
void read_band(int n, const double* matrix, int stride, double* band) {
  for (int i = 0; i < n; ++i) {
    double* row = band + static_cast<std::size_t>(i) * (kWidth + 1);
    for (int back = kWidth; back >= 0; --back) {
      const int j = i - back;
      row[kWidth - back] = j < 0 ? 0.0 : matrix[static_cast<std::size_t>(j) * stride + i];
    }
  }
}

}  // namespace

void reduce_to_band(int n, double* matrix, int stride, double* factors, double* band) {
  const auto rows = static_cast<std::size_t>(n);
  std::vector<double> v(rows * kWidth), x(rows * kWidth), inner(kWidth * kWidth);
  for (int j = 0; j + kWidth < n - 1; j += kWidth) {
    const int m = n - j - kWidth, k = std::min(m, kWidth), rest = kWidth - k;
    double* panel = matrix + static_cast<std::size_t>(j) * stride + j + kWidth;
    double* trailing = panel + static_cast<std::size_t>(kWidth) * stride;
    double* t = factors + static_cast<std::size_t>(j) * kWidth;
    int info = 0;
    lapack::library.dgeqrt3(&m, &k, panel, &stride, t, &kWidth, &info);
    check(info, "dgeqrt3");
    if (rest) {  // the last panel is wider than high
      lapack::library.dgemqrt("L", "T", &m, &rest, &k, &k, panel, &stride, t, &kWidth,
                              panel + static_cast<std::size_t>(k) * stride, &stride, x.data(),
                              &info);
      check(info, "dgemqrt");
    }
    copy_reflectors(panel, stride, m, k, v.data());
    update_trailing(trailing, stride, m, k, v.data(), t, x.data(), inner.data());
  }
  read_band(n, matrix, stride, band);
}

void rotate(int n, const double* matrix, int stride, const double* factors, bool back,
            double* columns, int column_stride, int count) {
  if (count == 0 || n < kWidth + 2) return;
  std::vector<double> work(static_cast<std::size_t>(count) * kWidth);
  const int panels = (n - 2 - kWidth) / kWidth + 1;
  for (int p = 0; p < panels; ++p) {
    const int j = (back ? panels - 1 - p : p) * kWidth, m = n - j - kWidth;
    const int k = std::min(m, kWidth);
    int info = 0;
    lapack::library.dgemqrt("L", back ? "N" : "T", &m, &count, &k, &k,
                            matrix + static_cast<std::size_t>(j) * stride + j + kWidth, &stride,
                            factors + static_cast<std::size_t>(j) * kWidth, &kWidth,
                            columns + j + kWidth, &column_stride, work.data(), &info);
    check(info, "dgemqrt");
  }
}

}  // namespace hubfast
