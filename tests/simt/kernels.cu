// Kernels that show the executor at work and kernels with one fault each; test_executor.py compiles and runs them.
#include <cstdint>
#include <cstring>
#include <exception>
#include <string>

#include "common/cuda_runtime.h"
#include "common/launch.h"
#include "gemm/mma.cuh"
#include "ptx/barrier.cuh"
#include "ptx/cp_async.cuh"
#include "ptx/ldmatrix.cuh"
#include "ptx/mma.cuh"
#include "simt/memory.h"

// With names of their own, by which another runner finds them.
namespace tests {

using alexnet::ptx::MmaInput;

constexpr int kMaxThreads = 1024;

__device__ int thread_number() {
  return static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
}

// ---- Block-wide: y[i] = the element of the thread opposite to i.

__global__ void reverse_kernel(const float* x, float* y, int broken) {
  ALEXNET_SHARED(float[kMaxThreads], values);
  values[threadIdx.x] = x[thread_number()];
  if (!broken) __syncthreads();
  y[thread_number()] = values[blockDim.x - 1 - threadIdx.x];
}

// The second pass overwrites what the first may still be reading.
__global__ void reverse_twice_kernel(const float* x, float* y, int broken) {
  ALEXNET_DYNAMIC_SHARED(float, values);
  float sum = 0.0f;
  for (int pass = 1; pass <= 2; ++pass) {
    values[threadIdx.x] = pass * x[thread_number()];
    __syncthreads();
    sum += values[blockDim.x - 1 - threadIdx.x];
    if (!broken) __syncthreads();
  }
  y[thread_number()] = sum;
}

// The lanes of a warp exchange through shared memory without a word about it.
__global__ void reverse_warp_kernel(const float* x, float* y, int broken) {
  ALEXNET_SHARED(float[kMaxThreads], values);
  values[threadIdx.x] = x[thread_number()];
  if (!broken) __syncwarp();
  y[thread_number()] = values[threadIdx.x ^ 31u];
}

__global__ void syncthreads_votes_kernel(const int* x, int* y) {
  const int value = x[threadIdx.x];
  const int count = __syncthreads_count(value > 0);
  const int all = __syncthreads_and(value > 0);
  const int any = __syncthreads_or(value > 0);
  y[threadIdx.x] = count * 4 + all * 2 + any;
}

__global__ void divergent_barrier_kernel(float* y, int mode) {
  const int t = static_cast<int>(threadIdx.x);
  if (mode == 0 && t < 40) __syncthreads();
  if (mode == 0 && t >= 40) __syncwarp(t < 64 ? 0xFFFFFF00u : 0xFFFFFFFFu);
  if (mode == 0 && t >= 40) alexnet::ptx::named_barrier_sync(1, 64);
  if (mode == 1) {
    if (t % 2) {
      __syncthreads();
    } else {
      __syncthreads();
    }
  }
  if (mode == 2 && t == 7) return;  // the others are all live threads
  if (mode == 3 && t < 32) return;
  __syncthreads();
  y[t] = 1.0f;
}

// Warps 0 and 1 produce for warps 2 and 3.
__global__ void named_barrier_kernel(const float* x, float* y, int broken) {
  ALEXNET_SHARED(float[64], values);
  const int t = static_cast<int>(threadIdx.x);
  if (t < 64) {
    values[t] = x[t];
    alexnet::ptx::named_barrier_arrive(3, 128);
  } else {
    if (!broken) alexnet::ptx::named_barrier_sync(3, 128);
    y[t - 64] = values[127 - t];
  }
}

// ---- Warp-wide

__global__ void shuffle_kernel(const int* operands, int* y, int op, int width) {
  const unsigned lane = threadIdx.x % 32;
  const int value = 100 + static_cast<int>(threadIdx.x);
  int result = 0;
  if (op == 0) result = __shfl_sync(0xFFFFFFFFu, value, operands[lane], width);
  if (op == 1) result = __shfl_up_sync(0xFFFFFFFFu, value, static_cast<unsigned>(operands[0]), width);
  if (op == 2) result = __shfl_down_sync(0xFFFFFFFFu, value, static_cast<unsigned>(operands[0]), width);
  if (op == 3) result = __shfl_xor_sync(0xFFFFFFFFu, value, operands[0], width);
  y[threadIdx.x] = result;
}

__global__ void vote_kernel(const int* x, unsigned* y) {
  const int value = x[threadIdx.x];
  const unsigned half = threadIdx.x % 32 < 16 ? 0x0000FFFFu : 0xFFFF0000u;
  y[3 * threadIdx.x] = __ballot_sync(half, value);
  y[3 * threadIdx.x + 1] = static_cast<unsigned>(__all_sync(half, value));
  y[3 * threadIdx.x + 2] = static_cast<unsigned>(__any_sync(0xFFFFFFFFu, value));
}

__global__ void absent_lanes_kernel(int* y, int mode) {
  const int lane = static_cast<int>(threadIdx.x);
  int value = lane;
  if (mode == 0 && lane >= 20) return;
  if (mode == 1 && lane >= 20) __syncthreads();
  if (mode == 2 && lane >= 20) value = static_cast<int>(__ballot_sync(0xFFFFFFFFu, 1));
  if (mode == 3) value = __shfl_xor_sync(0x0000FFFFu, value, 1);
  value = __shfl_xor_sync(0xFFFFFFFFu, value, 1);
  y[lane] = value;
}

// ---- Global memory

__global__ void global_access_kernel(const float* x, float* y, int read, int write) {
  const int i = thread_number();
  float value = x[i];
  if (i == 5) value = x[read];
  y[i == 5 ? write : i] = value;
}

__global__ void misaligned_kernel(const float* x, float* y) {
  const float4 value = *reinterpret_cast<const float4*>(x + 1);
  reinterpret_cast<volatile float4*>(y)->x = value.x;
  y[1] = value.w;
}

__global__ void shared_access_kernel(float* y, int index, int dynamic) {
  ALEXNET_SHARED(float[8], before);
  ALEXNET_SHARED(float[8], values);
  ALEXNET_DYNAMIC_SHARED(float, more);
  float* const array = dynamic ? more : values;
  before[threadIdx.x % 8] = 0.0f;
  array[index] = 1.0f;
  y[threadIdx.x] = array[index] + before[threadIdx.x % 8];
}

// When each thread came by, before a barrier, after it, and after a warp operation.
__global__ void order_kernel(int* counters, int* turns) {
  const int t = thread_number(), threads = static_cast<int>(gridDim.x * blockDim.x);
  turns[t] = atomicAdd(&counters[0], 1);
  __syncthreads();
  turns[threads + t] = atomicAdd(&counters[1], 1);
  __syncwarp();
  turns[2 * threads + t] = atomicAdd(&counters[2], 1);
}

__global__ void histogram_kernel(const int* x, int* bins, unsigned* largest) {
  atomicAdd(&bins[x[thread_number()]], 1);
  atomicMax(largest, static_cast<unsigned>(x[thread_number()]));
}

__device__ __attribute__((noinline)) int recurse(volatile int* depth) {
  volatile char frame[512];
  frame[0] = 1;
  *depth = *depth + 1;
  return *depth > 0 ? recurse(depth) + frame[0] : 0;
}

__global__ void trap_kernel(int* y, int mode) {
  if (mode == 0) y[0] = recurse(y + 1);
  if (mode == 1) y[0] = y[1] / y[0];
  if (mode == 2) __trap();
  if (mode == 3) {
    volatile int local[4] = {};
    y[1] = local[y[0]];  // for AddressSanitizer
  }
}

// ---- cp.async, ldmatrix, mma

// Each thread moves 16 bytes a step through a ring of two stages.
__global__ void pipeline_kernel(const float* x, float* y, int steps, int broken) {
  ALEXNET_DYNAMIC_SHARED(float4, stages);  // [2][blockDim.x]
  const int t = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  const auto fill = [&](int step) {
    if (step < steps) {
      alexnet::ptx::cp_async<16>(&stages[step % 2 * threads + t], x + (step * threads + t) * 4);
    }
    alexnet::ptx::cp_async_commit();
  };
  fill(0);
  for (int step = 0; step < steps; ++step) {
    fill(step + 1);
    if (broken) {
      alexnet::ptx::cp_async_wait<2>();
    } else {
      alexnet::ptx::cp_async_wait<1>();
    }
    __syncthreads();
    reinterpret_cast<float4*>(y)[step * threads + t] = stages[step % 2 * threads + threads - 1 - t];
    __syncthreads();
  }
}

__global__ void zero_fill_kernel(const float* x, float* y, int bytes) {
  ALEXNET_SHARED(float4, value);
  alexnet::ptx::cp_async<16>(&value, x, bytes);
  alexnet::ptx::cp_async_wait_all();
  *reinterpret_cast<float4*>(y) = value;
}

__global__ void async_misuse_kernel(const float* x, float* y, int mode) {
  ALEXNET_SHARED(float[8], values);
  if (mode == 0) alexnet::ptx::cp_async<16>(values + 1, x);
  if (mode == 1) alexnet::ptx::cp_async<8>(values, x + 1);
  if (mode == 2) alexnet::ptx::cp_async<4>(y, x);
  if (mode == 3) alexnet::ptx::cp_async<16>(values + 8, x);
  if (mode == 4) alexnet::ptx::cp_async<16>(values, x + 4096);
  if (mode == 5) {
    values[0] = 1.0f;
    alexnet::ptx::cp_async<4>(values, x);
    y[0] = values[0];
  }
  alexnet::ptx::cp_async_wait_all();
}

template <int kCount>
__global__ void ldmatrix_kernel(const uint16_t* x, uint32_t* y, int transposed, int lanes) {
  ALEXNET_SHARED(uint16_t[4 * 8 * 8], matrices);
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 4 * 8 * 8; i += static_cast<int>(blockDim.x)) matrices[i] = x[i];
  __syncthreads();
  if (lane >= lanes) return;
  uint32_t registers[kCount];
  if (transposed) {
    alexnet::ptx::ldmatrix_transposed(registers, matrices + lane * 8);
  } else {
    alexnet::ptx::ldmatrix(registers, matrices + lane * 8);
  }
  for (int i = 0; i < kCount; ++i) y[lane * kCount + i] = registers[i];
}

