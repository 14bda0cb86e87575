// Orthogonal reduction of a symmetric matrix to band form, G = Q B Q': four fifths of its flops are
// matrix products, where the reduction to tridiagonal form spends half in matrix-vector products.
// Bischof, Lang, Sun: "A framework for symmetric band reduction", ACM TOMS 26 (2000).
#pragma once

#include <cstddef>

namespace hubfast {

constexpr int kBandwidth = 32;  // divides by the row block of resolvent.cpp; 24 to 64 measured alike

// All matrices column-major. `matrix` (n, n) with leading dimension `stride` >= n holds G in its
// lower triangle; afterwards its Householder vectors. `factors` takes n / kBandwidth + 1 triangular
// factors (kBandwidth, kBandwidth) of the block reflectors. `band` takes n rows of kBandwidth + 1
// doubles, row i holding B[i, i - kBandwidth .. i], zeros before the first column.
void reduce_to_band(int n, double* matrix, int stride, double* factors, double* band);

// columns (n, count) <- Q' columns, or Q columns if `back`; their leading dimension is
// `column_stride`.
void rotate(int n, const double* matrix, int stride, const double* factors, bool back,
            double* columns, int column_stride, int count);

}  // namespace hubfast
