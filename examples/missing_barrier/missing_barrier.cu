// A barrier that is missing: each block reverses 256 numbers by way of shared memory, and reads what another thread may
// not have written yet.
//
//   python tools/simt.py examples/missing_barrier/missing_barrier.cu          the fault, named
//   python tools/simt.py examples/missing_barrier/missing_barrier.cu -- fixed
//
// On a GPU it is right by luck as long as each block is one warp that runs in step, and wrong now and then after that.
#include <cuda_runtime.h>

#include <cstdio>
#include <cstring>

constexpr int kThreads = 256;

__global__ void reverse_kernel(const float* x,  // [gridDim.x, 256]
                               float* y,        // [gridDim.x, 256]
                               bool fixed) {
  __shared__ float values[kThreads];
  const int block = blockIdx.x * kThreads;
  values[threadIdx.x] = x[block + threadIdx.x];
  if (fixed) __syncthreads();
  y[block + threadIdx.x] = values[kThreads - 1 - threadIdx.x];
}

int main(int argc, char** argv) {
  constexpr int kBlocks = 4, kNumbers = kBlocks * kThreads;
  float host[kNumbers], *x, *y;
  for (int i = 0; i < kNumbers; ++i) host[i] = static_cast<float>(i);
  cudaMalloc(&x, sizeof(host));
  cudaMalloc(&y, sizeof(host));
  cudaMemcpy(x, host, sizeof(host), cudaMemcpyHostToDevice);
  reverse_kernel<<<kBlocks, kThreads>>>(x, y, argc > 1 && strcmp(argv[1], "fixed") == 0);
  cudaMemcpy(host, y, sizeof(host), cudaMemcpyDeviceToHost);
  printf("block 0: %g %g %g ... %g\n", host[0], host[1], host[2], host[kThreads - 1]);
  cudaFree(x);
  cudaFree(y);
}
