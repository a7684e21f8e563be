// The main loop: one thread block's tile of C = A B^T, from two sources through a cp.async pipeline and tensor cores.
#pragma once

#include <cstdint>
#include <utility>

#include "common/cuda_runtime.h"
#include "gemm/epilogue.cuh"
#include "gemm/mma.cuh"
#include "gemm/tile.cuh"

namespace alexnet {

// Which block computes what: x counts tiles, y counts group * splits + split.
struct BlockMap {
  int32_t tiles_m, tiles_n;
  int32_t splits, tiles_k_per_split;
  int32_t tiles_k;
  bool n_first;    // neighbouring blocks share A's tile, else B's
  float* partial;  // [splits, groups, m, n] where splits > 1
};

// Columns of the staged sums are padded by 8 floats: the four rows that a half warp writes then miss each other.
template <class Shape>
inline constexpr int kSumPitch = Shape::kTileN + 8;

// Adds up one warp's part of the tile of C over the reduction.
template <class Policy, class Shape, class TileA, class TileB, bool kKMajorA, bool kKMajorB>
class WarpSums {
  using T = typename Policy::T;
  static constexpr int kBlocksM = Shape::kWarpM / 16;
  static constexpr int kBlocksN = Shape::kWarpN / 8;
  static constexpr int kSteps = 4;  // two chunks each, eight to a tile's 128 bytes of K
  float sums_[kBlocksM][kBlocksN][4] = {};
  const int row_, column_;  // of this warp's part, within the tile

 public:
  __device__ WarpSums()
      : row_(static_cast<int>(threadIdx.x) / 32 / Shape::kWarpsN * Shape::kWarpM),
        column_(static_cast<int>(threadIdx.x) / 32 % Shape::kWarpsN * Shape::kWarpN) {}

  __device__ void multiply(const char* shared_a, const char* shared_b) {
    if constexpr (Policy::kParts == 1) {
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        uint32_t a[1][kBlocksM][4], b[1][kBlocksN][2];
        load_a<0, kBlocksM>(a, shared_a, step);
        load_b(b, shared_b, step);
        ptx::mma_tile<Policy::kInput>(sums_, a[0], b[0]);
      }
    } else {
      // Unrolled, the compiler loads the next steps' fragments early, and would spill.
#pragma unroll 1
      for (int step = 0; step < kSteps; step += kStepsInParts) {
        multiply_in_parts(shared_a, shared_b, step, std::make_integer_sequence<int, kBlocksM>{});
      }
    }
  }