constexpr int kTilesM = 2, kTilesN = 3;

template <MmaInput kInput>
__global__ void mma_kernel(const uint32_t* a, const uint32_t* b, float* d, int tile) {
  const int lane = static_cast<int>(threadIdx.x);
  uint32_t left[kTilesM][4], right[kTilesN][2];
  float sums[kTilesM][kTilesN][4];
  memcpy(left, a + lane * kTilesM * 4, sizeof(left));
  memcpy(right, b + lane * kTilesN * 2, sizeof(right));
  memcpy(sums, d + lane * kTilesM * kTilesN * 4, sizeof(sums));
  if (tile) {
    alexnet::ptx::mma_tile<kInput>(sums, left, right);
  } else {
    for (int m = 0; m < kTilesM; ++m) {
      for (int n = 0; n < kTilesN; ++n) alexnet::ptx::mma<kInput>(sums[m][n], left[m], right[n]);
    }
  }
  memcpy(d + lane * kTilesM * kTilesN * 4, sums, sizeof(sums));
}

__global__ void convert_kernel(const float* x, uint32_t* y) {
  const int i = thread_number();
  y[4 * i] = alexnet::to_tf32(x[i]);
  y[4 * i + 1] = __bfloat16_as_ushort(__float2bfloat16_rn(x[i]));
  y[4 * i + 2] = __half_as_ushort(__float2half_rn(x[i]));
  y[4 * i + 3] = __float_as_uint(__half2float(__float2half_rn(x[i])));
}

