// The BLAS and LAPACK that SciPy carries, as function pointers: nothing is linked.
#pragma once

namespace hubfast::lapack {

using Text = const char*;
using Size = const int*;
using In = const double*;
using Out = double*;

struct Library {
  void (*dsyrk)(Text uplo, Text trans, Size n, Size k, In alpha, In a, Size lda, In beta, Out c,
                Size ldc);
  void (*dsyr2k)(Text uplo, Text trans, Size n, Size k, In alpha, In a, Size lda, In b, Size ldb,
                 In beta, Out c, Size ldc);
  void (*dsymm)(Text side, Text uplo, Size m, Size n, In alpha, In a, Size lda, In b, Size ldb,
                In beta, Out c, Size ldc);
  void (*dgemm)(Text transa, Text transb, Size m, Size n, Size k, In alpha, In a, Size lda, In b,
                Size ldb, In beta, Out c, Size ldc);
  void (*dtrmm)(Text side, Text uplo, Text transa, Text diag, Size m, Size n, In alpha, In a,
                Size lda, Out b, Size ldb);
  void (*dgeqrt3)(Size m, Size n, Out a, Size lda, Out t, Size ldt, int* info);
  void (*dgemqrt)(Text side, Text trans, Size m, Size n, Size k, Size nb, In v, Size ldv, In t,
                  Size ldt, Out c, Size ldc, Out work, int* info);
};

extern Library library;  // filled when the module is loaded (bindings.cpp)

}  // namespace hubfast::lapack