  // To [tile_m, kSumPitch] floats of shared memory.
  __device__ void stage(float* shared) const {
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int i = 0; i < kBlocksM; ++i) {
#pragma unroll
      for (int j = 0; j < kBlocksN; ++j) {
        float* const to = shared + (row_ + 16 * i + lane / 4) * kSumPitch<Shape> + column_ + 8 * j + lane % 4 * 2;
        *reinterpret_cast<float2*>(to) = {sums_[i][j][0], sums_[i][j][1]};
        *reinterpret_cast<float2*>(to + 8 * kSumPitch<Shape>) = {sums_[i][j][2], sums_[i][j][3]};
      }
    }
  }

 private:
  // Tensor cores cut off what does not fit a sum, always towards zero, which over thousands of terms outweighs all
  // other errors (Ootomo and Yokota, "Recovering single precision accuracy from Tensor Cores", 2022). So they add up
  // kStepsInParts steps from zero, small products first, and FP32 additions that round do the rest.
  static constexpr int kStepsInParts = 2;

  template <int... kBlocks>
  __device__ void multiply_in_parts(const char* shared_a, const char* shared_b, int first_step,
                                    std::integer_sequence<int, kBlocks...>) {
    uint32_t b[kStepsInParts][Policy::kParts][kBlocksN][2];
#pragma unroll
    for (int i = 0; i < kStepsInParts; ++i) load_b(b[i], shared_b, first_step + i);
    (multiply_block_in_parts<kBlocks>(shared_a, b, first_step), ...);
  }

  template <int kBlock>
  __device__ void multiply_block_in_parts(const char* shared_a,
                                          const uint32_t (&b)[kStepsInParts][Policy::kParts][kBlocksN][2],
                                          int first_step) {
    float fresh[1][kBlocksN][4] = {};
#pragma unroll
    for (int i = 0; i < kStepsInParts; ++i) {
      uint32_t a[Policy::kParts][1][4];
      load_a<kBlock, 1>(a, shared_a, first_step + i);
      ptx::mma_tile<Policy::kInput>(fresh, a[1], b[i][0]);
      ptx::mma_tile<Policy::kInput>(fresh, a[0], b[i][1]);
      ptx::mma_tile<Policy::kInput>(fresh, a[0], b[i][0]);
    }
#pragma unroll
    for (int j = 0; j < kBlocksN; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) sums_[kBlock][j][e] += fresh[0][j][e];
    }
  }

  // kCount blocks of 16 rows of M from kFirst on.
  template <int kFirst, int kCount>
  __device__ void load_a(uint32_t (&a)[Policy::kParts][kCount][4], const char* shared, int step) const {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      uint32_t raw[4];
      Fragments<T, TileA, kKMajorA>::load_a(raw, shared, row_ + 16 * (kFirst + i), step);
#pragma unroll
      for (int word = 0; word < 4; ++word) {
        uint32_t part[Policy::kParts];
        Policy::split(raw[word], part);
#pragma unroll
        for (int p = 0; p < Policy::kParts; ++p) a[p][i][word] = part[p];
      }
    }
  }

  __device__ void load_b(uint32_t (&b)[Policy::kParts][kBlocksN][2], const char* shared, int step) const {
#pragma unroll
    for (int j = 0; j < kBlocksN; j += 2) {
      uint32_t raw[4];
      Fragments<T, TileB, kKMajorB>::load_b(raw, shared, column_ + 8 * j, step);
#pragma unroll
      for (int word = 0; word < 4; ++word) {
        uint32_t part[Policy::kParts];
        Policy::split(raw[word], part);
#pragma unroll
        for (int p = 0; p < Policy::kParts; ++p) b[p][j + word / 2][word % 2] = part[p];
      }
    }
  }
};

// The staged sums that lie inside C, to the epilogue or to this split's partial sums.
template <int kVector, class Shape, class Epilogue>
__device__ inline void store_tile(const float* shared, const Epilogue& epilogue, float* partial, int group,
                                  int first_row, int first_column) {
  constexpr int kPerRow = Shape::kTileN / kVector;
  for (int i = threadIdx.x; i < Shape::kTileM * kPerRow; i += Shape::kThreads) {
    const int row = first_row + i / kPerRow;
    const int column = first_column + i % kPerRow * kVector;
    if (row >= epilogue.rows || column >= epilogue.columns) continue;
    const auto sums = load_pack<kVector>(shared + i / kPerRow * kSumPitch<Shape> + i % kPerRow * kVector);
    if (partial != nullptr) {
      store_pack(partial + static_cast<int64_t>(row) * epilogue.columns + column, sums);
    } else {
      epilogue.template store<kVector>(sums, group, row, column);
    }
  }
}

// Starts the copies of one stage as one group of cp.async; beyond the end an empty one, for the waits count groups.
template <class LoaderA, class LoaderB>
__device__ inline void fill_stage(LoaderA& a, LoaderB& b, char* stage, int bytes_a, int k, int end) {
  if (k < end) {
    a.fill(stage, k);
    b.fill(stage + bytes_a, k);
  }
  ptx::cp_async_commit();
}

// C[m, n] = sum over k of A[m, k] B[n, k], one tile of it, through the epilogue.
//
// kKMajorA, kKMajorB: the source's rows are M (N) and its columns K; else its rows are K. kVector: see TileLoader.
// Every thread of the block calls it; dynamic shared memory: gemm_shared_bytes. A stage's barrier both makes its copies
// visible and frees the stage before it.
template <class Policy, class Shape, bool kKMajorA, bool kKMajorB, bool kVector, class SourceA, class SourceB,
          class Epilogue>
