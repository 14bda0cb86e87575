// Functions of (B + t I)^-1 for a symmetric positive semi-definite band matrix B and many t > 0, by
// banded Cholesky factors of which only a window is ever stored: O(n w^2) a t, O(n w) a column and
// t, with w = kBandwidth. Several t, or several columns with a t each, share a vector register.
#pragma once

namespace hubfast {

// For each of `shifts` t: log_det[i] = log det(B + t_i I), forms[i, c] = y'(B + t_i I)^-1 y for
// y the c-th of `count` columns. `band` as in band.hpp; `columns` (n, count) column-major
// with leading dimension `stride`; `forms` (shifts, count) row-major.
void quadratic_forms(int n, const double* band, int count, const double* columns, int stride,
                     int shifts, const double* t, double* log_det, double* forms, int threads);

// solutions[:, c] = (B + t_c I)^-1 columns[:, c], both (n, count) column-major.
void solve(int n, const double* band, int count, const double* columns, const double* t,
           double* solutions, int threads);

}  // namespace hubfast
