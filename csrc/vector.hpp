// Vector registers without intrinsics: GCC's and Clang's vector types, lowered to what there is.
#pragma once

// A function so marked is compiled for several instruction sets, the best one chosen at load time.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__gnu_linux__) && \
    !defined(HUBFAST_NO_CLONES)
#define HUBFAST_CLONES
#define HUBFAST_VECTOR_CLONES \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define HUBFAST_VECTOR_CLONES
#endif

// What such a function calls must be inlined, or it would be compiled for the oldest set only.
#define HUBFAST_INLINE __attribute__((always_inline)) inline

namespace hubfast {

// Whether the clone that runs here has 32 registers of 512 bits.
inline bool wide_registers() {
#if defined(HUBFAST_CLONES)
  return __builtin_cpu_supports("x86-64-v4");
#elif defined(__AVX512F__)
  return true;
#else
  return false;
#endif
}

constexpr int kLanes = 4;
typedef double Lanes __attribute__((vector_size(kLanes * sizeof(double))));

}  // namespace hubfast
