#include "cuda_evidence.hpp"

namespace hubfast {
namespace {

// A block a pair: 4 warps, so that a hub of few classes still fills the card, and the grid's points
// go to warps without a barrier. Eigenvalues come from L1 and L2, which a model's blocks share.
constexpr int kWarp = 32, kWarps = 4;
constexpr unsigned kAll = 0xffffffffu;

struct Block {
  double* shared;  // (kWarps)

  __device__ int rank() const { return threadIdx.x; }
  __device__ int size() const { return kWarp * kWarps; }
  __device__ int lane() const { return threadIdx.x % kWarp; }
  __device__ int lanes() const { return kWarp; }
  __device__ int warp() const { return threadIdx.x / kWarp; }
  __device__ int warps() const { return kWarps; }
  __device__ void wait() const { __syncthreads(); }

  // A butterfly: both partners add the same two numbers, so all lanes hold the same bits.
  __device__ double warp_sum(double x) const {
    for (int apart = kWarp / 2; apart; apart /= 2) x += __shfl_xor_sync(kAll, x, apart);
    return x;
  }

  __device__ double sum(double x) const {
    gather(warp_sum(x));
    double total = 0;
    for (int w = 0; w < kWarps; ++w) total += shared[w];
    return total;
  }

  __device__ double least(double x) const {
    for (int apart = kWarp / 2; apart; apart /= 2) {
      x = search::smaller(x, __shfl_xor_sync(kAll, x, apart));
    }
    gather(x);
    double found = shared[0];
    for (int w = 1; w < kWarps; ++w) found = search::smaller(found, shared[w]);
    return found;
  }

  __device__ void gather(double x) const {
    __syncthreads();  // the former values were read
    if (lane() == 0) shared[warp()] = x;
    __syncthreads();
  }
};

__global__ void __launch_bounds__(kWarp * kWarps, 4)
    evidence(const __grid_constant__ Models models, const __grid_constant__ search::Settings set,
             int pairs, double* out, int* missed) {
  __shared__ double grid[search::kMaxGrid];
  __shared__ double partial[kWarps];
  const int pair = blockIdx.x;
  int m = 0;
  while (pair >= models.entries[m].end) ++m;
  const Model& model = models.entries[m];
  const int column = pair - (m ? models.entries[m - 1].end : 0);
  const search::Column y{model.eigenvalues, model.energy + static_cast<size_t>(column) * model.k,
                         model.k, model.residual[column], model.count};
  const search::Found found = search::maximum(Block{partial}, y, set, grid);
  if (threadIdx.x) return;
  out[pair] = found.value;
  out[static_cast<size_t>(pairs) + pair] = found.t;
  out[2 * static_cast<size_t>(pairs) + pair] = found.quadratic;
  missed[pair] = !found.converged;
}

__global__ void __launch_bounds__(kWarp * kWarps, 4)
    climbs(const search::Column first, const double* residuals, const double* starts,
           const __grid_constant__ search::Settings set, double* out, int* missed) {
  __shared__ double partial[kWarps];
  const int column = blockIdx.x, columns = gridDim.x;
  search::Column y = first;
  y.energy += static_cast<size_t>(column) * y.k;
  y.residual = residuals[column];
  const search::Found found = search::climb(Block{partial}, y, starts[column], set);
  if (threadIdx.x) return;
  out[column] = found.value;
  out[static_cast<size_t>(columns) + column] = found.t;
  out[2 * static_cast<size_t>(columns) + column] = found.quadratic;
  missed[column] = !found.converged;
}

}  // namespace

}  // namespace hubfast

#define HUBFAST_QUOTE(...) #__VA_ARGS__
#define HUBFAST_TEXT(...) HUBFAST_QUOTE(__VA_ARGS__)

extern "C" {

int hubfast_evidence(int device, const hubfast::Models* models,
                     const hubfast::search::Settings* settings, int pairs, double* out, int* missed,
                     void* stream) {
  if (pairs == 0) return cudaSuccess;
  if (const cudaError_t error = cudaSetDevice(device)) return error;
  hubfast::evidence<<<pairs, hubfast::kWarp * hubfast::kWarps, 0,
                      static_cast<cudaStream_t>(stream)>>>(*models, *settings, pairs, out, missed);
  return cudaGetLastError();
}

int hubfast_climb(int device, const double* eigenvalues, const double* energy,
                  const double* residual, const double* starts, int k, int columns, double count,
                  const hubfast::search::Settings* settings, double* out, int* missed,
                  void* stream) {
  if (columns == 0) return cudaSuccess;
  if (const cudaError_t error = cudaSetDevice(device)) return error;
  hubfast::climbs<<<columns, hubfast::kWarp * hubfast::kWarps, 0,
                    static_cast<cudaStream_t>(stream)>>>({eigenvalues, energy, k, 0, count},
                                                         residual, starts, *settings, out, missed);
  return cudaGetLastError();
}

const char* hubfast_cuda_error(int error) {
  return cudaGetErrorString(static_cast<cudaError_t>(error));
}

const char* hubfast_cuda_architectures() { return HUBFAST_TEXT(__CUDA_ARCH_LIST__); }

int hubfast_cuda_models() { return hubfast::kModels; }
}