__device__ inline void gemm_block(SourceA a, SourceB b, const BlockMap& map, const Epilogue& epilogue) {
  using T = typename Policy::T;
  constexpr int kK = kTileK<T>;
  constexpr bool kWords = sizeof(T) == 4;
  constexpr int kRowsA = kKMajorA ? Shape::kTileM : kK, kColumnsA = kKMajorA ? kK : Shape::kTileM;
  constexpr int kRowsB = kKMajorB ? Shape::kTileN : kK, kColumnsB = kKMajorB ? kK : Shape::kTileN;
  using TileA = SharedTile<T, kRowsA, kColumnsA, kWords && !kKMajorA>;
  using TileB = SharedTile<T, kRowsB, kColumnsB, kWords && !kKMajorB>;
  constexpr int kStage = TileA::kBytes + TileB::kBytes;

  ALEXNET_DYNAMIC_SHARED(char, shared);
  const int tile = static_cast<int>(blockIdx.x);
  const int first_row = (map.n_first ? tile / map.tiles_n : tile % map.tiles_m) * Shape::kTileM;
  const int first_column = (map.n_first ? tile % map.tiles_n : tile / map.tiles_m) * Shape::kTileN;
  const int group = static_cast<int>(blockIdx.y) / map.splits;
  const int split = static_cast<int>(blockIdx.y) % map.splits;
  const int begin = split * map.tiles_k_per_split;
  const int end = min(begin + map.tiles_k_per_split, map.tiles_k);
  a.select_group(group);
  b.select_group(group);

  TileLoader<T, SourceA, TileA, kRowsA, kColumnsA, Shape::kThreads, kKMajorA, kVector> loader_a(a, first_row);
  TileLoader<T, SourceB, TileB, kRowsB, kColumnsB, Shape::kThreads, kKMajorB, kVector> loader_b(b, first_column);
#pragma unroll
  for (int stage = 0; stage < Shape::kStages - 1; ++stage) {
    fill_stage(loader_a, loader_b, shared + stage * kStage, TileA::kBytes, (begin + stage) * kK, end * kK);
  }
  WarpSums<Policy, Shape, TileA, TileB, kKMajorA, kKMajorB> sums;
  int stage = 0;
  for (int k = begin; k < end; ++k) {
    ptx::cp_async_wait<Shape::kStages - 2>();
    __syncthreads();
    const int freed = stage == 0 ? Shape::kStages - 1 : stage - 1;
    fill_stage(loader_a, loader_b, shared + freed * kStage, TileA::kBytes, (k + Shape::kStages - 1) * kK, end * kK);
    sums.multiply(shared + stage * kStage, shared + stage * kStage + TileA::kBytes);
    stage = stage == Shape::kStages - 1 ? 0 : stage + 1;
  }
  ptx::cp_async_wait<0>();
  __syncthreads();

  float* const staged = reinterpret_cast<float*>(shared);
  sums.stage(staged);
  __syncthreads();
  float* partial = nullptr;
  if (map.splits > 1) {
    const int64_t groups = gridDim.y / map.splits;
    partial = map.partial + (split * groups + group) * epilogue.rows * epilogue.columns;
  }
  if (epilogue.vector) {
    store_tile<Epilogue::kWidth, Shape>(staged, epilogue, partial, group, first_row, first_column);
  } else {
    store_tile<1, Shape>(staged, epilogue, partial, group, first_row, first_column);
  }
}

// Of a block: the pipeline's stages, whose room the sums use afterwards.
template <class Policy, class Shape, bool kKMajorA, bool kKMajorB>
constexpr size_t gemm_shared_bytes() {
  using T = typename Policy::T;
  constexpr int kK = kTileK<T>;
  constexpr int kBytesA =
      kKMajorA ? SharedTile<T, Shape::kTileM, kK, false>::kBytes : SharedTile<T, kK, Shape::kTileM, false>::kBytes;
  constexpr int kBytesB =
      kKMajorB ? SharedTile<T, Shape::kTileN, kK, false>::kBytes : SharedTile<T, kK, Shape::kTileN, false>::kBytes;
  constexpr size_t kPipeline = static_cast<size_t>(kBytesA + kBytesB) * Shape::kStages;
  constexpr size_t kSums = sizeof(float) * Shape::kTileM * kSumPitch<Shape>;
  return kPipeline > kSums ? kPipeline : kSums;
}

}  // namespace alexnet