// C = A B in tiles of 16 x 16 through shared memory; A is [m, k], B is [k, n].
__global__ void gemm_kernel(const float* a, const float* b, float* c, int m, int n, int k) {
  constexpr int kTile = 16;
  ALEXNET_SHARED(float[kTile][kTile + 1], tile_a);
  ALEXNET_SHARED(float[kTile][kTile], tile_b);
  const int tx = static_cast<int>(threadIdx.x), ty = static_cast<int>(threadIdx.y);
  const int row = static_cast<int>(blockIdx.y) * kTile + ty, column = static_cast<int>(blockIdx.x) * kTile + tx;
  float sum = 0.0f;
  for (int start = 0; start < k; start += kTile) {
    tile_a[ty][tx] = row < m && start + tx < k ? a[row * k + start + tx] : 0.0f;
    tile_b[ty][tx] = start + ty < k && column < n ? b[(start + ty) * n + column] : 0.0f;
    __syncthreads();
    for (int i = 0; i < kTile; ++i) sum = fmaf(tile_a[ty][i], tile_b[i][tx], sum);
    __syncthreads();
  }
  if (row < m && column < n) c[row * n + column] = sum;
}

// ---- What Python calls

struct Call {
  void* const* p;  // pointers
  const int* s;    // scalars
  dim3 grid, block;
  size_t shared;

  template <typename... Parameters, typename... Arguments>
  void run(void (*kernel)(Parameters...), Arguments... arguments) const {
    alexnet::launch(kernel, grid, block, shared, nullptr, arguments...);
  }
  const float* in(int i) const { return static_cast<const float*>(p[i]); }
  float* out(int i) const { return static_cast<float*>(p[i]); }
  const int* ints(int i) const { return static_cast<const int*>(p[i]); }
  int* int_out(int i) const { return static_cast<int*>(p[i]); }
  uint32_t* bits(int i) const { return static_cast<uint32_t*>(p[i]); }
};

template <int kCount>
void run_ldmatrix(const Call& c) {
  c.run(ldmatrix_kernel<kCount>, static_cast<const uint16_t*>(c.p[0]), c.bits(1), c.s[0], c.s[1]);
}

template <MmaInput kInput>
void run_mma(const Call& c) {
  c.run(mma_kernel<kInput>, c.bits(0), c.bits(1), c.out(2), c.s[0]);
}

