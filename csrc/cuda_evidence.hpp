// Evidence of every (model, class) pair in one launch, and the climbs of one model's classes from
// points that the caller found; see evidence_search.hpp.
#pragma once

#include "evidence_search.hpp"

namespace hubfast {

constexpr int kModels = 64;  // a launch: their table travels as its parameter, 4 KB at most

struct Model {
  const double* eigenvalues;  // (k)
  const double* energy;       // (C, k)
  const double* residual;     // (C)
  double count;
  int k;
  int end;  // pairs up to and with this model's
};

struct Models {
  Model entries[kModels];
  int used;
};

}  // namespace hubfast

// hubfast/_cuda.so: addresses, sizes and a stream in, no Python, no torch. It is called by
// hubfast/ops/evidence/cuda.py.
extern "C" {

// out: value, t, quadratic, a row of `pairs` each; missed: 1 where a search did not converge. Both
// are memory of `device`, as is what `models` points to; `models` and `settings` are the host's.
// Returns a cudaError_t, 0 if launched; waits for nothing.
int hubfast_evidence(int device, const hubfast::Models* models,
                     const hubfast::search::Settings* settings, int pairs, double* out, int* missed,
                     void* stream);

// The climbs of one model's columns from log t in `starts` (columns); energy is (columns, k). out,
// missed, memory and result as above.
int hubfast_climb(int device, const double* eigenvalues, const double* energy,
                  const double* residual, const double* starts, int k, int columns, double count,
                  const hubfast::search::Settings* settings, double* out, int* missed,
                  void* stream);

const char* hubfast_cuda_error(int error);

// As nvcc counts: "800,900,1000".
const char* hubfast_cuda_architectures();

int hubfast_cuda_models();  // kModels
}
