// A write out of bounds: 1000 numbers in blocks of 256, and no thread asks whether its number is one of them.
//
//   python tools/simt.py examples/missing_barrier/out_of_bounds.cu          the fault, named
//   python tools/simt.py examples/missing_barrier/out_of_bounds.cu -- fixed
//
// On a GPU the 24 threads too many read and write whatever lies behind the arrays, as a rule without a word.
#include <cuda_runtime.h>

#include <cstdio>
#include <cstring>
#include <vector>

__global__ void saxpy_kernel(float a,
                             const float* x,  // [n]
                             float* y,        // [n], added to
                             int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = a * x[i] + y[i];
}

int main(int argc, char** argv) {
  constexpr int kNumbers = 1000, kThreads = 256, kBlocks = (kNumbers + kThreads - 1) / kThreads;
  std::vector<float> host(kNumbers, 1.0f);
  const size_t bytes = kNumbers * sizeof(float);
  float *x, *y;
  cudaMalloc(&x, bytes);
  cudaMalloc(&y, bytes);
  cudaMemcpy(x, host.data(), bytes, cudaMemcpyHostToDevice);
  cudaMemcpy(y, host.data(), bytes, cudaMemcpyHostToDevice);
  const bool fixed = argc > 1 && strcmp(argv[1], "fixed") == 0;
  saxpy_kernel<<<kBlocks, kThreads>>>(2.0f, x, y, fixed ? kNumbers : kBlocks * kThreads);
  cudaMemcpy(host.data(), y, bytes, cudaMemcpyDeviceToHost);
  printf("y[0] = %g, y[%d] = %g\n", host[0], kNumbers - 1, host[kNumbers - 1]);
  cudaFree(x);
  cudaFree(y);
}