struct Entry {
  const char* name;
  void (*run)(const Call& call);
};

const Entry kEntries[] = {
    {"reverse", [](const Call& c) { c.run(reverse_kernel, c.in(0), c.out(1), c.s[0]); }},
    {"reverse_twice", [](const Call& c) { c.run(reverse_twice_kernel, c.in(0), c.out(1), c.s[0]); }},
    {"reverse_warp", [](const Call& c) { c.run(reverse_warp_kernel, c.in(0), c.out(1), c.s[0]); }},
    {"syncthreads_votes", [](const Call& c) { c.run(syncthreads_votes_kernel, c.ints(0), c.int_out(1)); }},
    {"divergent_barrier", [](const Call& c) { c.run(divergent_barrier_kernel, c.out(0), c.s[0]); }},
    {"named_barrier", [](const Call& c) { c.run(named_barrier_kernel, c.in(0), c.out(1), c.s[0]); }},
    {"shuffle", [](const Call& c) { c.run(shuffle_kernel, c.ints(0), c.int_out(1), c.s[0], c.s[1]); }},
    {"vote", [](const Call& c) { c.run(vote_kernel, c.ints(0), c.bits(1)); }},
    {"absent_lanes", [](const Call& c) { c.run(absent_lanes_kernel, c.int_out(0), c.s[0]); }},
    {"global_access", [](const Call& c) { c.run(global_access_kernel, c.in(0), c.out(1), c.s[0], c.s[1]); }},
    {"misaligned", [](const Call& c) { c.run(misaligned_kernel, c.in(0), c.out(1)); }},
    {"shared_access", [](const Call& c) { c.run(shared_access_kernel, c.out(0), c.s[0], c.s[1]); }},
    {"order", [](const Call& c) { c.run(order_kernel, c.int_out(0), c.int_out(1)); }},
    {"histogram", [](const Call& c) { c.run(histogram_kernel, c.ints(0), c.int_out(1), c.bits(2)); }},
    {"trap", [](const Call& c) { c.run(trap_kernel, c.int_out(0), c.s[0]); }},
    {"pipeline", [](const Call& c) { c.run(pipeline_kernel, c.in(0), c.out(1), c.s[0], c.s[1]); }},
    {"zero_fill", [](const Call& c) { c.run(zero_fill_kernel, c.in(0), c.out(1), c.s[0]); }},
    {"async_misuse", [](const Call& c) { c.run(async_misuse_kernel, c.in(0), c.out(1), c.s[0]); }},
    {"ldmatrix_x1", &run_ldmatrix<1>},
    {"ldmatrix_x2", &run_ldmatrix<2>},
    {"ldmatrix_x4", &run_ldmatrix<4>},
    {"mma_tf32", &run_mma<MmaInput::kTf32>},
    {"mma_bf16", &run_mma<MmaInput::kBFloat16>},
    {"mma_fp16", &run_mma<MmaInput::kFloat16>},
    {"convert", [](const Call& c) { c.run(convert_kernel, c.in(0), c.bits(1)); }},
    {"gemm", [](const Call& c) { c.run(gemm_kernel, c.in(0), c.in(1), c.out(2), c.s[0], c.s[1], c.s[2]); }},
};

}  // namespace tests

#define ALEXNET_EXPORT extern "C" __attribute__((visibility("default")))

// 0, or 1 with the exception's text in error.
ALEXNET_EXPORT int simt_run(const char* name, void* const* pointers, const int* scalars, const unsigned* grid,
                            const unsigned* block, size_t shared, char* error, size_t error_size) {
  try {
    for (const tests::Entry& entry : tests::kEntries) {
      if (strcmp(entry.name, name) != 0) continue;
      entry.run({pointers, scalars, {grid[0], grid[1], grid[2]}, {block[0], block[1], block[2]}, shared});
      return 0;
    }
    throw std::invalid_argument(std::string("no kernel is called ") + name);
  } catch (const std::exception& exception) {
    strncpy(error, exception.what(), error_size - 1);
    return 1;
  }
}

ALEXNET_EXPORT void* simt_allocate(size_t bytes, int at_end) {
  using alexnet::simt::Placement;
  return alexnet::simt::allocate(bytes, at_end ? Placement::kEnd : Placement::kStart, "");
}

ALEXNET_EXPORT void simt_release(void* data) {
  alexnet::simt::release(data);
}
ALEXNET_EXPORT void simt_set_seed(uint64_t seed) {
  alexnet::simt::set_seed(seed);
}
ALEXNET_EXPORT void simt_set_thread_count(int count) {
  alexnet::simt::set_thread_count(count);
}
ALEXNET_EXPORT void simt_set_mma_sums(const char* name) {
  alexnet::simt::set_mma_sums(name);
}
