// A tile of an operand in shared memory: its layout, how it is filled from a source, and what a block's shape is.
#pragma once

#include <cstdint>

#include "common/cuda_runtime.h"
#include "common/dtype.h"
#include "ptx/cp_async.cuh"

namespace alexnet {

// Shape of a thread block's work: a tile of C, cut into warps_m * warps_n equal parts, the pipeline's depth, and how
// many blocks a multiprocessor must have registers for.
template <int kTileM_, int kTileN_, int kWarpsM_, int kWarpsN_, int kStages_, int kBlocks_>
struct TileShape {
  static constexpr int kTileM = kTileM_;
  static constexpr int kTileN = kTileN_;
  static constexpr int kWarpsM = kWarpsM_;
  static constexpr int kWarpsN = kWarpsN_;
  static constexpr int kStages = kStages_;
  static constexpr int kBlocks = kBlocks_;
  static constexpr int kThreads = 32 * kWarpsM * kWarpsN;
  static constexpr int kWarpM = kTileM / kWarpsM;
  static constexpr int kWarpN = kTileN / kWarpsN;
  static_assert(kWarpM % 16 == 0 && kWarpN % 16 == 0, "a warp's part is made of 16 x 8 products, columns in pairs");
};

// A line of the reduction is 128 bytes: one pass of all banks.
template <typename T>
inline constexpr int kTileK = 128 / sizeof(T);

// Lines of 16-byte chunks whose order is XORed with the line number, so that neither the copies that write a line nor
// the reads that go down a column meet in a bank.
//
// ldmatrix reads one chunk from each of 8 lines: all 8 must differ modulo 8 chunks. 32-bit numbers that lie along m or
// n are read one by one, 8 neighbours (two chunks) from each of 4 lines: here the 4 pairs must differ.
template <typename T, int kLines, int kColumns, bool kReadByWord>
struct SharedTile {
  static constexpr int kChunk = 16 / sizeof(T);
  static constexpr int kPitch = (kColumns * static_cast<int>(sizeof(T)) + 127) / 128 * 128;
  static constexpr int kBytes = kLines * kPitch;

  __device__ static int chunk_offset(int line, int chunk) {
    const int turn = kReadByWord ? (line & 3) << 1 : line & 7;
    return line * kPitch + ((chunk ^ turn) << 4);
  }
};

// Copies a source's tile to shared memory, 16 bytes a thread and turn.
//
// kReduceColumns: the columns are the reduction (its lines stay the same from tile to tile); else the lines are.
// kVector: every chunk is 16 aligned bytes of memory, moved by cp.async. Otherwise number by number through registers,
// and done when fill() returns.
template <typename T, class Source, class Tile, int kLines, int kColumns, int kThreads, bool kReduceColumns,
          bool kVector>
class TileLoader {
  static constexpr int kChunk = Tile::kChunk;
  static constexpr int kChunks = kColumns / kChunk;
  static constexpr int kLineStep = kThreads / kChunks;
  static constexpr int kTurns = (kLines + kLineStep - 1) / kLineStep;
  static_assert(kThreads % kChunks == 0, "a thread keeps its column of chunks");

  const Source& source_;
  const int line_, chunk_;  // of the first turn, within the tile
  const int origin_;        // of the tile, on the side that is not reduced
  typename Source::Line lines_[kTurns];
  typename Source::Column column_;

  __device__ static bool in_tile(int line) { return kLines % kLineStep == 0 || line < kLines; }

 public:
  __device__ TileLoader(const Source& source, int origin)
      : source_(source),
        line_(static_cast<int>(threadIdx.x) / kChunks),
        chunk_(static_cast<int>(threadIdx.x) % kChunks),
        origin_(origin) {
    if constexpr (kReduceColumns) {
#pragma unroll
      for (int i = 0; i < kTurns; ++i) lines_[i] = source_.line(origin_ + line_ + i * kLineStep);
    } else {
      column_ = source_.column(origin_ + chunk_ * kChunk);
    }
  }

  // Starts the copy of the tile whose reduction begins at `depth`.
  __device__ void fill(char* shared, int depth) {
    if constexpr (kVector) {
      if constexpr (kReduceColumns) column_ = source_.column(depth + chunk_ * kChunk);
#pragma unroll
      for (int i = 0; i < kTurns; ++i) {
        const int line = line_ + i * kLineStep;
        if (!in_tile(line)) break;
        if constexpr (!kReduceColumns) lines_[i] = source_.line(depth + line);
        const T* const from = source_.address(lines_[i], column_);
        ptx::cp_async<16>(shared + Tile::chunk_offset(line, chunk_), from != nullptr ? from : source_.data,
                          from != nullptr ? 16 : 0);
      }
    } else {
      fill_by_number(shared, depth);
    }
  }

 private:
  __device__ void fill_by_number(char* shared, int depth) {
    if constexpr (!kReduceColumns) {
#pragma unroll
      for (int i = 0; i < kTurns; ++i) lines_[i] = source_.line(depth + line_ + i * kLineStep);
    }
    // Not unrolled: this path is for shapes of no importance to speed, and unrolled it took the compiler 3 s a kernel.
#pragma unroll 1
    for (int e = 0; e < kChunk; ++e) {
      const typename Source::Column column = source_.column((kReduceColumns ? depth : origin_) + chunk_ * kChunk + e);
#pragma unroll
      for (int i = 0; i < kTurns; ++i) {
        const int line = line_ + i * kLineStep;
        if (!in_tile(line)) break;
        const T* const from = source_.address(lines_[i], column);
        T* const to = reinterpret_cast<T*>(shared + Tile::chunk_offset(line, chunk_));
        to[e] = from != nullptr ? *from : from_float<T>(0.0f);
      }
    }
  }
};

}  // namespace alexnet
