#include "resolvent.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <memory>

#include "band.hpp"
#include "parallel.hpp"
#include "vector.hpp"

namespace hubfast {
namespace {

constexpr int kBlockRows = 4;  // factored and solved together: a load serves four rows
constexpr int kRow = kBandwidth + kBlockRows;  // entries kept of a row of the factor
constexpr int kTile = 256;  // columns a task: the window of solutions stays in L2
static_assert(kBandwidth % kBlockRows == 0);

// Rows of the Cholesky factor L, row i in slot i % kept. The four rows of a block starting at i0
// have the origin i0 - kBandwidth in common: entry m of each is L[i, i0 - kBandwidth + m].
struct FactorWindow {
  int kept;
  std::unique_ptr<Lanes[]> rows, inverse;  // (kept, kRow); 1 / L[i, i], (kept)

  explicit FactorWindow(int kept_rows)
      : kept(kept_rows),
        rows(new Lanes[static_cast<std::size_t>(kept_rows) * kRow]()),
        inverse(new Lanes[kept_rows]()) {}
};

// Where the kBandwidth rows before a block are: slots from..kept - 1, then 0.. (a ring).
struct Before {
  int from, first;  // `first` of them lie at the end of the ring

  Before(int i0, int kept)
      : from((i0 - kBandwidth + kept) % kept), first(std::min(kBandwidth, kept - from)) {}
};

HUBFAST_INLINE Lanes everywhere(double x) { return Lanes{x, x, x, x}; }

// Row block i0 of B + t I, rows past n as those of the identity.
HUBFAST_INLINE void load_block(int i0, int n, const double* band, const Lanes& t, Lanes* block) {
  for (int r = 0; r < kBlockRows; ++r) {
    Lanes* row = block + r * kRow;
    std::fill(row, row + kRow, Lanes{});
    if (i0 + r >= n) {
      row[kBandwidth + r] = everywhere(1);
      continue;
    }
    const double* from = band + static_cast<std::size_t>(i0 + r) * (kBandwidth + 1);
    for (int m = 0; m <= kBandwidth; ++m) row[r + m] = everywhere(from[m]);
    row[kBandwidth + r] += t;
  }
}

// Factors row block i0, given the rows before it; returns the product of its squared pivots.
HUBFAST_INLINE Lanes factor_block(int i0, FactorWindow& window) {
  Lanes* block = window.rows.get() + static_cast<std::size_t>(i0 % window.kept) * kRow;
  Lanes* inverse = window.inverse.get() + i0 % window.kept;
  const Before before(i0, window.kept);
  for (int m = 0; m < kBandwidth; ++m) {
    const int slot = m < before.first ? before.from + m : m - before.first;
    Lanes x[kBlockRows];
    for (int r = 0; r < kBlockRows; ++r) x[r] = block[r * kRow + m] *= window.inverse[slot];
    for (int k = m + 1; k < kBandwidth; ++k) {
      const int row = k < before.first ? before.from + k : k - before.first;
      // Row i0 - kBandwidth + k has its own block's origin, (k / kBlockRows) blocks after ours.
      const int entry = m - k / kBlockRows * kBlockRows + kBandwidth;
      const Lanes l = window.rows[static_cast<std::size_t>(row) * kRow + entry];
      for (int r = 0; r < kBlockRows; ++r) block[r * kRow + k] -= x[r] * l;
    }
    for (int r = 0; r < kBlockRows; ++r) {
      for (int k = 0; k <= r; ++k) block[r * kRow + kBandwidth + k] -= x[r] * x[k];
    }
  }
  Lanes pivots = everywhere(1);
  for (int k = 0; k < kBlockRows; ++k) {
    const Lanes pivot = block[k * kRow + kBandwidth + k];
    pivots *= pivot;
    for (int lane = 0; lane < kLanes; ++lane) inverse[k][lane] = 1 / std::sqrt(pivot[lane]);
    for (int r = k + 1; r < kBlockRows; ++r) {
      const Lanes x = block[r * kRow + kBandwidth + k] *= inverse[k];
      for (int c = k + 1; c <= r; ++c) {
        block[r * kRow + kBandwidth + c] -= x * block[c * kRow + kBandwidth + k];
      }
    }
  }
  return pivots;
}

// One block step of L y = rhs for `Columns` columns at once. y: (Columns, kept), slots as the rows.
template <int Columns>
HUBFAST_INLINE void forward_block(int i0, const FactorWindow& window,
                                  Lanes (&rhs)[Columns][kBlockRows], Lanes* y) {
  const int slot = i0 % window.kept;
  const Lanes* block = window.rows.get() + static_cast<std::size_t>(slot) * kRow;
  const Lanes* inverse = window.inverse.get() + slot;
  const Before before(i0, window.kept);
  const Lanes* segment = y + before.from;
  int end = before.first;
  for (int m = 0; m < kBandwidth;) {
    for (; m < end; ++m) {
      const Lanes l[kBlockRows] = {block[m], block[kRow + m], block[2 * kRow + m],
                                   block[3 * kRow + m]};
      for (int c = 0; c < Columns; ++c) {
        const Lanes known = segment[static_cast<std::size_t>(c) * window.kept + m];
        for (int r = 0; r < kBlockRows; ++r) rhs[c][r] -= l[r] * known;
      }
    }
    segment = y - end;
    end = kBandwidth;
  }
  for (int c = 0; c < Columns; ++c) {
    Lanes* out = y + static_cast<std::size_t>(c) * window.kept + slot;
    for (int r = 0; r < kBlockRows; ++r) {
      Lanes x = rhs[c][r];
      for (int k = 0; k < r; ++k) x -= block[r * kRow + kBandwidth + k] * out[k];
      out[r] = x * inverse[r];
    }
  }
}

// Columns first..first + Columns - 1 for the kLanes shifts of `window`.
template <int Columns>
HUBFAST_INLINE void add_squares(int i0, int n, const FactorWindow& window, const double* columns,
                                int stride, Lanes* y, Lanes* sums) {
  Lanes rhs[Columns][kBlockRows];
  for (int c = 0; c < Columns; ++c) {
    for (int r = 0; r < kBlockRows; ++r) {
      const bool inside = i0 + r < n;
      rhs[c][r] = everywhere(inside ? columns[static_cast<std::size_t>(c) * stride + i0 + r] : 0.0);
    }
  }
  forward_block<Columns>(i0, window, rhs, y);
  for (int c = 0; c < Columns; ++c) {
    const Lanes* known = y + static_cast<std::size_t>(c) * window.kept + i0 % window.kept;
    for (int r = 0; r < kBlockRows; ++r) sums[c] += known[r] * known[r];
  }
}

// log_det of kLanes shifts, and |L^-1 column|^2 for `count` columns.
HUBFAST_VECTOR_CLONES
void sweep(int n, const double* band, int count, const double* columns, int stride,
           const double* shifts, double* log_det, Lanes* sums) {
  FactorWindow window(kBandwidth + kBlockRows);
  std::unique_ptr<Lanes[]> y(new Lanes[static_cast<std::size_t>(count) * window.kept]());
  const Lanes t{shifts[0], shifts[1], shifts[2], shifts[3]};
  std::fill(log_det, log_det + kLanes, 0.0);
  std::fill(sums, sums + count, Lanes{});
  for (int i0 = 0; i0 < n; i0 += kBlockRows) {
    load_block(i0, n, band, t, window.rows.get() + (i0 % window.kept) * kRow);
    const Lanes pivots = factor_block(i0, window);
    for (int lane = 0; lane < kLanes; ++lane) log_det[lane] += std::log(pivots[lane]);
    int c = 0;
    for (; c + 2 <= count; c += 2) {
      add_squares<2>(i0, n, window, columns + static_cast<std::size_t>(c) * stride, stride,
                     y.get() + static_cast<std::size_t>(c) * window.kept, sums + c);
    }
    if (c < count) {
      add_squares<1>(i0, n, window, columns + static_cast<std::size_t>(c) * stride, stride,
                     y.get() + static_cast<std::size_t>(c) * window.kept, sums + c);
    }
  }
}

// (B + t I)^-1 of kLanes columns with a shift each; x is (kept) lanes, rows as in the window.
HUBFAST_VECTOR_CLONES
void solve_lanes(int n, const double* band, const Lanes& t, const double* const* columns,
                 FactorWindow& window, Lanes* x) {
  const int end = (n + kBlockRows - 1) / kBlockRows * kBlockRows;
  for (int i0 = 0; i0 < end; i0 += kBlockRows) {
    load_block(i0, n, band, t, window.rows.get() + static_cast<std::size_t>(i0) * kRow);
    factor_block(i0, window);
    Lanes rhs[1][kBlockRows] = {};
    for (int r = 0; r < kBlockRows && i0 + r < n; ++r) {
      for (int lane = 0; lane < kLanes; ++lane) rhs[0][r][lane] = columns[lane][i0 + r];
    }
    forward_block<1>(i0, window, rhs, x);
  }
  for (int i = end - 1; i >= 0; --i) {  // L' x = y
    Lanes sum = x[i];
    for (int k = i + 1; k <= std::min(i + kBandwidth, end - 1); ++k) {
      const int entry = i - k / kBlockRows * kBlockRows + kBandwidth;
      sum -= window.rows[static_cast<std::size_t>(k) * kRow + entry] * x[k];
    }
    x[i] = sum * window.inverse[i];
  }
}

}  // namespace

void quadratic_forms(int n, const double* band, int count, const double* columns, int stride,
                     int shifts, const double* t, double* log_det, double* forms, int threads) {
  const int tiles = std::max(1, (count + kTile - 1) / kTile);
  const int groups = (shifts + kLanes - 1) / kLanes;
  parallel_for(groups * tiles, threads, [&](int task) {
    const int first = task / tiles * kLanes, column = task % tiles * kTile;
    const int width = std::min(kTile, count - column);
    double shift[kLanes], found[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) shift[lane] = t[std::min(first + lane, shifts - 1)];
    std::unique_ptr<Lanes[]> sums(new Lanes[width]);
    sweep(n, band, width, columns + static_cast<std::size_t>(column) * stride, stride, shift, found,
          sums.get());
    for (int lane = 0; lane < kLanes && first + lane < shifts; ++lane) {
      if (column == 0) log_det[first + lane] = found[lane];
      double* out = forms + static_cast<std::size_t>(first + lane) * count + column;
      for (int c = 0; c < width; ++c) out[c] = sums[c][lane];
    }
  });
}

void solve(int n, const double* band, int count, const double* columns, const double* t,
           double* solutions, int threads) {
  const int kept = (n + kBlockRows - 1) / kBlockRows * kBlockRows +
                   kBandwidth;  // zeros stand before the first row
  parallel_for((count + kLanes - 1) / kLanes, threads, [&](int task) {
    FactorWindow window(kept);
    std::unique_ptr<Lanes[]> x(new Lanes[kept]());
    Lanes shift;
    const double* from[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) {
      const int c = std::min(task * kLanes + lane, count - 1);
      shift[lane] = t[c];
      from[lane] = columns + static_cast<std::size_t>(c) * n;
    }
    solve_lanes(n, band, shift, from, window, x.get());
    for (int lane = 0; lane < kLanes && task * kLanes + lane < count; ++lane) {
      double* out = solutions + static_cast<std::size_t>(task * kLanes + lane) * n;
      for (int i = 0; i < n; ++i) out[i] = x[i][lane];
    }
  });
}

}  // namespace hubfast
