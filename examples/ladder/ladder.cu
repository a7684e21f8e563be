// conv2's forward product in eight kernels, each checked against float64; docs/ladder.md tells the steps.
//
//   python tools/simt.py examples/ladder/ladder.cu                    on the CPU: batch 2 of 7 x 7
//   nvcc -std=c++17 -O3 -arch=native -I csrc examples/ladder/ladder.cu -o ladder && ./ladder 128 27     on a GPU, with
//   times
//
// Arguments: batch, height, width (as the height by default), the rung (all by default). The exit code is 1 where a
// rung is wrong.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "1_naive.cuh"
#include "2_coalesced.cuh"
#include "3_shared_tile.cuh"
#include "4_register_tile.cuh"
#include "5_tensor_cores.cuh"
#include "6_pipeline.cuh"
#include "7_split_k.cuh"
#include "8_fused.cuh"

namespace {

struct Rung {
  const char* name;
  void (*run)(const Operands& a, Problem p);
  bool fused;  // adds the bias and takes the ReLU
};

const Rung kRungs[] = {
    {"1 naive", naive::run, false},
    {"2 coalesced", coalesced::run, false},
    {"3 shared tile", shared_tile::run, false},
    {"4 register tile", register_tile::run, false},
    {"5 tensor cores", tensor_cores::run, false},
    {"6 pipeline", pipeline::run, false},
    {"7 split-K", split_k::run, false},
    {"8 fused", fused::run, true},
};

// Numbers in [-scale, scale] by a linear congruential generator (Knuth's MMIX constants).
template <typename T>
std::vector<T> random_numbers(size_t count, float scale) {
  static uint64_t state = 1;
  std::vector<T> numbers(count);
  for (T& number : numbers) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    number = from_float<T>(scale * (static_cast<float>(state >> 40) / 8388608.0f - 1.0f));
  }
  return numbers;
}

template <typename T>
T* on_device(const std::vector<T>& host) {
  T* device = nullptr;
  if (cudaMalloc(&device, host.size() * sizeof(T)) != cudaSuccess ||
      cudaMemcpy(device, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice) != cudaSuccess) {
    fprintf(stderr, "no memory for %zu numbers on the device\n", host.size());
    exit(1);
  }
  return device;
}

struct Expected {
  double value, sum_of_magnitudes;
};

Expected expected_at(const std::vector<bf16>& x, const std::vector<bf16>& weight, Problem p, int m, int k) {
  Expected e = {0.0, 0.0};
  const int image = m / (p.h * p.w), row = m / p.w % p.h, column = m % p.w;
  for (int tap = 0; tap < kTaps; ++tap) {
    const int h = row + tap / kS - kPadding, w = column + tap % kS - kPadding;
    if (h < 0 || h >= p.h || w < 0 || w >= p.w) continue;
    const bf16* const from = &x[((image * p.h + h) * p.w + w) * kC + k / kGroupK * kGroupC];
    for (int c = 0; c < kGroupC; ++c) {
      const double product = static_cast<double>(to_float(from[c])) * to_float(weight[(k * kTaps + tap) * kGroupC + c]);
      e.value += product;
      e.sum_of_magnitudes += std::fabs(product);
    }
  }
  return e;
}

#ifdef ALEXNET_CUDA_SIMT
float milliseconds(const Rung&, const Operands&, Problem) {
  return 0.0f;  // the executor has no time to tell
}
#else
// Of one call, the mean of many after one to warm up.
float milliseconds(const Rung& rung, const Operands& a, Problem p) {
  constexpr int kCalls = 50;
  cudaEvent_t start, stop;
  cudaEventCreate(&start);
  cudaEventCreate(&stop);
  rung.run(a, p);
  cudaEventRecord(start);
  for (int i = 0; i < kCalls; ++i) rung.run(a, p);
  cudaEventRecord(stop);
  cudaEventSynchronize(stop);
  float total = 0.0f;
  cudaEventElapsedTime(&total, start, stop);
  return total / kCalls;
}
#endif

}  // namespace

int main(int argc, char** argv) {
  const auto argument = [&](int i, int otherwise) { return argc > i ? atoi(argv[i]) : otherwise; };
  const Problem p = {argument(1, 2), argument(2, 7), argument(3, argument(2, 7))};
  const int only = argument(4, 0);
  if (p.n < 1 || p.h < 1 || p.w < 1 || only < 0 || only > 8) {
    fprintf(stderr, "batch, height and width are %d, %d, %d and the rung %d; expected 1 or more, and 0 to 8\n", p.n,
            p.h, p.w, only);
    return 1;
  }
  const size_t outputs = static_cast<size_t>(p.rows()) * kK;
  const auto x = random_numbers<bf16>(static_cast<size_t>(p.rows()) * kC, 1.0f);
  const auto weight = random_numbers<bf16>(static_cast<size_t>(kK) * kDepth, 0.05f);
  const auto bias = random_numbers<float>(kK, 0.5f);
  const Operands a = {on_device(x), on_device(weight), on_device(bias), on_device(std::vector<bf16>(outputs)),
                      on_device(std::vector<float>(outputs * split_k::kSplits))};
  std::vector<bf16> y(outputs);
  bool right = true;
  for (const Rung& rung : kRungs) {
    if (only != 0 && &rung != kRungs + only - 1) continue;
    cudaMemset(a.y, 0xFF, outputs * sizeof(bf16));  // NaN
    rung.run(a, p);
    if (cudaDeviceSynchronize() != cudaSuccess) {
      fprintf(stderr, "%s: %s\n", rung.name, cudaGetErrorString(cudaGetLastError()));
      return 1;
    }
    cudaMemcpy(y.data(), a.y, outputs * sizeof(bf16), cudaMemcpyDeviceToHost);
    // Every element of a small problem, and some 20,000 of a large one: the step has no factor in common with 256.
    const size_t step = outputs < 100000 ? 1 : outputs / 20000 | 1;
    double worst = 0.0;
    for (size_t i = 0; i < outputs; i += step) {
      const int k = static_cast<int>(i % kK);
      Expected e = expected_at(x, weight, p, static_cast<int>(i / kK), k);
      if (rung.fused) e.value = std::fmax(e.value + bias[k], 0.0);
      // One rounding to bfloat16, and 1200 additions in float32 that a tensor core may cut off.
      const double bound = std::ldexp(std::fabs(e.value), -8) + kDepth * std::ldexp(e.sum_of_magnitudes, -23) + 1e-30;
      const double error = std::fabs(to_float(y[i]) - e.value) / bound;
      if (!(error <= worst)) worst = error;  // NaN is worse than any number
    }
    const bool fine = worst <= 1.0;
    right = right && fine;
    const float time = milliseconds(rung, a, p);
    printf("%-16s %s", rung.name, fine ? "right" : "WRONG");
    if (time > 0.0f) {
      const double flops = 2.0 * static_cast<double>(outputs) * kDepth;
      printf("  %9.1f us  %7.2f TFLOP/s", 1e3 * time, flops / time / 1e9);
    }
    printf("\n");
    if (!fine) fprintf(stderr, "%s is off by %g of what its roundings allow\n", rung.name, worst);
  }
  return right ? 0 : 1;
}
