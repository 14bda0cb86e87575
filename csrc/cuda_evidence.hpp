// Evidence of every (model, class) pair in one launch; see evidence_search.hpp.
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

// out: value, t, quadratic, a row of `pairs` each; missed: 1 where a search did not converge.
// Returns a cudaError_t, 0 if launched.
int launch_evidence(const Models& models, const search::Settings& settings, int pairs, double* out,
                    int* missed, void* stream);

const char* error_text(int error);

}  // namespace hubfast
