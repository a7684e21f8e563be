// A race that no barrier mends: threads count in shared memory, and two that meet at a bin lose a count.
//
//   python tools/simt.py examples/missing_barrier/race.cu          the fault, named
//   python tools/simt.py examples/missing_barrier/race.cu -- fixed
#include <cuda_runtime.h>

#include <cstdio>
#include <cstring>

constexpr int kThreads = 128, kBins = 8;

__global__ void histogram_kernel(const int* x,  // [n], each in [0, kBins)
                                 int* counts,   // [kBins], added to
                                 int n, bool fixed) {
  __shared__ int bins[kBins];
  if (threadIdx.x < kBins) bins[threadIdx.x] = 0;
  __syncthreads();
  const int i = blockIdx.x * kThreads + threadIdx.x;
  if (i < n) {
    if (fixed) {
      atomicAdd(&bins[x[i]], 1);
    } else {
      ++bins[x[i]];
    }
  }
  __syncthreads();
  if (threadIdx.x < kBins) atomicAdd(&counts[threadIdx.x], bins[threadIdx.x]);
}

int main(int argc, char** argv) {
  constexpr int kNumbers = 1000;
  int host[kNumbers], sums[kBins], *x, *counts;
  for (int i = 0; i < kNumbers; ++i) host[i] = i * i % kBins;
  cudaMalloc(&x, sizeof(host));
  cudaMalloc(&counts, sizeof(sums));
  cudaMemcpy(x, host, sizeof(host), cudaMemcpyHostToDevice);
  cudaMemset(counts, 0, sizeof(sums));
  const bool fixed = argc > 1 && strcmp(argv[1], "fixed") == 0;
  histogram_kernel<<<(kNumbers + kThreads - 1) / kThreads, kThreads>>>(x, counts, kNumbers, fixed);
  cudaMemcpy(sums, counts, sizeof(sums), cudaMemcpyDeviceToHost);
  for (int bin = 0; bin < kBins; ++bin) printf("%d: %d\n", bin, sums[bin]);
  cudaFree(x);
  cudaFree(counts);
}
